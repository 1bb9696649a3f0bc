//! Commands: `serve`, `demo`, `check`, `setup`, `purge`. Exit code 0 is success, 1 a failure at run time, 2 wrong usage or
//! wrong settings.

mod demo;
mod check;
mod setup;
mod purge;
mod serve;
mod ask;
mod args;
mod failure;

use std::process::ExitCode;

use clap::ArgMatches;

use self::failure::Failure;

/// Parses the command line, runs the command and says how the process ends.
pub fn main() -> ExitCode {
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        // Help and version arrive here too; clap knows which of them are failures.
        Err(answer) => return answer.print().map_or(ExitCode::FAILURE, |()| code(answer.exit_code())),
    };
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("{message}");
            }
            code(failure.exit_code())
        }
    }
}

fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(&args::inputs(matches)?),
        Some(("demo", matches)) => demo::run(args::inputs(matches)?),
        Some(("check", matches)) => check::run(&args::inputs(matches)?),
        Some(("setup", matches)) => setup::run(matches, &args::inputs(matches)?),
        Some(("purge", matches)) => purge::run(matches),
        _ => unreachable!("clap asks for one of the commands it knows"),
    }
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
