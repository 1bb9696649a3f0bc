//! What becomes of PostgREST's variables that set nothing here: none is passed over in silence
//! (<https://docs.postgrest.org/en/v12/references/configuration.html>).

/// The variables that PostgREST 12.0.2 knows and Transom has no setting for, and what that means.
const NOT_USED: &[(&str, &str)] = &[
    ("PGRST_DB_POOL_AUTOMATIC_RECOVERY", "lost connections are always made anew"),
    ("PGRST_DB_POOL_MAX_IDLETIME", "the pool decides how long a connection may idle"),
    ("PGRST_DB_POOL_MAX_LIFETIME", "the pool decides how long a connection lives"),
    (
        "PGRST_DB_PREPARED_STATEMENTS",
        "statements are always prepared: connect to Postgres itself, not to a pooler of transactions",
    ),
    ("PGRST_JWT_CACHE_MAX_LIFETIME", "valid tokens are remembered until they expire"),
    ("PGRST_SERVER_TIMING_ENABLED", "every answer has Server-Timing"),
    ("PGRST_SERVER_TRACE_HEADER", "requests are named by X-Request-Id"),
    ("PGRST_SERVER_UNIX_SOCKET", "it listens on TCP only"),
    ("PGRST_SERVER_UNIX_SOCKET_MODE", "it listens on TCP only"),
];

/// The sentence about a variable that is set and sets nothing.
pub(super) fn remark(variable: &str) -> String {
    match NOT_USED.iter().find(|(known, _)| *known == variable) {
        Some((_, reason)) => format!("{variable} is set, but Transom does not use it: {reason}"),
        None => format!("{variable} is set, but neither PostgREST 12 nor Transom knows it"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{SETTINGS, Setting};
    use super::*;

    /// As `postgrest --dump-config` lists them.
    const OF_POSTGREST: &str = "db-aggregates-enabled db-anon-role db-channel db-channel-enabled db-extra-search-path \
        db-max-rows db-plan-enabled db-pool db-pool-acquisition-timeout db-pool-max-lifetime db-pool-max-idletime \
        db-pool-automatic-recovery db-pre-request db-prepared-statements db-root-spec db-schemas db-config db-pre-config \
        db-tx-end db-uri jwt-aud jwt-role-claim-key jwt-secret jwt-secret-is-base64 jwt-cache-max-lifetime log-level \
        openapi-mode openapi-security-active openapi-server-proxy-uri server-cors-allowed-origins server-host server-port \
        server-trace-header server-timing-enabled server-unix-socket server-unix-socket-mode admin-server-port";

    #[test]
    fn every_variable_of_postgrest_is_an_alias_or_explained() {
        let aliases: Vec<String> = SETTINGS.iter().flat_map(Setting::variables).collect();
        for name in OF_POSTGREST.split_whitespace() {
            let variable = format!("PGRST_{}", name.replace('-', "_").to_uppercase());
            let is_alias = aliases.contains(&variable) || variable == "PGRST_SERVER_HOST";
            let is_explained = NOT_USED.iter().any(|(known, _)| *known == variable);
            assert!(is_alias != is_explained, "{variable}: alias {is_alias}, explained {is_explained}");
        }
    }

    #[test]
    fn a_variable_that_nobody_knows_is_said_to_be_unknown() {
        assert!(remark("PGRST_NOSUCH").ends_with("neither PostgREST 12 nor Transom knows it"));
        assert!(remark("PGRST_SERVER_UNIX_SOCKET").ends_with("it listens on TCP only"));
    }
}
