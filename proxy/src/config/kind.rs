//! Kinds of values: how each is written, read and bounded. A setting names its kind in the table.

use std::net::SocketAddr;
use std::time::Duration;

use super::{
    claim_path::ClaimPath,
    openapi::DescribedServer,
    rates::{self, Network, RateRule},
    standing::StandingQuery,
    units,
};

/// What a setting may hold. Bounds are part of the kind, so every error can name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// an IP address and a port
    Address,
    /// where the REST API is mounted
    MountPath,
    /// a name that is safe inside Redis keys
    Namespace,
    /// how to reach Postgres; holds a password
    PostgresUrl,
    /// how to reach Redis; holds a password
    RedisUrl,
    /// the name of something in the database
    Identifier,
    /// names of things in the database, separated by commas
    Identifiers,
    /// a function, perhaps with its schema: `check` or `auth.check`
    Function,
    /// what tokens are verified with: a text, a JWK, a JWK set, or the path of a file
    TokenSecret,
    /// what values at rest in Redis are sealed with, or the path of a file
    EncryptionKeys,
    /// what a program shows to be let in
    ServiceKey,
    /// a path into the claims of a token
    ClaimPath,
    /// how often who may ask: rules separated by commas
    RateRules,
    /// a read with this place for whom it is about
    StandingQuery(&'static str),
    /// networks, separated by commas
    Networks,
    /// where clients reach the API
    ServerUrl,
    /// any text but the empty one
    Text,
    /// a whole number between two bounds, both included
    Count(u64, u64),
    /// a power of two between two bounds, both included
    PowerOfTwo(u64, u64),
    /// a whole number of seconds up to a bound
    Seconds(u64),
    /// 0% to 100%
    Percent,
    /// one of so many, up to a bound; 0 is none at all
    Share(u64),
    /// a duration between two bounds in milliseconds, both included
    Duration(u64, u64),
    /// a size between two bounds in bytes, both included
    Bytes(u64, u64),
    /// one of the first list; words of the second are known, but come in a later version
    Choice(&'static [&'static str], &'static [&'static str]),
}

/// A value of some kind, read and within its bounds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Address(SocketAddr),
    Text(String),
    List(Vec<String>),
    ClaimPath(ClaimPath),
    RateRules(Vec<RateRule>),
    StandingQuery(StandingQuery),
    Networks(Vec<Network>),
    Postgres(Box<tokio_postgres::Config>),
    Number(u64),
    Duration(Duration),
}

