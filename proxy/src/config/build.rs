//! From settings as written to settings as used: every value is read by its kind, then values are checked against
//! each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::api::{Api, Permission, TransactionEnd};
use super::app_settings;
use super::claim_path::ClaimPath;
use super::encryption::{self, EncryptionKey};
use super::kind::{Unfit, Value};
use super::openapi::{Described, DescribedServer, OpenApi, Security};
use super::problem::{ConfigError, ConfigErrors};
use super::rates::{Network, RateRule, Rates};
use super::settings::{Preset, SETTINGS, Setting, setting};
use super::standing::StandingQuery;
use super::tables::{self, TablePolicy};
use super::tokens::{self, Encoding, TokenKey, Tokens};
use super::written::{Source, Written};
use super::{
    Audit, Cache, Coherence, Collapse, Config, Database, Feed, Limits, Listeners, Logs, Permissions, Redis, Secret,
    Sessions, State, Stored, view,
};
use crate::telemetry::logs::Format;

/// Builds the settings as used, or says everything that is wrong.
pub(super) fn build(written: &Written) -> Result<Config, ConfigErrors> {
    let (values, mut errors) = read_all(written);
    let general = values.as_ref().map(Values::general_policy);
    // Sections are checked even if something else is wrong already, against any policy: one restart is enough.
    let fallback = TablePolicy {
        cache: true,
        ttl: Duration::ZERO,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        absent_filter: false,
    };
    let tables = tables::policies(&written.tables, general.unwrap_or(fallback), &mut errors);
    let Some(values) = values else {
        return Err(ConfigErrors(errors));
    };
    let keys = token_keys(&values, written).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    let encryption = encryption_keys(&values, written).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    let mut config = assemble(&values, keys, encryption, tables, written);
    let connection = &mut config.database.connection;
    if let Some(options) = app_settings::options(&written.app_settings, connection.get_options(), &mut errors) {
        connection.options(options);
    }
    cross_check(&config, written, &mut errors);
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
}

