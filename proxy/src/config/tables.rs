//! Per-table overrides: `[tables."public.flights"]` in the TOML file.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kind::{Kind, Unfit, Value};
use super::problem::ConfigError;
use super::suggest::closest;
use super::written::{Entry, Source, TableSection};

const KEYS: [&str; 5] = ["cache", "ttl", "stale_while_revalidate", "stale_if_error", "absent_filter"];
const YEAR_MILLIS: u64 = 365 * 24 * 3_600_000;

/// How the answers about one table or view are cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TablePolicy {
    /// whether they are stored at all
    pub cache: bool,
    /// freshness lifetime while coherent
    pub ttl: Duration,
    /// how long after its lifetime an entry may be served while a new one is fetched
    pub stale_while_revalidate: Duration,
    /// how long after its lifetime an entry may stand in while Postgres fails
    pub stale_if_error: Duration,
    /// whether it is kept in memory which rows are certainly absent
    pub absent_filter: bool,
}

/// The policy of every table that has its own, on top of the one that holds for all others.
pub(super) fn policies(
    sections: &[TableSection],
    general: TablePolicy,
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<(String, String), TablePolicy> {
    let mut policies = BTreeMap::new();
    for section in sections {
        let Some((schema, table)) = section.table.split_once('.').filter(|(s, t)| !s.is_empty() && !t.is_empty())
        else {
            let problem = "this names no table".to_owned();
            let remedy = "write the schema too, for example [tables.\"public.flights\"]".to_owned();
            errors.push(error(section, None, &section.source, Unfit { problem, remedy }));
            continue;
        };
        let policy = policy(section, general, errors);
        policies.insert((schema.to_owned(), table.to_owned()), policy);
    }
    policies
}

fn policy(section: &TableSection, general: TablePolicy, errors: &mut Vec<ConfigError>) -> TablePolicy {
    let mut policy = general;
    for (key, entry) in &section.keys {
        let read = match key.as_str() {
            "cache" => flag(entry).map(|cache| policy.cache = cache),
            "ttl" => duration(entry).map(|ttl| policy.ttl = ttl),
            "stale_while_revalidate" => duration(entry).map(|d| policy.stale_while_revalidate = d),
            "stale_if_error" => duration(entry).map(|d| policy.stale_if_error = d),
            "absent_filter" => flag(entry).map(|absent_filter| policy.absent_filter = absent_filter),
            _ => Err(unknown(key)),
        };
        if let Err(unfit) = read {
            errors.push(error(section, Some(key), &entry.source, unfit));
        }
    }
    policy
}

fn flag(entry: &Entry) -> Result<bool, Unfit> {
    let unfit = |_| Unfit {
        problem: format!("{:?} is neither true nor false", entry.text),
        remedy: "write true or false".to_owned(),
    };
    entry.text.parse().map_err(unfit)
}

fn duration(entry: &Entry) -> Result<Duration, Unfit> {
    match Kind::Duration(0, YEAR_MILLIS).read(&entry.text)? {
        Value::Duration(duration) => Ok(duration),
        _ => unreachable!("a duration is read as a duration"),
    }
}

fn unknown(key: &str) -> Unfit {
    let remedy = match closest(key, KEYS) {
        Some(other) => format!("did you mean `{other}`?"),
        None => format!("write one of {}", KEYS.join(", ")),
    };
    Unfit { problem: "there is no such setting for a table".to_owned(), remedy }
}

fn error(section: &TableSection, key: Option<&str>, source: &Source, unfit: Unfit) -> ConfigError {
    let section = format!("tables.\"{}\"", section.table);
    let setting = key.map_or_else(|| section.clone(), |key| format!("{section}.{key}"));
    ConfigError::Setting { setting, source_of: source.clone(), problem: unfit.problem, remedy: unfit.remedy }
}
