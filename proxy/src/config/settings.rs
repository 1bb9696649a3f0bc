//! The one table of settings. Flags, environment variables, TOML keys, `--help`, the README and `/config` all follow
//! from it.

use super::api::TransactionEnd;
use super::kind::Kind;
use super::openapi::Described;

/// One setting: `--max-staleness` = `TRANSOM_MAX_STALENESS` = `max_staleness` in the TOML file.
#[derive(Debug)]
pub struct Setting {
    /// the name in the TOML file; flag and environment variable follow from it
    pub name: &'static str,
    /// under which heading it is listed
    pub group: Group,
    /// what it may hold
    pub kind: Kind,
    /// what holds when it is not given
    pub default: Preset,
    /// other environment variables that set it, strongest first; all are weaker than the `TRANSOM_` one
    pub aliases: &'static [Alias],
    /// what it means, in one line
    pub help: &'static str,
}

/// What holds when a setting is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// this value, written as a person would write it
    Value(&'static str),
    /// no value; the text says what that means
    Absent(&'static str),
    /// it must be given
    Required,
}

/// Another environment variable that sets a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    /// its value is written as ours
    Same(&'static str),
    /// its value is a bare number of seconds
    Seconds(&'static str),
    /// its value is a word, some of which have others here
    Words(&'static str, &'static [(&'static str, &'static str)]),
    /// its value is a port; the second variable may name the host
    Port(&'static str, &'static str),
}

impl Alias {
    /// The variable to look for.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Same(name) | Self::Seconds(name) | Self::Words(name, _) | Self::Port(name, _) => name,
        }
    }
}

/// The headings, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// where the node listens
    Listeners,
    /// Postgres
    Database,
    /// who asks
    Tokens,
    /// L1, L2 and how long entries live
    Cache,
    /// how fresh entries are
    Coherence,
    /// what services share
    State,
    /// what the node refuses to exceed
    Limits,
    /// logs and threads
    Process,
}

impl Group {
    /// Every group, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Listeners,
        Self::Database,
        Self::Tokens,
        Self::Cache,
        Self::Coherence,
        Self::State,
        Self::Limits,
        Self::Process,
    ];

    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Listeners => "Listeners",
            Self::Database => "Database",
            Self::Tokens => "Tokens",
            Self::Cache => "Cache",
            Self::Coherence => "Freshness",
            Self::State => "Shared state",
            Self::Limits => "Limits",
            Self::Process => "Process",
        }
    }
}

impl Setting {
    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("TRANSOM_{}", self.name.to_ascii_uppercase())
    }

    /// The flag that sets it, without the dashes in front.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The default as shown to people.
    #[must_use]
    pub fn shown_default(&self) -> &'static str {
        match self.default {
            Value(text) => text,
            Absent(meaning) => meaning,
            Required => "none: must be given",
        }
    }

    /// Every environment variable that sets it, strongest first.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        let aliases = self.aliases.iter().map(|alias| alias.variable().to_owned());
        std::iter::once(self.variable()).chain(aliases).collect()
    }
}

/// The setting of this name.
#[must_use]
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

const HOUR: u64 = 3_600_000;
const YEAR: u64 = 365 * 24 * HOUR;
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const fn row(
    name: &'static str,
    group: Group,
    kind: Kind,
    default: Preset,
    aliases: &'static [Alias],
    help: &'static str,
) -> Setting {
    Setting { name, group, kind, default, aliases, help }
}

use Alias::{Port, Same, Seconds, Words};
use Preset::{Absent, Required, Value};

