//! Settings, in two types: as written (texts with their sources, in layers) and as used ([`Config`]: read, bounded and
//! checked against each other). One table, [`SETTINGS`], drives flags, environment, TOML, help, README and `/config`.

mod build;
mod api;
mod in_database;
mod environment;
mod postgrest;
mod file;
mod app_settings;
mod tables;
mod tokens;
mod encryption;
mod claim_path;
mod markdown;
mod view;
mod problem;
mod rates;
mod standing;
mod written;
mod settings;
mod kind;
mod openapi;
mod suggest;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

pub use self::api::{Api, Ending, Permission, TransactionEnd};
pub use self::claim_path::{ClaimPath, Step};
pub use self::encryption::EncryptionKey;
pub use self::in_database::{NAMES as STORED_NAMES, PREFIX as STORED_PREFIX};
pub use self::kind::Kind;
pub use self::markdown::settings_markdown;
pub use self::openapi::{Described, DescribedServer, OpenApi, Security};
pub use self::problem::{ConfigError, ConfigErrors};
pub use self::rates::{Network, RateRule, RateScope, Rates};
pub use self::settings::{Alias, Group, Preset, SETTINGS, Setting, setting};
pub use self::standing::{Permissions, StandingQuery};
pub use self::tables::TablePolicy;
pub use self::tokens::{TokenKey, Tokens, VerifyingKey};
pub use self::view::{Shown, View};
pub use self::written::Source;
use self::written::Written;
use crate::telemetry::logs::Format;

/// The settings of one node, as used: every value is valid, and valid beside the others.
#[derive(Debug, Clone)]
pub struct Config {
    /// where it listens
    pub listeners: Listeners,
    /// which nodes it shares L2 and coherence with
    pub namespace: String,
    /// Postgres
    pub database: Database,
    /// how tokens are verified
    pub tokens: Tokens,
    /// Redis; `None` means L1 only
    pub redis: Option<Redis>,
    /// the two tiers
    pub cache: Cache,
    /// how fresh entries are
    pub coherence: Coherence,
    /// patience with fills
    pub collapse: Collapse,
    /// how its own hits are checked
    pub audit: Audit,
    /// what services share
    pub state: State,
    /// how often who may ask
    pub rates: Rates,
    /// what it refuses to exceed
    pub limits: Limits,
    /// logs
    pub logs: Logs,
    /// threads that serve requests, at least 1
    pub workers: usize,
    /// all settings with their sources, secrets redacted: what `/config` shows
    pub view: View,
    /// what they were made of
    written: Written,
}

/// Where a node listens. Port 0 asks the system for a free port.
#[derive(Debug, Clone)]
pub struct Listeners {
    /// for services
    pub listen: SocketAddr,
    /// for operators and health checks
    pub admin_listen: SocketAddr,
    /// prefix of the REST API without a final slash; empty at the root
    pub rest_path: String,
    /// the origins whose pages may ask; `None`: all
    pub origins: Option<Vec<String>>,
}

/// How a node uses Postgres.
#[derive(Debug, Clone)]
pub struct Database {
    /// hosts, user, password, database
    pub connection: tokio_postgres::Config,
    /// schemas that are served, at least one; the first is the default
    pub schemas: Vec<String>,
    /// role of a request that does not say who it is; `None` means the role of the connection
    pub anon_role: Option<String>,
    /// schemas added to the search path
    pub extra_search_path: Vec<String>,
    /// most rows in one response; `None` means no limit
    pub max_rows: Option<NonZeroU64>,
    /// the function that is called first in every transaction, with or without its schema; empty means none
    pub pre_request: Vec<String>,
    /// the channel whose notifications make the node read the schema again; `None`: it does not listen
    pub channel: Option<String>,
    /// what requests may ask for beyond the rows
    pub api: Api,
    /// what is said of the API at its root
    pub openapi: OpenApi,
    /// whether the database has settings too
    pub stored: Stored,
    /// most connections, at least 1
    pub pool_max: u32,
    /// longest wait for one of them
    pub pool_wait_max: Duration,
    /// how often to try again at startup
    pub startup_retries: u32,
    /// pause before each of these tries
    pub startup_retry_wait: Duration,
    /// queries that take longer are logged and counted
    pub slow_query: Duration,
}

/// Whether settings in the database count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// they do
    Read {
        /// the function that makes some, with or without its schema; empty means none
        pre_config: Vec<String>,
    },
    /// they do not
    Ignored,
}

