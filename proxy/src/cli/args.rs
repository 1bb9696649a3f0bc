//! The command line, generated from the table of settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};

use super::failure::Failure;
use crate::config::{Config, ConfigError, ConfigErrors, Group, Inputs, Kind, Preset, SETTINGS, Setting};

/// Settings that `transom demo` decides itself.
pub(super) const DEMO_DECIDES: [&str; 5] = ["database_url", "db_anon_role", "db_pool_max", "redis_url", "feed"];

const ABOUT: &str = "A two-tier caching proxy that speaks the PostgREST API over PostgreSQL";

const AFTER: &str = "\
Settings:
  Every setting has one name in three places: the flag --max-staleness, the environment variable
  TRANSOM_MAX_STALENESS, and the key max_staleness in the TOML file named by --config or TRANSOM_CONFIG.
  Flags win over the environment, the environment over the file, the file over the defaults.
  DATABASE_URL, REDIS_URL, CACHE_TTL_SECONDS and the PGRST_* variables of PostgREST work too.
  `transom serve --help` lists all settings.

Examples:
  transom demo
  transom serve --database-url postgres://app@localhost/app --redis-url redis://localhost:6379
  transom check --config /etc/transom.toml
  transom setup --dry-run
  transom purge --table public.flights";

/// Everything `transom` understands.
pub(super) fn command() -> Command {
    Command::new("transom")
        .about(ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(AFTER)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .max_term_width(120)
        .subcommand(with_settings(Command::new("serve").about("Run a node"), &[]))
        .subcommand(with_settings(
            Command::new("demo").about("Run a node on an embedded Postgres with sample data; nothing to install"),
            &DEMO_DECIDES,
        ))
        .subcommand(with_settings(
            Command::new("check").about("Check settings, Postgres and Redis, and say what to fix"),
            &[],
        ))
        .subcommand(setup())
        .subcommand(purge())
}

/// What the settings of a command are to be read from.
pub(super) fn inputs(matches: &ArgMatches) -> Result<Inputs, Failure> {
    // A variable that is not Unicode cannot be one of ours.
    let environment: std::collections::BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
        .collect();
    let named = matches.get_one::<PathBuf>("config").cloned();
    let from_environment = || environment.get(Config::FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = named.or_else(from_environment).map(read).transpose()?;
    let flag = |setting: &Setting| matches.try_get_one::<String>(setting.name).ok().flatten().cloned();
    let flags = SETTINGS.iter().filter_map(|setting| Some((setting.name, flag(setting)?))).collect();
    Ok(Inputs { file, environment, flags, ..Inputs::default() })
}

fn read(path: PathBuf) -> Result<(PathBuf, String), Failure> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) => Err(Failure::Config(ConfigErrors(vec![ConfigError::File { path, problem: error.to_string() }]))),
    }
}

fn with_settings(command: Command, without: &[&str]) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("TOML file with settings\n[env: TRANSOM_CONFIG]");
    // Meaning on one line, default and variables on the next: with columns, most lines would wrap.
    let command = command.next_line_help(true).arg(file);
    Group::ALL.into_iter().fold(command, |command, group| {
        let settings = SETTINGS.iter().filter(|s| s.group == group && !without.contains(&s.name));
        command.args(settings.map(argument))
    })
}

fn argument(setting: &'static Setting) -> Arg {
    let variables = setting.variables().join(", ");
    let default = match setting.default {
        Preset::Required => "required".to_owned(),
        Preset::Value(text) | Preset::Absent(text) => format!("default: {text}"),
    };
    let argument = Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.kind.placeholder())
        .help_heading(setting.group.title())
        .help(format!("{}\n[{default}] [env: {variables}]", capitalized(setting.help)));
    match setting.kind {
        // Offered in the help; whether a word is right is for the settings to say, with the source of the value.
        Kind::Choice(now, _) => argument.value_name(now.join("|")),
        _ => argument,
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn setup() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let about = "Create what the change feed needs in the database: of the kind that `feed` names, or else the best there can be";
    with_settings(Command::new("setup").about(about), &[])
        .arg(flag("dry-run", "Print the SQL and run none of it"))
        .arg(flag("remove", "Remove what was created: triggers, publication, slot"))
        .arg(flag("state", "Instead: create, or remove, the tables of shared state, for what is kept in Postgres"))
        .arg(Arg::new("grant-to").long("grant-to").value_name("ROLE").help(
            "With triggers or --state: give this role the rights that nodes need, if they do not connect as the one that runs this",
        ))
        .arg(flag(
            "replica-identity-full",
            "Also publish tables without a primary key, by ALTER TABLE ... REPLICA IDENTITY FULL",
        ))
}

fn purge() -> Command {
    let list = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
    };
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("purge")
        .about("Invalidate cached entries, on every node")
        .arg(list("table", "SCHEMA.TABLE", "Entries that read this table or view; may be repeated"))
        .arg(list("tag", "TAG", "Entries with this tag; may be repeated"))
        .arg(list("url", "URL", "The answers to this path and query; may be repeated"))
        .arg(flag("all", "All entries of the namespace"))
        .arg(flag("soft", "Keep them as stale ones, for stale-while-revalidate and stale-if-error"))
        .arg(
            Arg::new("admin")
                .long("admin")
                .value_name("URL")
                .default_value("http://127.0.0.1:8001")
                .help("Admin listener of any node"),
        )
        .group(ArgGroup::new("what").args(["table", "tag", "url", "all"]).required(true).multiple(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(of: &str) -> String {
        let mut command = command();
        command.build();
        match of {
            "" => command.render_help().to_string(),
            name => command.find_subcommand_mut(name).expect("a command").render_help().to_string(),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn help_names_every_command_that_exists_and_none_that_does_not() {
        let help = help("");
        for word in ["serve", "demo", "check", "setup", "purge", "TRANSOM_MAX_STALENESS", "DATABASE_URL", "PGRST_"] {
            assert!(help.contains(word), "{word} is missing in\n{help}");
        }
        for later in ["explain", "top"] {
            assert!(!help.contains(&format!("\n  {later} ")), "{help}");
        }
    }

    #[test]
    fn help_of_serve_has_name_variable_default_and_meaning_of_every_setting() {
        let help = help("serve").split_whitespace().collect::<Vec<_>>().join(" ");
        for setting in SETTINGS {
            for part in [format!("--{} <", setting.flag()), setting.variable(), capitalized(setting.help)] {
                assert!(help.contains(&part), "{part} is missing in\n{help}");
            }
        }
        for heading in Group::ALL.map(Group::title) {
            assert!(help.contains(&format!("{heading}:")), "{heading} is missing in\n{help}");
        }
    }

    #[test]
    fn flags_reach_their_settings() {
        let matches = command()
            .try_get_matches_from(["transom", "serve", "--max-staleness", "2s", "--database-url=postgres://h/d"])
            .expect("these are flags");
        let inputs = inputs(matches.subcommand_matches("serve").expect("given")).expect("no file is named");
        assert_eq!(inputs.flags["max_staleness"], "2s");
        assert_eq!(inputs.flags.len(), 2);
    }

    #[test]
    fn the_demo_does_not_offer_what_it_decides_itself() {
        let help = help("demo");
        assert!(help.contains("--listen") && !help.contains("--database-url") && !help.contains("--db-pool-max"));
    }

    #[test]
    fn purge_wants_to_know_what() {
        assert!(command().try_get_matches_from(["transom", "purge", "--soft"]).is_err());
        assert!(command().try_get_matches_from(["transom", "purge", "--table", "a.b", "--table", "a.c"]).is_ok());
    }
}