fn assemble(
    v: &Values,
    keys: Vec<TokenKey>,
    encryption: Vec<EncryptionKey>,
    tables: BTreeMap<(String, String), TablePolicy>,
    written: &Written,
) -> Config {
    Config {
        listeners: Listeners {
            listen: v.address("listen"),
            admin_listen: v.address("admin_listen"),
            rest_path: v.text("rest_path"),
            origins: v.optional_list("server_cors_allowed_origins"),
        },
        namespace: v.text("namespace"),
        database: Database {
            connection: v.postgres("database_url"),
            schemas: v.list("db_schemas"),
            anon_role: v.optional_text("db_anon_role"),
            extra_search_path: v.list("db_extra_search_path"),
            pre_request: v.optional_list("db_pre_request").unwrap_or_default(),
            channel: v.channel(),
            max_rows: v.optional_number("db_max_rows").and_then(NonZeroU64::new),
            api: Api {
                aggregates: Permission::of(&v.text("db_aggregates_enabled")),
                plans: Permission::of(&v.text("db_plan_enabled")),
                transaction_end: TransactionEnd::of(&v.text("db_tx_end")),
            },
            openapi: OpenApi {
                described: Described::of(&v.text("openapi_mode")),
                security: Security::of(&v.text("openapi_security_active")),
                server: v.optional_text("openapi_server_proxy_uri").and_then(|url| DescribedServer::read(&url)),
                root_function: v.optional_list("db_root_spec").unwrap_or_default(),
            },
            stored: v.stored(),
            pool_max: v.small("db_pool_max"),
            pool_wait_max: v.duration("db_pool_wait_max"),
            startup_retries: v.small("startup_retries"),
            startup_retry_wait: v.duration("startup_retry_wait"),
            slow_query: v.duration("slow_query"),
        },
        tokens: Tokens {
            keys,
            audience: v.optional_text("jwt_aud"),
            role_claim: v.claim_path("jwt_role_claim_key"),
            user_claim: v.optional_claim_path("jwt_user_claim"),
        },
        redis: v.optional_text("redis_url").map(|url| Redis {
            url: Secret::new(url),
            timeout: v.duration("redis_timeout"),
            keys: encryption,
        }),
        cache: Cache {
            policy: v.general_policy(),
            ttl_jitter_percent: v.small("ttl_jitter"),
            l1_bytes_max: v.number("l1_bytes_max"),
            entry_bytes_max: v.number("entry_bytes_max"),
            tables,
        },
        coherence: Coherence {
            max_staleness: v.duration("max_staleness"),
            slots: v.small("coherence_slots"),
            feed: v.feed("feed"),
        },
        collapse: Collapse {
            leader_max: v.duration("collapse_leader_max"),
            wait_max: v.duration("collapse_wait_max"),
            fill_lease_for: v.duration("fill_lease_for"),
        },
        audit: Audit { one_in: v.small("audit_share"), per_second_max: v.small("audit_rate_max") },
        state: State {
            path: v.text("state_path"),
            service_key: v.optional_text("state_service_key").map(Secret::new),
            roles: v.optional_list("state_roles"),
            events_kept: v.small("events_kept"),
            events_kept_for: v.duration("events_kept_for"),
            presence_ttl: v.duration("presence_ttl"),
            event_streams_max: v.size("event_streams_max"),
            distinct_window: v.duration("distinct_window"),
            permissions: Permissions {
                users: v.standing("permissions_query"),
                api_keys: v.standing("api_key_query"),
                projects: v.standing("project_query"),
                role: v.optional_text("permissions_role"),
                schema: v.optional_text("permissions_schema"),
                kept_for: v.duration("permissions_ttl"),
            },
            sessions: Sessions {
                idle: v.duration("session_idle"),
                lifetime: v.duration("session_lifetime"),
                cached_for: v.duration("session_cached_for"),
                l1_bytes_max: v.number("session_l1_bytes_max"),
                per_user_max: v.small("sessions_per_user_max"),
            },
        },
        rates: Rates {
            rules: v.rate_rules("rate_limits"),
            local_share_percent: v.small("rate_limit_local_share"),
            tier_claim: v.claim_path("rate_limit_tier_claim"),
            trusted_proxies: v.networks("trusted_proxies"),
        },
        limits: Limits {
            request_deadline: v.duration("request_deadline"),
            in_flight_max: v.size("in_flight_max"),
            connections_max: v.size("connections_max"),
            body_bytes_max: v.size("body_bytes_max"),
            response_bytes_max: v.size("response_bytes_max"),
            header_read_timeout: v.duration("header_read_timeout"),
            drain_timeout: v.duration("drain_timeout"),
            drain_notice: v.duration("drain_notice"),
        },
        logs: Logs { level: v.level("log_level"), format: v.format("log_format") },
        workers: v.optional_number("workers").map_or_else(cores, |n| usize::try_from(n).unwrap_or(1)),
        view: view::view(written),
        written: written.clone(),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The keys in `jwt_secret`; none if it is not set.
fn token_keys(v: &Values, written: &Written) -> Result<Vec<TokenKey>, ConfigError> {
    let Some(secret) = v.optional_text("jwt_secret") else { return Ok(Vec::new()) };
    tokens::keys(&secret, v.encoding("jwt_secret_is_base64")).map_err(|unfit| refused("jwt_secret", unfit, written))
}

/// The keys in `redis_encryption_keys`; none if it is not set.
fn encryption_keys(v: &Values, written: &Written) -> Result<Vec<EncryptionKey>, ConfigError> {
    let Some(text) = v.optional_text("redis_encryption_keys") else { return Ok(Vec::new()) };
    encryption::keys(&text).map_err(|unfit| refused("redis_encryption_keys", unfit, written))
}

fn refused(name: &str, unfit: Unfit, written: &Written) -> ConfigError {
    let source = setting(name).and_then(|s| written.entry(s)).map(|entry| entry.source.clone());
    ConfigError::Setting {
        setting: name.to_owned(),
        source_of: source.unwrap_or(Source::Default),
        problem: unfit.problem,
        remedy: unfit.remedy,
    }
}

/// Rules about several settings at once.
fn cross_check(config: &Config, written: &Written, errors: &mut Vec<ConfigError>) {
    let mut refuse = |name: &'static str, problem: String, remedy: &str| {
        let source = setting(name).and_then(|s| written.entry(s)).map_or(Source::Default, |e| e.source.clone());
        let remedy = remedy.to_owned();
        errors.push(ConfigError::Setting { setting: name.to_owned(), source_of: source, problem, remedy });
    };
    let Listeners { listen, admin_listen, .. } = config.listeners;
    // Port 0 asks the system for a free port, so two of them never collide.
    if listen == admin_listen && listen.port() != 0 {
        refuse("admin_listen", format!("{admin_listen} is already `listen`"), "choose another port for one of them");
    }
    let (state_path, rest_path) = (&config.state.path, &config.listeners.rest_path);
    if state_path.is_empty() || rest_path == state_path || rest_path.starts_with(&format!("{state_path}/")) {
        let problem = format!("\"{state_path}/\" would hide what is below `rest_path`");
        refuse("state_path", problem, "choose a path that is not the root, and does not hold `rest_path`");
    }
    if config.database.schemas.iter().any(|schema| schema == "transom") {
        let problem = "the schema transom holds what nodes keep for themselves: sessions, locks, the feed".to_owned();
        refuse("db_schemas", problem, "serve other schemas");
    }
    if let Some(schema) = &config.state.permissions.schema
        && !config.database.schemas.contains(schema)
    {
        let problem = format!("\"{schema}\" is not one of `db_schemas`");
        refuse("permissions_schema", problem, "write one of them, or add it there and grant it to nobody else");
    }
    if config.cache.entry_bytes_max > config.cache.entries_bytes_max() {
        let problem = "one entry could be larger than what L1 has for all entries".to_owned();
        refuse("entry_bytes_max", problem, "write at most half of `l1_bytes_max`, or raise that");
    }
    if u64::try_from(config.limits.response_bytes_max).is_ok_and(|max| max < config.cache.entry_bytes_max) {
        let problem = "a response that large is refused before it could be stored".to_owned();
        refuse("entry_bytes_max", problem, "write at most what `response_bytes_max` says, or raise that");
    }
    if config.database.pool_wait_max > config.limits.request_deadline {
        let problem = "the request would be over before the wait is".to_owned();
        refuse("db_pool_wait_max", problem, "write at most what `request_deadline` says, or raise that");
    }
    if config.collapse.wait_max > config.limits.request_deadline {
        let problem = "the request would be over before the wait is".to_owned();
        refuse("collapse_wait_max", problem, "write at most what `request_deadline` says, or raise that");
    }
}

/// Reads every setting; the values are `None` if a single one is unfit.
fn read_all(written: &Written) -> (Option<Values>, Vec<ConfigError>) {
    let mut values = BTreeMap::new();
    let mut errors = Vec::new();
    for setting in SETTINGS {
        match read(setting, written) {
            Ok(Some(value)) => drop(values.insert(setting.name, value)),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    (errors.is_empty().then_some(Values(values)), errors)
}

fn read(setting: &'static Setting, written: &Written) -> Result<Option<Value>, ConfigError> {
    let (text, source) = match (written.entry(setting), setting.default) {
        (Some(entry), _) => (entry.text.as_str(), entry.source.clone()),
        (None, Preset::Value(text)) => (text, Source::Default),
        (None, Preset::Absent(_)) => return Ok(None),
        (None, Preset::Required) => {
            let variables = setting.variables().join(" or ");
            let remedy = format!("set the environment variable {variables}, or --{}", setting.flag());
            return Err(ConfigError::Missing { setting: setting.name, remedy });
        }
    };
    setting.kind.read(text).map(Some).map_err(|unfit| ConfigError::Setting {
        setting: setting.name.to_owned(),
        source_of: source,
        problem: unfit.problem,
        remedy: unfit.remedy,
    })
}

/// Every setting by name. That a name has the kind asked for is our own invariant; building any `Config` proves it
/// for all of them.
struct Values(BTreeMap<&'static str, Value>);

impl Values {
    fn general_policy(&self) -> TablePolicy {
        TablePolicy {
            cache: true,
            ttl: self.duration("cache_ttl_seconds"),
            stale_while_revalidate: self.duration("stale_while_revalidate"),
            stale_if_error: self.duration("stale_if_error"),
            absent_filter: false,
        }
    }

    fn address(&self, name: &str) -> SocketAddr {
        match self.0.get(name) {
            Some(Value::Address(address)) => *address,
            _ => unreachable!("`{name}` is an address in the table"),
        }
    }

    fn optional_text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text.clone()),
            _ => unreachable!("`{name}` is a text in the table"),
        }
    }

    fn text(&self, name: &str) -> String {
        self.optional_text(name).expect("the table gives it a default")
    }

    fn optional_list(&self, name: &str) -> Option<Vec<String>> {
        match self.0.get(name)? {
            Value::List(list) => Some(list.clone()),
            _ => unreachable!("`{name}` is a list in the table"),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.optional_list(name).expect("the table gives it a default")
    }

    fn rate_rules(&self, name: &str) -> Vec<RateRule> {
        match self.0.get(name) {
            None => Vec::new(),
            Some(Value::RateRules(rules)) => rules.clone(),
            _ => unreachable!("`{name}` holds rules in the table"),
        }
    }

    fn networks(&self, name: &str) -> Vec<Network> {
        match self.0.get(name) {
            None => Vec::new(),
            Some(Value::Networks(networks)) => networks.clone(),
            _ => unreachable!("`{name}` holds networks in the table"),
        }
    }

    fn standing(&self, name: &str) -> Option<StandingQuery> {
        match self.0.get(name)? {
            Value::StandingQuery(query) => Some(query.clone()),
            _ => unreachable!("`{name}` holds a read in the table"),
        }
    }

    fn claim_path(&self, name: &str) -> ClaimPath {
        self.optional_claim_path(name).unwrap_or_else(|| unreachable!("`{name}` has a default in the table"))
    }

    fn optional_claim_path(&self, name: &str) -> Option<ClaimPath> {
        match self.0.get(name)? {
            Value::ClaimPath(path) => Some(path.clone()),
            _ => unreachable!("`{name}` is a claim path in the table"),
        }
    }

    fn channel(&self) -> Option<String> {
        (self.text("db_channel_enabled") == "true").then(|| self.text("db_channel"))
    }

    fn stored(&self) -> Stored {
        match &*self.text("db_config") {
            "true" => Stored::Read { pre_config: self.optional_list("db_pre_config").unwrap_or_default() },
            _ => Stored::Ignored,
        }
    }

    fn encoding(&self, name: &str) -> Encoding {
        if self.text(name) == "true" { Encoding::Base64 } else { Encoding::Plain }
    }

    fn postgres(&self, name: &str) -> tokio_postgres::Config {
        match self.0.get(name) {
            Some(Value::Postgres(config)) => (**config).clone(),
            _ => unreachable!("`{name}` is a Postgres URL in the table"),
        }
    }

    fn duration(&self, name: &str) -> Duration {
        match self.0.get(name) {
            Some(Value::Duration(duration)) => *duration,
            _ => unreachable!("`{name}` is a duration in the table"),
        }
    }

    fn optional_number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Number(number) => Some(*number),
            _ => unreachable!("`{name}` is a number in the table"),
        }
    }

    fn number(&self, name: &str) -> u64 {
        self.optional_number(name).expect("the table gives it a default")
    }

    fn small(&self, name: &str) -> u32 {
        u32::try_from(self.number(name)).expect("the bounds in the table fit")
    }

    /// A number in memory terms. Saturates where addresses are narrower than 64 bits: nothing is larger there.
    fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    fn level(&self, name: &str) -> LevelFilter {
        self.text(name).parse().expect("the words in the table are levels")
    }

    fn feed(&self, name: &str) -> Feed {
        match self.optional_text(name).as_deref() {
            None => Feed::IfAble,
            Some("logical") => Feed::Logical,
            Some("trigger") => Feed::Trigger,
            Some(_) => Feed::None,
        }
    }

    fn format(&self, name: &str) -> Format {
        if self.text(name) == "json" { Format::Json } else { Format::Text }
    }
}