/// How a node uses Redis.
#[derive(Debug, Clone)]
pub struct Redis {
    /// standalone, Sentinel or Cluster URL, in the form that fred reads
    pub url: Secret,
    /// longest wait for one command
    pub timeout: Duration,
    /// what values at rest are sealed with, the first one for new values; none: they are stored as they are
    pub keys: Vec<EncryptionKey>,
}

/// What the tiers store, and for how long.
#[derive(Debug, Clone)]
pub struct Cache {
    /// what holds for tables without their own policy
    pub policy: TablePolicy,
    /// share of a lifetime that is random, 0 to 100
    pub ttl_jitter_percent: u32,
    /// memory for L1: entries, the index of questions and lanes
    pub l1_bytes_max: u64,
    /// largest entry that is stored, in either tier; never more than there is for all of them
    pub entry_bytes_max: u64,
    /// policies of single tables and views, by schema and name
    pub tables: BTreeMap<(String, String), TablePolicy>,
}

/// Of so many bytes of L1, one is for the index of questions, and one for lanes.
const SHARE: u64 = 8;
/// Of so many bytes, one is what the allocator keeps back without anything in it.
const UNUSED_ONE_IN: u64 = 16;
/// The index of questions has so many bytes at least: where little fits into L1, it saves planning what L2 answers.
const QUESTIONS_BYTES_MIN: u64 = 16 << 20;

impl Cache {
    /// Memory for entries in L1: what the others leave, and half in any case.
    #[must_use]
    pub fn entries_bytes_max(&self) -> u64 {
        let unused = self.l1_bytes_max / UNUSED_ONE_IN;
        let left = self.l1_bytes_max.saturating_sub(self.questions_bytes_max() + self.lanes_bytes_max() + unused);
        left.max(self.l1_bytes_max / 2)
    }

    /// Memory for the index of questions.
    #[must_use]
    pub fn questions_bytes_max(&self) -> u64 {
        (self.l1_bytes_max / SHARE).max(QUESTIONS_BYTES_MIN)
    }

    /// Memory for all lanes.
    #[must_use]
    pub fn lanes_bytes_max(&self) -> u64 {
        self.l1_bytes_max / SHARE
    }
}

impl Cache {
    /// The policy of a table or view. Allocates: meant for loading the schema, not for each request.
    #[must_use]
    pub fn policy_of(&self, schema: &str, table: &str) -> TablePolicy {
        self.tables.get(&(schema.to_owned(), table.to_owned())).copied().unwrap_or(self.policy)
    }
}

/// How fresh entries are.
#[derive(Debug, Clone)]
pub struct Coherence {
    /// bound on staleness when coherence cannot be proven
    pub max_staleness: Duration,
    /// slots of the coherence table; a power of two
    pub slots: u32,
    /// how changes made past the proxy are noticed
    pub feed: Feed,
}

/// How changes made past the proxy are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// by logical replication if the role may, else by triggers if they are installed, else not at all
    IfAble,
    /// by logical replication
    Logical,
    /// by what triggers record
    Trigger,
    /// not at all: only writes through the proxy and purges invalidate, and lifetimes bound the rest
    None,
}

/// Patience with fills of the same key.
#[derive(Debug, Clone)]
pub struct Collapse {
    /// age of a fill after which a second one may start
    pub leader_max: Duration,
    /// longest wait for somebody else's fill
    pub wait_max: Duration,
    /// how long a fill keeps peers from filling the same key; zero: nodes do not ask each other
    pub fill_lease_for: Duration,
}

/// How a node checks its own hits.
#[derive(Debug, Clone, Copy)]
pub struct Audit {
    /// one fresh hit in so many is read again; 0: none
    pub one_in: u32,
    /// most reads per second, at least 1
    pub per_second_max: u32,
}

/// How services get at what they share.
#[derive(Debug, Clone)]
pub struct State {
    /// prefix of the paths, without a final slash; never the root
    pub path: String,
    /// the key by which services are known without a token
    pub service_key: Option<Secret>,
    /// the roles whose tokens are accepted; `None`: all but the anonymous one
    pub roles: Option<Vec<String>>,
    /// events of a channel that can be heard again, at least 1
    pub events_kept: u32,
    /// how long after the last one
    pub events_kept_for: Duration,
    /// how long a member stays that does not say so again
    pub presence_ttl: Duration,
    /// most streams of events at the same time
    pub event_streams_max: usize,
    /// how long different keys and users are counted together; zero: not at all
    pub distinct_window: Duration,
    /// what may be asked of whom
    pub permissions: Permissions,
    /// sessions
    pub sessions: Sessions,
}