/// Why a text is not a value of its kind: what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl Kind {
    /// The placeholder in `--help`.
    #[must_use]
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Address => "ADDR:PORT",
            Self::MountPath => "PATH",
            Self::Namespace | Self::Identifier | Self::Function => "NAME",
            Self::TokenSecret | Self::ServiceKey => "SECRET",
            Self::EncryptionKeys => "KEYS",
            Self::ClaimPath => "JSPATH",
            Self::Text => "TEXT",
            Self::RateRules => "RULES",
            Self::StandingQuery(_) => "READ",
            Self::Networks => "NETWORKS",
            Self::PostgresUrl | Self::RedisUrl | Self::ServerUrl => "URL",
            Self::Identifiers => "NAMES",
            Self::Count(..) | Self::PowerOfTwo(..) => "COUNT",
            Self::Seconds(_) => "SECONDS",
            Self::Percent => "PERCENT",
            Self::Share(_) => "SHARE",
            Self::Duration(..) => "DURATION",
            Self::Bytes(..) => "SIZE",
            Self::Choice(..) => "WORD",
        }
    }

    /// Whether values of this kind must not be shown to anybody.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::PostgresUrl | Self::RedisUrl | Self::TokenSecret | Self::ServiceKey | Self::EncryptionKeys)
    }

    /// Reads a text as a value of this kind.
    pub(super) fn read(self, text: &str) -> Result<Value, Unfit> {
        self.value(text).ok_or_else(|| self.unfit(text))
    }

    fn value(self, text: &str) -> Option<Value> {
        let number = || text.parse::<u64>().ok();
        let value = match self {
            Self::Address => Value::Address(text.parse().ok()?),
            Self::MountPath => Value::Text(mount_path(text)?),
            Self::Namespace => Value::Text(namespace(text)?),
            Self::PostgresUrl => Value::Postgres(Box::new(postgres(text)?)),
            Self::RedisUrl => Value::Text(redis(text)?),
            // What a secret must be depends on another setting, or on a file: `tokens::keys` and `encryption::keys` judge it.
            Self::Identifier | Self::Text | Self::TokenSecret | Self::EncryptionKeys => {
                Value::Text(Some(text).filter(|t| !t.is_empty())?.to_owned())
            }
            Self::RateRules => Value::RateRules(rates::rules(text)?),
            Self::StandingQuery(place) => Value::StandingQuery(StandingQuery::read(text, place)?),
            Self::Networks => Value::Networks(rates::networks(text)?),
            Self::ServiceKey => Value::Text(Some(text).filter(|t| is_service_key(t))?.to_owned()),
            Self::ServerUrl => Value::Text(DescribedServer::read(text).map(|_| text.to_owned())?),
            Self::Function => Value::List(function(text)?),
            Self::ClaimPath => Value::ClaimPath(text.parse().ok()?),
            Self::Identifiers => Value::List(identifiers(text)?),
            Self::Count(min, max) => Value::Number(number().filter(|n| (min..=max).contains(n))?),
            Self::PowerOfTwo(min, max) => {
                Value::Number(number().filter(|n| n.is_power_of_two() && (min..=max).contains(n))?)
            }
            Self::Seconds(max) => Value::Duration(Duration::from_secs(number().filter(|n| *n <= max)?)),
            Self::Percent => Value::Number(text.strip_suffix('%')?.trim().parse().ok().filter(|n| *n <= 100)?),
            Self::Share(max) => Value::Number(share(text).filter(|n| *n <= max)?),
            Self::Duration(min, max) => Value::Duration(
                units::duration(text)
                    .filter(|d| (Duration::from_millis(min)..=Duration::from_millis(max)).contains(d))?,
            ),
            Self::Bytes(min, max) => Value::Number(units::bytes(text).filter(|n| (min..=max).contains(n))?),
            Self::Choice(now, _) => Value::Text(now.iter().find(|word| **word == text)?.to_string()),
        };
        Some(value)
    }

    /// Only called for a text that [`Kind::value`] refused.
    fn unfit(self, text: &str) -> Unfit {
        // Part of a secret must not reach a log by way of an error.
        let quoted = if self.is_secret() { "the value".to_owned() } else { format!("{text:?}") };
        if self.wants_tls(text) {
            let problem = format!("{quoted} asks for TLS, which comes with a later version and is not there yet");
            return Unfit { problem, remedy: "connect over a private network or a local tunnel".to_owned() };
        }
        if let Self::Choice(now, later) = self
            && later.contains(&text)
        {
            let problem = format!("{quoted} comes with a later version and is not there yet");
            return Unfit { problem, remedy: format!("write {}", now.join(" or ")) };
        }
        let (what, remedy) = match self {
            Self::Address => ("an address and a port", "write for example 127.0.0.1:8000 or [::]:8000".to_owned()),
            Self::MountPath => ("a path", "write for example /rest/v1, or / for the root".to_owned()),
            Self::Namespace => ("a namespace", "write 1 to 64 letters, digits, dots, dashes or underscores".to_owned()),
            Self::PostgresUrl => {
                ("a Postgres URL", "write for example postgres://user:password@host:5432/database".to_owned())
            }
            Self::RedisUrl => (
                "a Redis URL",
                "write for example redis://host:6379, redis-sentinel://host:26379?sentinelServiceName=main \
                 or redis-cluster://host:7000"
                    .to_owned(),
            ),
            Self::Identifier => ("a name", "write the name of one thing in the database".to_owned()),
            Self::Identifiers => {
                ("a list of different names", "write names separated by commas, for example public, api".to_owned())
            }
            Self::Function => ("a function", "write for example check_request or auth.check_request".to_owned()),
            Self::EncryptionKeys => ("a list of keys", "write keys of 32 bytes in Base64".to_owned()),
            Self::TokenSecret => ("a secret", "write at least 32 characters".to_owned()),
            Self::RateRules => (
                "a list of rules",
                "write for example ip=300/1m, user@pro:/rest/v1/rpc=100/1s: ip, user, key or all, perhaps a tier and a \
                 path, and how many in which time"
                    .to_owned(),
            ),
            Self::StandingQuery(place) => (
                "a read about one",
                format!("write for example /table?column=eq.{place}&select=name or /rpc/function?argument={place}"),
            ),
            Self::Networks => ("a list of networks", "write for example 10.0.0.0/8, fd00::/8".to_owned()),
            Self::ServiceKey => ("a key", "write at least 32 visible ASCII characters".to_owned()),
            Self::ClaimPath => (
                "a path into claims",
                "write for example .role, .app.roles[0] or .\"https://example.org/role\"".to_owned(),
            ),
            Self::ServerUrl => ("the URL of a server", "write for example https://example.org/api".to_owned()),
            Self::Text => ("a text", "write at least one character".to_owned()),
            Self::Count(min, max) => ("a count in bounds", format!("write a whole number from {min} to {max}")),
            Self::PowerOfTwo(min, max) => {
                ("a power of two in bounds", format!("write a power of two from {min} to {max}"))
            }
            Self::Seconds(max) => ("a number of seconds", format!("write a whole number from 0 to {max}")),
            Self::Percent => ("a percentage", "write 0% to 100%".to_owned()),
            Self::Share(max) => ("a share", format!("write 1 in N with N from 1 to {max}, or 0 for none")),
            Self::Duration(min, max) => duration_remedy(text, min, max),
            Self::Bytes(min, max) => bytes_remedy(text, min, max),
            Self::Choice(now, _) => ("one of the words known here", format!("write {}", now.join(" or "))),
        };
        Unfit { problem: format!("{quoted} is not {what}"), remedy }
    }

    /// Refused rather than ignored: fred without TLS would speak plain text to a `rediss://` server.
    fn wants_tls(self, text: &str) -> bool {
        match self {
            Self::RedisUrl => ["rediss", "valkeys"].iter().any(|scheme| text.starts_with(scheme)),
            Self::PostgresUrl => text
                .parse::<tokio_postgres::Config>()
                .is_ok_and(|config| config.get_ssl_mode() == tokio_postgres::config::SslMode::Require),
            _ => false,
        }
    }
}

