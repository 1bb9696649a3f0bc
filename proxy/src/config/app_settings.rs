//! Settings of the application's own: database functions find them as `app.settings.<name>`
//! (<https://docs.postgrest.org/en/v12/references/configuration.html#app-settings>).
//!
//! They are made when a connection is: the same for every request, they cost none of them anything.

use std::collections::BTreeMap;

use super::problem::ConfigError;
use super::written::Entry;

/// What the names begin with in the environment, and in the database.
pub(super) const VARIABLE_PREFIX: &str = "PGRST_APP_SETTINGS_";
const PARAMETER_PREFIX: &str = "app.settings.";
/// The section of the TOML file.
pub(super) const SECTION: &str = "app_settings";
/// Postgres takes 10 000 bytes at the beginning of a session, of which the names of user and database are some.
const BYTES_MAX: usize = 8_192;

/// As options of a connection, after those that it has. What is wrong is added to `errors`, without the values: some are
/// secrets.
pub(super) fn options(
    settings: &BTreeMap<String, Entry>,
    before: Option<&str>,
    errors: &mut Vec<ConfigError>,
) -> Option<String> {
    let mut options = before.unwrap_or_default().to_owned();
    for (name, entry) in settings {
        let unfit = |problem: &str, remedy: &str| ConfigError::Setting {
            setting: format!("{SECTION}.{name}"),
            source_of: entry.source.clone(),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        };
        if !is_name(name) {
            let remedy = "write letters, digits and underscores, and no digit at the beginning";
            errors.push(unfit("Postgres takes no parameter of this name", remedy));
        } else if entry.text.contains('\0') {
            errors.push(unfit("the value has a zero byte", "leave it out"));
        } else {
            options.push_str(&format!(" -c {PARAMETER_PREFIX}{name}={}", escaped(&entry.text)));
            if options.len() > BYTES_MAX {
                let problem = format!("with it the settings have more than {BYTES_MAX} bytes");
                errors.push(unfit(&problem, "keep what is larger in a table"));
                return None;
            }
        }
    }
    Some(options).filter(|options| !options.is_empty())
}

fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    name.split('.').all(is_part)
}

/// In the options of a connection a blank ends a word unless a backslash stands before it
/// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS>).
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for char in value.chars() {
        if char == '\\' || char.is_ascii_whitespace() || char == '\u{b}' {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::written::Source;
    use super::*;

    fn made(pairs: &[(&str, &str)]) -> (Option<String>, Vec<String>) {
        let entry = |text: &str| Entry { text: text.to_owned(), source: Source::Command };
        let settings = pairs.iter().map(|(name, text)| ((*name).to_owned(), entry(text))).collect();
        let mut errors = Vec::new();
        let options = options(&settings, Some("-c x=y"), &mut errors);
        (options, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_stay_whole() {
        let (options, errors) = made(&[("a.b", "it's\ta \\"), ("key", "x=y")]);
        let expected = "-c x=y -c app.settings.a.b=it's\\\ta\\ \\\\ -c app.settings.key=x=y";
        assert_eq!(options.as_deref(), Some(expected));
        assert_eq!(errors, Vec::<String>::new());
    }

    #[test]
    fn what_postgres_would_refuse_is_refused_first_and_not_repeated() {
        let long = "s3cret".repeat(2_000);
        for (name, value) in
            [("1st", "s3cret"), ("a-b", "s3cret"), ("", "s3cret"), ("zero", "s3cret\0"), ("long", &long)]
        {
            let (_, errors) = made(&[(name, value)]);
            assert!(errors.len() == 1 && !errors[0].contains("s3cret"), "{name}: {errors:?}");
        }
    }
}
