//! What the database says of settings, as a layer: `ALTER ROLE authenticator SET pgrst.db_schemas = 'api'`
//! (<https://docs.postgrest.org/en/v12/references/configuration.html#in-database-configuration>).

use std::collections::BTreeMap;

use super::environment::strongest;
use super::postgrest;
use super::settings::{SETTINGS, Setting};
use super::written::{Source, Written};

/// What the names of parameters begin with there.
pub const PREFIX: &str = "pgrst.";
/// What PostgREST 12.0.2 reads there; of its other settings it does not take notice.
pub const NAMES: [&str; 20] = [
    "db_aggregates_enabled",
    "db_anon_role",
    "db_extra_search_path",
    "db_max_rows",
    "db_plan_enabled",
    "db_pre_request",
    "db_prepared_statements",
    "db_root_spec",
    "db_schemas",
    "db_tx_end",
    "jwt_aud",
    "jwt_cache_max_lifetime",
    "jwt_role_claim_key",
    "jwt_secret",
    "jwt_secret_is_base64",
    "openapi_mode",
    "openapi_security_active",
    "openapi_server_proxy_uri",
    "server_timing_enabled",
    "server_trace_header",
];

/// Lays it over what is there, as PostgREST does: it counts more than file and environment, and here than flags. What the
/// command itself insists on stays. An empty value counts as none.
pub(super) fn lay(written: &mut Written, said: &BTreeMap<String, String>) {
    let variables: BTreeMap<String, String> = NAMES
        .iter()
        .filter_map(|name| Some((variable(name), said.get(*name).filter(|text| !text.is_empty())?.clone())))
        .collect();
    for setting in SETTINGS {
        let insisted = written.entry(setting).is_some_and(|entry| entry.source == Source::Command);
        if let Some((text, variable)) = strongest(setting, &variables).filter(|_| !insisted) {
            written.cover(setting, text, Source::Database(parameter(&variable)));
        }
    }
    let known: Vec<String> = SETTINGS.iter().flat_map(Setting::variables).collect();
    let unused = variables.keys().filter(|variable| !known.contains(variable));
    written.warnings.extend(unused.map(|variable| postgrest::remark(variable)));
}

fn variable(name: &str) -> String {
    format!("PGRST_{}", name.to_ascii_uppercase())
}

fn parameter(variable: &str) -> String {
    format!("{PREFIX}{}", variable.trim_start_matches("PGRST_").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::super::settings::setting;
    use super::*;

    #[test]
    fn the_database_counts_more_than_anything_but_the_command() {
        let mut written = Written::default();
        let [schemas, rows] = ["db_schemas", "db_max_rows"].map(|name| setting(name).expect("there is one"));
        written.cover(schemas, "flag", Source::Flag("db-schemas".to_owned()));
        written.cover(rows, "1", Source::Command);
        let said = [
            ("db_schemas", "api"),
            ("db_max_rows", "2"),
            ("db_anon_role", ""),
            ("db_prepared_statements", "false"),
            ("db_uri", "postgres://elsewhere"),
        ];
        lay(&mut written, &said.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
        let entry = written.entry(schemas).expect("it was written");
        assert_eq!((entry.text.as_str(), entry.source.to_string()), ("api", "database pgrst.db_schemas".to_owned()));
        assert_eq!(written.entry(rows).map(|entry| entry.text.as_str()), Some("1"));
        for name in ["db_anon_role", "database_url"] {
            assert_eq!(written.entry(setting(name).expect("there is one")), None, "{name}");
        }
        assert_eq!(written.warnings.len(), 1);
    }
}