fn duration_remedy(text: &str, min: u64, max: u64) -> (&'static str, String) {
    if units::duration(text).is_none() {
        return ("a duration", "write for example 500ms, 1s or 5m".to_owned());
    }
    let show = |millis| units::show_duration(Duration::from_millis(millis));
    ("within its bounds", format!("write a duration from {} to {}", show(min), show(max)))
}

fn bytes_remedy(text: &str, min: u64, max: u64) -> (&'static str, String) {
    if units::bytes(text).is_none() {
        return ("a size", "write for example 64KiB, 256MiB or 1GiB".to_owned());
    }
    ("within its bounds", format!("write a size from {} to {}", units::show_bytes(min), units::show_bytes(max)))
}

/// `1 in 1000` is 1000, `1` is every one, `0` is none.
fn share(text: &str) -> Option<u64> {
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        ["0"] => Some(0),
        ["1"] => Some(1),
        ["1", "in", of] => of.parse().ok().filter(|of| *of > 0),
        _ => None,
    }
}

/// The mount path without its final slash, so the root is the empty text and joining is plain concatenation.
fn mount_path(text: &str) -> Option<String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let sound = path.split('/').skip(1).all(|segment| !segment.is_empty() && segment.bytes().all(is_segment_byte));
    (text.starts_with('/') && sound).then(|| path.to_owned())
}

fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// It travels in a header, and must not be guessed.
fn is_service_key(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Braces would end the hash tag of Redis Cluster, and a namespace is part of every key: hence short and plain.
fn namespace(text: &str) -> Option<String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    (plain && (1..=64).contains(&text.len())).then(|| text.to_owned())
}

fn postgres(text: &str) -> Option<tokio_postgres::Config> {
    let config: tokio_postgres::Config = text.parse().ok()?;
    if config.get_ssl_mode() == tokio_postgres::config::SslMode::Require {
        return None;
    }
    // Without a host the driver would fail at the first connection, which is later than it need be.
    (!config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty()).then_some(config)
}

/// fred takes any unknown scheme for a plain server, so a typo would surface as a failing connection.
fn redis(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let (base, topology) = scheme.split_once('-').unwrap_or((scheme, ""));
    let known = matches!(base, "redis" | "valkey") && matches!(topology, "" | "sentinel" | "cluster");
    (known && fred::types::config::Config::from_url(text).is_ok()).then(|| text.to_owned())
}

/// The function's name, after that of its schema if one is given.
fn function(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.split('.').map(str::to_owned).collect();
    (names.len() <= 2 && names.iter().all(|name| !name.is_empty())).then_some(names)
}

fn identifiers(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let different = names.iter().enumerate().all(|(i, name)| !name.is_empty() && !names[..i].contains(name));
    different.then_some(names)
}