/// What holds for sessions of users.
#[derive(Debug, Clone, Copy)]
pub struct Sessions {
    /// how long one lasts without activity, unless it says otherwise
    pub idle: Duration,
    /// how long one lasts at most, unless it says otherwise
    pub lifetime: Duration,
    /// how long copies are kept
    pub cached_for: Duration,
    /// memory for copies
    pub l1_bytes_max: u64,
    /// most of one user
    pub per_user_max: u32,
}

/// What a node refuses to exceed.
#[derive(Debug, Clone)]
pub struct Limits {
    /// budget of one request
    pub request_deadline: Duration,
    /// most requests at the same time
    pub in_flight_max: usize,
    /// most client connections at the same time
    pub connections_max: usize,
    /// largest request body
    pub body_bytes_max: usize,
    /// largest response body taken from Postgres
    pub response_bytes_max: usize,
    /// longest wait for the head of a request
    pub header_read_timeout: Duration,
    /// how long requests in flight may take to finish after SIGTERM
    pub drain_timeout: Duration,
    /// how long a draining node still accepts before that, so that its balancer notices
    pub drain_notice: Duration,
}

/// How a node logs.
#[derive(Debug, Clone)]
pub struct Logs {
    /// least severe events that are logged
    pub level: LevelFilter,
    /// how lines are written
    pub format: Format,
}

/// A text that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Everything that settings are read from. Collected by the caller, so that reading them is a pure function.
#[derive(Debug, Default)]
pub struct Inputs {
    /// the TOML file and its text, if one was named
    pub file: Option<(PathBuf, String)>,
    /// the environment
    pub environment: BTreeMap<String, String>,
    /// flags that were given, by the name of the setting
    pub flags: BTreeMap<&'static str, String>,
    /// what the command itself insists on, by the name of the setting
    pub command: BTreeMap<&'static str, String>,
}

/// Settings as used, and oddities that somebody should hear about.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// the settings
    pub config: Config,
    /// one sentence each
    pub warnings: Vec<String>,
}

impl Config {
    /// Lays file, environment, flags and the command's own values over the defaults, weakest first. A `jwt_secret` that
    /// names a file is read from there.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first thing.
    pub fn load(inputs: &Inputs) -> Result<Loaded, ConfigErrors> {
        let mut written = Written::default();
        let mut errors = Vec::new();
        if let Some((path, text)) = &inputs.file {
            errors.extend(file::lay(&mut written, path, text));
        }
        environment::lay(&mut written, &inputs.environment);
        for setting in SETTINGS {
            if let Some(text) = inputs.flags.get(setting.name) {
                written.cover(setting, text, Source::Flag(setting.flag()));
            }
            if let Some(text) = inputs.command.get(setting.name) {
                written.cover(setting, text, Source::Command);
            }
        }
        match build::build(&written) {
            Ok(config) if errors.is_empty() => Ok(Loaded { config, warnings: written.warnings }),
            Ok(_) => Err(ConfigErrors(errors)),
            Err(more) => {
                errors.extend(more.0);
                Err(ConfigErrors(errors))
            }
        }
    }

    /// The same with what the database says of settings, by the names of [`STORED_NAMES`], laid over.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn with_stored(&self, said: &BTreeMap<String, String>) -> Result<Loaded, ConfigErrors> {
        let mut written = self.written.clone();
        // They were told before.
        written.warnings.clear();
        in_database::lay(&mut written, said);
        let config = build::build(&written)?;
        Ok(Loaded { config, warnings: written.warnings })
    }

    /// Defaults, except for the settings named here: for tests and for programs that embed a node.
    ///
    /// # Errors
    /// As [`Config::load`]; a name that is no setting is an error too.
    pub fn from_settings<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ConfigErrors> {
        let mut inputs = Inputs::default();
        for (name, text) in pairs {
            let setting = setting(name).ok_or_else(|| ConfigError::Setting {
                setting: name.to_owned(),
                source_of: Source::Command,
                problem: "there is no such setting".to_owned(),
                remedy: "name one of the table".to_owned(),
            })?;
            inputs.command.insert(setting.name, text.to_owned());
        }
        Self::load(&inputs).map(|loaded| loaded.config)
    }

    /// The variable that names the TOML file.
    pub const FILE_VARIABLE: &'static str = environment::CONFIG_VARIABLE;
}

#[cfg(test)]
mod tests;
