//! The consistency checker, for as long as you like:
//!
//! `cargo build --release -p transom && cargo run --release -p transom-tests --example consistency -- --for 10m --seed 7`

use std::process::ExitCode;

use transom_tests::consistency::{self, Options};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse(std::env::args()).unwrap_or_else(|error| error.exit());
    let report = consistency::run(&options, |line| eprintln!("{line}")).await;
    println!("{report}");
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
