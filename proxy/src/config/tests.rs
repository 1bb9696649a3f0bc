use super::*;

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://app:s3cret@db:5432/app");

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn inputs(pairs: &[(&str, &str)], toml: &str) -> Inputs {
    let file = Some((PathBuf::from("transom.toml"), toml.to_owned()));
    let mut environment = environment(pairs);
    environment.insert(DATABASE.0.to_owned(), DATABASE.1.to_owned());
    Inputs { file, environment, ..Inputs::default() }
}

fn config(pairs: &[(&str, &str)], toml: &str) -> Config {
    Config::load(&inputs(pairs, toml)).expect("these settings are valid").config
}

fn errors(pairs: &[(&str, &str)], toml: &str) -> String {
    Config::load(&inputs(pairs, toml)).expect_err("these settings are wrong").to_string()
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = config(&[], "");
    assert_eq!(config.listeners.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.listeners.admin_listen.to_string(), "127.0.0.1:8001");
    assert_eq!(config.listeners.rest_path, "/rest/v1");
    assert_eq!(config.namespace, "default");
    assert_eq!(config.database.schemas, ["public"]);
    assert_eq!(config.database.anon_role, None);
    assert_eq!(config.database.max_rows, None);
    assert_eq!((config.database.pool_max, config.database.pool_wait_max), (10, Duration::from_secs(5)));
    assert!(config.redis.is_none());
    assert_eq!(config.cache.policy.ttl, Duration::from_secs(3600));
    assert_eq!(config.cache.policy.stale_if_error, Duration::from_secs(3600));
    assert_eq!(config.cache.policy.stale_while_revalidate, Duration::ZERO);
    assert_eq!((config.cache.l1_bytes_max, config.cache.entry_bytes_max), (256 << 20, 4 << 20));
    assert_eq!(config.coherence.max_staleness, Duration::from_secs(1));
    assert_eq!(config.coherence.slots, 262_144);
    assert_eq!(config.collapse.fill_lease_for, Duration::from_secs(2));
    assert_eq!((config.audit.one_in, config.audit.per_second_max), (1_000, 10));
    assert_eq!((config.limits.in_flight_max, config.limits.body_bytes_max), (4096, 8 << 20));
    assert!(config.workers >= 1);
}

#[test]
fn flags_cover_the_environment_which_covers_the_file_which_covers_defaults() {
    let toml = "max_staleness = '2s'\ncache_ttl_seconds = 7\ndb_pool_max = 3\n";
    let mut inputs = inputs(&[("TRANSOM_MAX_STALENESS", "3s"), ("TRANSOM_DB_POOL_MAX", "4")], toml);
    inputs.flags.insert("max_staleness", "4s".to_owned());
    let config = Config::load(&inputs).expect("valid").config;
    assert_eq!(config.coherence.max_staleness, Duration::from_secs(4));
    assert_eq!(config.database.pool_max, 4);
    assert_eq!(config.cache.policy.ttl, Duration::from_secs(7));
    let sources: Vec<&str> = ["max_staleness", "db_pool_max", "cache_ttl_seconds", "listen"]
        .map(|name| config.view[name].source.as_str())
        .into();
    assert_eq!(sources, ["flag --max-staleness", "environment TRANSOM_DB_POOL_MAX", "transom.toml line 2", "default"]);
}

#[test]
fn bare_and_postgrest_variables_work_below_their_own() {
    let pairs = [
        ("CACHE_TTL_SECONDS", "60"),
        ("TRANSOM_CACHE_TTL_SECONDS", "90"),
        ("REDIS_URL", "redis://cache:6379/2"),
        ("PGRST_DB_URI", "postgres://elsewhere/app"),
        ("PGRST_DB_SCHEMAS", "api, public"),
        ("PGRST_DB_ANON_ROLE", "web_anon"),
        ("PGRST_DB_MAX_ROWS", ""),
        ("PGRST_DB_POOL_ACQUISITION_TIMEOUT", "2"),
        ("PGRST_SERVER_PORT", "3000"),
    ];
    let config = config(&pairs, "");
    assert_eq!(config.cache.policy.ttl, Duration::from_secs(90));
    assert_eq!(config.redis.expect("given").url.expose(), "redis://cache:6379/2");
    assert_eq!(config.database.schemas, ["api", "public"]);
    assert_eq!(config.database.anon_role.as_deref(), Some("web_anon"));
    assert_eq!(config.database.max_rows, None);
    assert_eq!(config.database.pool_wait_max, Duration::from_secs(2));
    assert_eq!(config.listeners.listen.to_string(), "0.0.0.0:3000");
    assert_eq!(config.view["database_url"].source, "environment DATABASE_URL");
}