/// Every setting, group by group.
#[rustfmt::skip] // A table reads by its columns.
pub static SETTINGS: &[Setting] = &[
    row("listen", Group::Listeners, Kind::Address, Value("127.0.0.1:8000"),
        &[Port("PGRST_SERVER_PORT", "PGRST_SERVER_HOST")],
        "where services connect"),
    row("admin_listen", Group::Listeners, Kind::Address, Value("127.0.0.1:8001"),
        &[Port("PGRST_ADMIN_SERVER_PORT", "PGRST_ADMIN_SERVER_HOST")],
        "where operators and health checks connect; keep it private"),
    row("rest_path", Group::Listeners, Kind::MountPath, Value("/rest/v1"), &[],
        "where the REST API is mounted; / serves it at the root"),
    row("server_cors_allowed_origins", Group::Listeners, Kind::Identifiers, Absent("any origin"),
        &[Same("PGRST_SERVER_CORS_ALLOWED_ORIGINS")],
        "origins whose pages may ask, separated by commas"),

    row("database_url", Group::Database, Kind::PostgresUrl, Required,
        &[Same("DATABASE_URL"), Same("PGRST_DB_URI")],
        "how to reach Postgres"),
    row("db_schemas", Group::Database, Kind::Identifiers, Value("public"),
        &[Same("PGRST_DB_SCHEMAS"), Same("PGRST_DB_SCHEMA")],
        "schemas whose tables and views are served; the first is the default"),
    row("db_anon_role", Group::Database, Kind::Identifier, Absent("the role of the connection"),
        &[Same("PGRST_DB_ANON_ROLE")],
        "role of a request that does not say who it is"),
    row("db_extra_search_path", Group::Database, Kind::Identifiers, Value("public"),
        &[Same("PGRST_DB_EXTRA_SEARCH_PATH")],
        "schemas added to the search path, for functions and operators of extensions"),
    row("db_max_rows", Group::Database, Kind::Count(1, u32::MAX as u64), Absent("no limit"),
        &[Same("PGRST_DB_MAX_ROWS")],
        "most rows in one response"),
    row("db_pre_request", Group::Database, Kind::Function, Absent("none"), &[Same("PGRST_DB_PRE_REQUEST")],
        "function called first in every transaction, which may refuse it; reads are not cached then"),
    row("db_channel", Group::Database, Kind::Identifier, Value("pgrst"), &[Same("PGRST_DB_CHANNEL")],
        "channel whose notifications make the node read the schema again"),
    row("db_channel_enabled", Group::Database, Kind::Choice(&["true", "false"], &[]), Value("true"),
        &[Same("PGRST_DB_CHANNEL_ENABLED")],
        "whether to listen there, on a connection of its own; not possible through a pooler that pools transactions"),
    row("db_aggregates_enabled", Group::Database, Kind::Choice(&["false", "true"], &[]), Value("false"),
        &[Same("PGRST_DB_AGGREGATES_ENABLED")],
        "whether select may hold count(), sum(), avg(), min() and max()"),
    row("db_plan_enabled", Group::Database, Kind::Choice(&["false", "true"], &[]), Value("false"),
        &[Same("PGRST_DB_PLAN_ENABLED")],
        "whether requests may ask for execution plans, which tell how the database is built"),
    row("db_tx_end", Group::Database, Kind::Choice(TransactionEnd::WORDS, &[]), Value("commit"),
        &[Same("PGRST_DB_TX_END")],
        "how the transaction of a write ends; with allow-override, unless Prefer: tx= says otherwise"),
    row("db_root_spec", Group::Database, Kind::Function, Absent("none"), &[Same("PGRST_DB_ROOT_SPEC")],
        "function that answers at the root in place of the description of the API"),
    row("openapi_mode", Group::Database, Kind::Choice(Described::WORDS, &[]), Value("follow-privileges"),
        &[Same("PGRST_OPENAPI_MODE")],
        "which tables and functions the description of the API has: those that the role may use, all, or there is none"),
    row("openapi_security_active", Group::Database, Kind::Choice(&["false", "true"], &[]), Value("false"),
        &[Same("PGRST_OPENAPI_SECURITY_ACTIVE")],
        "whether that description says that there are tokens"),
    row("openapi_server_proxy_uri", Group::Database, Kind::ServerUrl, Absent("where it was asked for"),
        &[Same("PGRST_OPENAPI_SERVER_PROXY_URI")],
        "where it says that the API is reached"),
    row("db_config", Group::Database, Kind::Choice(&["true", "false"], &[]), Value("true"), &[Same("PGRST_DB_CONFIG")],
        "whether settings pgrst.* of the role in the database count; they count more than these here"),
    row("db_pre_config", Group::Database, Kind::Function, Absent("none"), &[Same("PGRST_DB_PRE_CONFIG")],
        "function that makes such settings when the node starts"),
    row("db_pool_max", Group::Database, Kind::Count(1, 10_000), Value("10"), &[Same("PGRST_DB_POOL")],
        "most connections to Postgres"),
    row("db_pool_wait_max", Group::Database, Kind::Duration(1, HOUR), Value("5s"),
        &[Seconds("PGRST_DB_POOL_ACQUISITION_TIMEOUT")],
        "longest wait for one of them"),
    row("startup_retries", Group::Database, Kind::Count(0, 10_000), Value("5"), &[],
        "how often to try Postgres again at startup"),
    row("startup_retry_wait", Group::Database, Kind::Duration(1, HOUR), Value("5s"), &[],
        "pause before each of these tries"),
    row("slow_query", Group::Database, Kind::Duration(0, HOUR), Value("100ms"), &[],
        "queries that take longer are logged and counted"),

    row("jwt_secret", Group::Tokens, Kind::TokenSecret, Absent("tokens are refused"), &[Same("PGRST_JWT_SECRET")],
        "what tokens are verified with: a text, a JWK or a JWK set as JSON, or @ and the path of a file with one of these"),
    row("jwt_secret_is_base64", Group::Tokens, Kind::Choice(&["false", "true"], &[]), Value("false"),
        &[Same("PGRST_JWT_SECRET_IS_BASE64")],
        "whether jwt_secret is in Base64"),
    row("jwt_aud", Group::Tokens, Kind::Text, Absent("any audience"), &[Same("PGRST_JWT_AUD")],
        "whom a token must be meant for, if it says whom it is meant for"),
    row("jwt_role_claim_key", Group::Tokens, Kind::ClaimPath, Value(".role"), &[Same("PGRST_JWT_ROLE_CLAIM_KEY")],
        "where a token names the role"),
    row("jwt_user_claim", Group::Tokens, Kind::ClaimPath, Absent("tokens count until they expire"), &[],
        "where a token names its user, such as .sub: it is refused once its user has logged out, is banned, .. (docs/state.md)"),

    row("redis_url", Group::Cache, Kind::RedisUrl, Absent("L1 only"), &[Same("REDIS_URL")],
        "Redis for L2 and for coherence between nodes; standalone, Sentinel and Cluster URLs"),
    row("redis_timeout", Group::Cache, Kind::Duration(1, HOUR), Value("100ms"), &[],
        "longest wait for one Redis command"),
    row("redis_encryption_keys", Group::Cache, Kind::EncryptionKeys, Absent("values are stored as they are"), &[],
        "keys that seal values at rest in Redis, in Base64, the first one for new values; or @ and the path of a file of them"),
    row("namespace", Group::Cache, Kind::Namespace, Value("default"), &[],
        "separates clusters of nodes that share one Redis"),
    row("cache_ttl_seconds", Group::Cache, Kind::Seconds(YEAR / 1000), Value("3600"),
        &[Same("CACHE_TTL_SECONDS")],
        "freshness lifetime of an entry while coherent; 0 caches nothing"),
    row("ttl_jitter", Group::Cache, Kind::Percent, Value("10%"), &[],
        "share of that lifetime which is random, so that entries do not expire together"),
    row("l1_bytes_max", Group::Cache, Kind::Bytes(0, TIB), Value("256MiB"), &[],
        "memory for L1: most of it for entries, the rest for what finds them"),
    row("entry_bytes_max", Group::Cache, Kind::Bytes(0, GIB), Value("4MiB"), &[],
        "largest entry that is stored, in either tier"),
    row("stale_if_error", Group::Cache, Kind::Duration(0, YEAR), Value("1h"), &[],
        "how long after its lifetime an entry may stand in while Postgres fails"),
    row("stale_while_revalidate", Group::Cache, Kind::Duration(0, YEAR), Value("0s"), &[],
        "how long after its lifetime an entry may be served while a new one is fetched"),

    row("max_staleness", Group::Coherence, Kind::Duration(50, HOUR), Value("1s"), &[],
        "bound on staleness when coherence cannot be proven"),
    row("feed", Group::Coherence, Kind::Choice(&["logical", "trigger", "none"], &[]),
        Absent("logical if the role may, else trigger if installed, else none"), &[],
        "how changes made past the proxy are noticed; none: only by lifetime and purge"),
    row("coherence_slots", Group::Coherence, Kind::PowerOfTwo(1_024, 4_194_304), Value("262144"), &[],
        "slots of the coherence table, 8 bytes each; more if more than 10 000 rows change within a lifetime; the same on every node of a namespace"),
    row("collapse_leader_max", Group::Coherence, Kind::Duration(1, HOUR), Value("5s"), &[],
        "age of a fill after which a second one for the same key may start"),
    row("collapse_wait_max", Group::Coherence, Kind::Duration(1, HOUR), Value("5s"), &[],
        "longest wait of a request for somebody else's fill"),
    row("fill_lease_for", Group::Coherence, Kind::Duration(0, HOUR), Value("2s"), &[],
        "how long a fill keeps the other nodes from filling the same key, should its node die; 0s: nodes do not ask each other"),
    row("audit_share", Group::Coherence, Kind::Share(1_000_000_000), Value("1 in 1000"), &[],
        "share of fresh hits that are read again from Postgres and compared; 0: none"),
    row("audit_rate_max", Group::Coherence, Kind::Count(1, 10_000), Value("10"), &[],
        "most of these reads per second"),

    row("state_path", Group::State, Kind::MountPath, Value("/state/v1"), &[],
        "where services find what they share: locks, sessions, rate limits, events, presence"),
    row("state_service_key", Group::State, Kind::ServiceKey, Absent("tokens only"), &[],
        "key that services may send as Transom-Service-Key in place of a token"),
    row("state_roles", Group::State, Kind::Identifiers, Absent("every role but the anonymous one"), &[],
        "roles whose tokens may use shared state"),
    row("events_kept", Group::State, Kind::Count(1, 1_000_000), Value("1000"), &[],
        "events of a channel that can be heard again after a connection was lost"),
    row("events_kept_for", Group::State, Kind::Duration(1_000, YEAR), Value("1h"), &[],
        "how long after the last event of a channel"),
    row("presence_ttl", Group::State, Kind::Duration(1_000, 24 * HOUR), Value("60s"), &[],
        "how long a member of a channel stays that does not say so again"),
    row("event_streams_max", Group::State, Kind::Count(1, 1_000_000), Value("4096"), &[],
        "most streams of events at the same time"),
    row("distinct_window", Group::State, Kind::Duration(0, YEAR), Value("24h"), &[],
        "how long the different keys asked of a table, and the users who ask, are counted together, in Redis; 0s: they are not"),
    row("session_idle", Group::State, Kind::Duration(1_000, YEAR), Value("1h"), &[],
        "how long a session lasts without activity"),
    row("session_lifetime", Group::State, Kind::Duration(1_000, YEAR), Value("30d"), &[],
        "how long a session lasts at most"),
    row("session_cached_for", Group::State, Kind::Duration(1_000, YEAR), Value("1h"), &[],
        "how long copies of a session are kept in memory and in Redis"),
    row("session_l1_bytes_max", Group::State, Kind::Bytes(1 << 20, TIB), Value("32MiB"), &[],
        "memory for copies of sessions"),
    row("sessions_per_user_max", Group::State, Kind::Count(1, 10_000), Value("100"), &[],
        "most sessions of a user; the oldest leaves for the next"),
    row("permissions_query", Group::State, Kind::StandingQuery("{user}"), Absent("not asked"), &[],
        "what a user may do, as a read such as /permissions?user_id=eq.{user}&select=name"),
    row("api_key_query", Group::State, Kind::StandingQuery("{sha256}"), Absent("not asked"), &[],
        "what an API key may do, by its SHA-256 in hexadecimal digits, such as /api_keys?sha256=eq.{sha256}"),
    row("project_query", Group::State, Kind::StandingQuery("{project}"), Absent("not asked"), &[],
        "how a project is configured, such as /settings?project=eq.{project}"),
    row("permissions_role", Group::State, Kind::Identifier, Absent("the role of the connection"), &[],
        "role as which these three are asked"),
    row("permissions_schema", Group::State, Kind::Identifier, Absent("the first of db_schemas"), &[],
        "schema, of those in db_schemas, in which these three are asked"),
    row("permissions_ttl", Group::State, Kind::Duration(1_000, YEAR), Value("10m"), &[],
        "how long their answers are kept that do not change"),
    row("rate_limits", Group::State, Kind::RateRules, Absent("none"), &[],
        "how often who may ask, on all nodes together, such as ip=300/1m, user@pro:/rest/v1/rpc=100/1s"),
    row("rate_limit_tier_claim", Group::State, Kind::ClaimPath, Value(".role"), &[],
        "where a token names the tier of its bearer, for rules with @"),
    row("rate_limit_local_share", Group::State, Kind::Percent, Value("50%"), &[],
        "share of each limit that a node admits by itself while Redis does not answer"),
    row("trusted_proxies", Group::State, Kind::Networks, Absent("none"), &[],
        "networks of the proxies whose X-Forwarded-For says who asks"),

    row("request_deadline", Group::Limits, Kind::Duration(1, HOUR), Value("10s"), &[],
        "budget of one request, from its head to the end of its answer"),
    row("in_flight_max", Group::Limits, Kind::Count(1, 1_000_000), Value("4096"), &[],
        "most requests at the same time"),
    row("connections_max", Group::Limits, Kind::Count(1, 1_000_000), Value("16384"), &[],
        "most client connections at the same time"),
    row("body_bytes_max", Group::Limits, Kind::Bytes(0, GIB), Value("8MiB"), &[],
        "largest request body"),
    row("response_bytes_max", Group::Limits, Kind::Bytes(KIB, GIB), Value("64MiB"), &[],
        "largest response body taken from Postgres"),
    row("header_read_timeout", Group::Limits, Kind::Duration(1, HOUR), Value("75s"), &[],
        "longest wait for the head of a request on an open connection, idle time between requests included"),
    row("drain_timeout", Group::Limits, Kind::Duration(0, HOUR), Value("30s"), &[],
        "how long requests in flight may take to finish after SIGTERM"),
    row("drain_notice", Group::Limits, Kind::Duration(0, HOUR), Value("2s"), &[],
        "how long a node that got SIGTERM still accepts, not ready any more, so that its balancer notices"),

    row("log_level", Group::Process, Kind::Choice(&["error", "warn", "info", "debug", "trace"], &[]), Value("info"),
        &[Words("PGRST_LOG_LEVEL", &[("crit", "error")])], "least severe events that are logged"),
    row("log_format", Group::Process, Kind::Choice(&["text", "json"], &[]), Value("text"), &[],
        "how log lines are written to stderr"),
    row("workers", Group::Process, Kind::Count(1, 1_024), Absent("one per core"), &[],
        "threads that serve requests"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for setting in SETTINGS {
            if let Value(text) = setting.default {
                assert!(setting.kind.read(text).is_ok(), "{} = {text}", setting.name);
            }
        }
    }

    #[test]
    fn names_and_variables_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for variable in SETTINGS.iter().flat_map(Setting::variables) {
            assert!(seen.insert(variable.clone()), "{variable} twice");
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_its_groups() {
        let order: Vec<usize> =
            SETTINGS.iter().map(|s| Group::ALL.iter().position(|g| *g == s.group).expect("ALL is complete")).collect();
        assert!(order.is_sorted());
    }
}