#[test]
fn an_error_names_the_setting_its_source_what_was_wrong_and_what_would_be_right() {
    for (variable, text, expected) in [
        (
            "TRANSOM_MAX_STALENESS",
            "fast",
            "setting `max_staleness` (environment TRANSOM_MAX_STALENESS): \"fast\" is not a duration; \
             write for example 500ms, 1s or 5m",
        ),
        ("TRANSOM_MAX_STALENESS", "10ms", "\"10ms\" is not within its bounds; write a duration from 50ms to 1h"),
        ("TRANSOM_LISTEN", "8000", "not an address and a port; write for example 127.0.0.1:8000"),
        ("TRANSOM_L1_BYTES_MAX", "256", "not a size; write for example 64KiB, 256MiB or 1GiB"),
        (
            "TRANSOM_COHERENCE_SLOTS",
            "1000000",
            "not a power of two in bounds; write a power of two from 1024 to 4194304",
        ),
        ("TRANSOM_TTL_JITTER", "10", "not a percentage; write 0% to 100%"),
        ("TRANSOM_AUDIT_SHARE", "2 in 3", "not a share; write 1 in N with N from 1 to 1000000000, or 0 for none"),
        ("TRANSOM_AUDIT_SHARE", "1 in 0", "not a share"),
        (
            "TRANSOM_FEED",
            "triggers",
            "\"triggers\" is not one of the words known here; write logical or trigger or none",
        ),
        ("TRANSOM_LOG_FORMAT", "xml", "write text or json"),
        ("TRANSOM_DB_SCHEMAS", "a,,b", "not a list of different names"),
        ("TRANSOM_NAMESPACE", "a{b}", "not a namespace"),
        ("TRANSOM_REST_PATH", "rest", "not a path"),
        ("TRANSOM_REDIS_URL", "http://cache", "the value is not a Redis URL"),
        ("TRANSOM_REDIS_URL", "rediss://cache", "the value asks for TLS, which comes with a later version"),
        ("TRANSOM_DATABASE_URL", "postgres://h/d?sslmode=require", "the value asks for TLS"),
        ("TRANSOM_DATABASE_URL", "postgres://", "the value is not a Postgres URL"),
        ("TRANSOM_DB_POOL_MAX", "0", "write a whole number from 1 to 10000"),
    ] {
        let message = errors(&[(variable, text)], "");
        assert!(message.contains(expected), "{variable}={text}: {message}");
        assert!(message.contains(variable), "{message}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let message = errors(&[("TRANSOM_WORKERS", "many"), ("TRANSOM_FEED", "x")], "listn = 'a'\n[tables.flights]\n");
    assert_eq!(message.lines().count(), 4, "{message}");
}

#[test]
fn unknown_keys_of_the_file_are_errors_that_help() {
    let message = errors(&[], "\nmax_stalenes = '1s'\n");
    assert_eq!(
        message,
        "setting `max_stalenes` (transom.toml line 2): there is no such setting; did you mean `max_staleness`?"
    );
    assert!(errors(&[], "listen = ").contains("cannot read the configuration file transom.toml: line 1"));
}

#[test]
fn unknown_variables_are_warnings_because_others_set_some_too() {
    let loaded = Config::load(&inputs(
        &[("TRANSOM_MAX_STALENES", "1s"), ("TRANSOM_PORT", "tcp://10.0.0.1:80"), ("PGRST_SERVER_UNIX_SOCKET", "x")],
        "",
    ))
    .expect("valid");
    assert!(loaded.warnings[0].contains("PGRST_SERVER_UNIX_SOCKET is set, but Transom does not use it"));
    assert!(loaded.warnings[1].contains("did you mean TRANSOM_MAX_STALENESS?"));
    assert_eq!(loaded.warnings.len(), 3);
}

#[test]
fn a_missing_database_says_which_variables_to_set() {
    let message = Config::load(&Inputs::default()).expect_err("no database").to_string();
    assert_eq!(
        message,
        "setting `database_url` is missing; set the environment variable TRANSOM_DATABASE_URL or DATABASE_URL or \
         PGRST_DB_URI, or --database-url"
    );
}

#[test]
fn settings_are_checked_against_each_other() {
    for (pairs, expected) in [
        (&[("TRANSOM_ADMIN_LISTEN", "127.0.0.1:8000")][..], "already `listen`"),
        (&[("TRANSOM_L1_BYTES_MAX", "1MiB")][..], "setting `entry_bytes_max` (default): one entry could be larger"),
        (&[("TRANSOM_RESPONSE_BYTES_MAX", "1MiB")][..], "refused before it could be stored"),
        (&[("TRANSOM_DB_SCHEMAS", "public, transom")][..], "what nodes keep for themselves"),
        (&[("TRANSOM_DB_POOL_WAIT_MAX", "1m")][..], "at most what `request_deadline` says"),
    ] {
        let message = errors(pairs, "");
        assert!(message.contains(expected), "{message}");
    }
    let free_ports = [("TRANSOM_LISTEN", "127.0.0.1:0"), ("TRANSOM_ADMIN_LISTEN", "127.0.0.1:0")];
    assert_eq!(config(&free_ports, "").listeners.listen.port(), 0);
}

#[test]
fn tables_have_their_own_policy_on_top_of_the_general_one() {
    let toml =
        "cache_ttl_seconds = 60\n[tables.\"public.flights\"]\nttl = '5m'\n[tables.\"audit.log\"]\ncache = false\n";
    let cache = config(&[], toml).cache;
    let flights = cache.policy_of("public", "flights");
    assert_eq!((flights.cache, flights.ttl), (true, Duration::from_secs(300)));
    assert_eq!(flights.stale_if_error, Duration::from_secs(3600));
    let log = cache.policy_of("audit", "log");
    assert_eq!((log.cache, log.ttl), (false, Duration::from_secs(60)));
    assert_eq!(cache.policy_of("public", "airports"), cache.policy);

    let message = errors(&[], "[tables.\"public.flights\"]\ntttl = '5m'\nstale_if_error = 'soon'\ncache = 3\n");
    assert!(message.contains("`tables.\"public.flights\".tttl` (transom.toml line 2)"), "{message}");
    assert!(message.contains("did you mean `ttl`?"), "{message}");
    assert!(message.contains("\"soon\" is not a duration"), "{message}");
    assert!(message.contains("\"3\" is neither true nor false"), "{message}");
}

#[test]
fn the_root_mount_is_an_empty_prefix() {
    assert_eq!(config(&[("TRANSOM_REST_PATH", "/")], "").listeners.rest_path, "");
    assert_eq!(config(&[("TRANSOM_REST_PATH", "/api/")], "").listeners.rest_path, "/api");
}

#[test]
fn secrets_stay_secret() {
    let config = config(&[("REDIS_URL", "redis://:t0psecret@cache:6379")], "");
    let shown = format!("{config:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("t0psecret"), "{shown}");
    assert_eq!(config.view["database_url"].value, "postgres://app:***@db:5432/app");
    let message = errors(&[("TRANSOM_REDIS_URL", "redjs://:t0psecret@cache")], "");
    assert!(!message.contains("t0psecret"), "{message}");
}

#[test]
fn the_readme_table_has_every_setting() {
    let markdown = settings_markdown();
    for setting in SETTINGS {
        assert!(markdown.contains(&format!("| `{}` |", setting.name)), "{}", setting.name);
    }
}

#[test]
fn a_share_is_one_in_so_many_or_none() {
    for (text, one_in) in [("0", 0), ("1", 1), ("1 in 1", 1), ("1  in 20", 20)] {
        assert_eq!(config(&[("TRANSOM_AUDIT_SHARE", text)], "").audit.one_in, one_in, "{text}");
    }
}
