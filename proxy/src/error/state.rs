//! Why a request for shared state is refused.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Problem, own};

/// Why a request for shared state is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateRefusal {
    /// neither a token for a role nor the key of the services
    #[error("shared state is for whoever shows a token or the service key")]
    Unauthorized,
    /// a token for a role that may not
    #[error("the role {role:?} may not use shared state")]
    Forbidden {
        /// the role in the token
        role: String,
    },
    /// there is nothing under this path
    #[error("no such operation")]
    NoSuchOperation,
    /// there is, but for other methods
    #[error("that method is not known here")]
    Method {
        /// those that are
        allowed: &'static [Method],
    },
    /// the request does not say what it must
    #[error("the request cannot be understood: {details}")]
    Invalid {
        /// what is wrong
        details: String,
    },
    /// somebody else has the lock
    #[error("the lock is held for another {remaining:?} unless it is renewed")]
    LockHeld {
        /// until it expires
        remaining: Duration,
    },
    /// whoever asks does not have the lock
    #[error("the lock is not this owner's: it expired, was released, or never was")]
    LockLost,
    /// whoever asks did so too often
    #[error("the limit is reached; in {retry_after:?} there may be room")]
    RateLimited {
        /// before that there is none
        retry_after: Duration,
        /// how it stands with the limits
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// too many streams at the same time
    #[error("more than {streams_max} streams")]
    TooManyStreams {
        /// the limit
        streams_max: usize,
    },
    /// a WebSocket of another version
    #[error("only version 13 of WebSocket is spoken here")]
    WebSocketVersion,
    /// there is nothing of this name
    #[error("{details}")]
    NotThere {
        /// what is not there
        details: String,
    },
    /// there is something of this name that is made for something else
    #[error("{details}")]
    Differs {
        /// for what
        details: String,
    },
    /// there is no session with this token, or not any more
    #[error("there is no session with this token: it expired, was revoked, or never was")]
    SessionUnknown,
    /// whoever is to have a session is banned
    #[error("the user is banned until `unbanned` is called")]
    Banned,
    /// there is no such API key
    #[error("there is no API key with this hash")]
    KeyUnknown,
    /// nobody said how that is asked
    #[error("the setting {setting} is not set")]
    Unset {
        /// where it would be said
        setting: &'static str,
    },
    /// what an operator wrote cannot be asked of the database
    #[error("the read in {setting} failed: {reason}")]
    Unanswerable {
        /// where it is written
        setting: &'static str,
        /// what the planner or Postgres says
        reason: String,
    },
    /// what is asked for lives in Redis, and there is none
    #[error("no redis_url is set")]
    NoRedis,
    /// what is asked for lives in Redis, which does not answer
    #[error("{reason}")]
    RedisAway {
        /// what is known
        reason: String,
    },
    /// what is asked for lives in tables that are not there
    #[error("{reason}")]
    NotInstalled {
        /// what Postgres says
        reason: String,
    },
}

impl StateRefusal {
    /// When to come back, for what goes away by itself.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::LockHeld { remaining } => Some(*remaining),
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            Self::TooManyStreams { .. } | Self::RedisAway { .. } => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The reason in one word, for logs.
    pub(super) fn detail(&self) -> &'static str {
        match self {
            Self::Unauthorized | Self::Forbidden { .. } => "token-refused",
            Self::NoSuchOperation | Self::Method { .. } | Self::Invalid { .. } => "refused",
            Self::LockHeld { .. } => "lock-held",
            Self::LockLost => "lock-lost",
            Self::RateLimited { .. } => "rate-limited",
            Self::TooManyStreams { .. } => "overloaded",
            Self::WebSocketVersion | Self::NotThere { .. } | Self::Differs { .. } => "refused",
            Self::NoRedis | Self::RedisAway { .. } => "redis-unreachable",
            Self::SessionUnknown => "session-unknown",
            Self::Banned => "banned",
            Self::KeyUnknown => "key-unknown",
            Self::Unset { .. } => "not-set",
            Self::Unanswerable { .. } => "unanswerable",
            Self::NotInstalled { .. } => "not-installed",
        }
    }

    /// The error as a client sees it.
    pub(super) fn problem(&self) -> Problem {
        let details = Some(self.to_string());
        match self {
            Self::Unauthorized => {
                let hint = "send a bearer token whose role is not the anonymous one, or Transom-Service-Key";
                own(StatusCode::UNAUTHORIZED, "TRANSOM20", "Who asks is not known", details, Some(hint))
            }
            Self::Forbidden { .. } => {
                let hint = "the roles that may are the setting state_roles";
                own(StatusCode::FORBIDDEN, "TRANSOM21", "This role may not use shared state", details, Some(hint))
            }
            Self::NoSuchOperation => {
                let hint = "what there is says the description at the root of state_path";
                own(StatusCode::NOT_FOUND, "TRANSOM22", "Nothing is served under this path", None, Some(hint))
            }
            Self::Method { allowed } => {
                let mut problem = own(StatusCode::METHOD_NOT_ALLOWED, "TRANSOM22", "Method not allowed", details, None);
                // RFC 9110, section 15.5.6
                let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
                problem.headers.extend(HeaderValue::try_from(names.join(", ")).map(|value| (header::ALLOW, value)));
                problem
            }
            Self::Invalid { .. } => {
                let hint = "what is expected says the description at the root of state_path";
                own(StatusCode::BAD_REQUEST, "TRANSOM23", "The request cannot be understood", details, Some(hint))
            }
            Self::LockHeld { .. } => {
                let hint = "try again, or wait with wait_ms";
                own(StatusCode::CONFLICT, "TRANSOM24", "Somebody else has the lock", details, Some(hint))
            }
            Self::LockLost => {
                let hint = "acquire it again, and go on with the new fence";
                own(StatusCode::CONFLICT, "TRANSOM25", "The lock is not held by this owner", details, Some(hint))
            }
            Self::RateLimited { headers, .. } => {
                let hint = "slow down; RateLimit-Policy says how often is allowed";
                let status = StatusCode::TOO_MANY_REQUESTS;
                let problem = own(status, "TRANSOM28", "Too many requests", details, Some(hint));
                Problem { headers: headers.clone(), ..problem }
            }
            Self::TooManyStreams { .. } => {
                let hint = "the limit is the setting event_streams_max";
                own(StatusCode::SERVICE_UNAVAILABLE, "TRANSOM29", "Too many streams", details, Some(hint))
            }
            Self::WebSocketVersion => {
                let status = StatusCode::UPGRADE_REQUIRED;
                let mut problem =
                    own(status, "TRANSOM52", "This version of WebSocket is not spoken here", details, None);
                // RFC 6455, section 4.4, and RFC 9110, section 15.5.22
                problem.headers.push((header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
                problem.headers.push((header::UPGRADE, HeaderValue::from_static("websocket")));
                problem.headers.push((header::CONNECTION, HeaderValue::from_static("Upgrade")));
                problem
            }
            Self::NotThere { .. } => {
                let hint = "make it first, and fill it again after it is gone";
                own(StatusCode::NOT_FOUND, "TRANSOM50", "There is nothing of this name", details, Some(hint))
            }
            Self::Differs { .. } => {
                let hint = "use what is there, delete it, or take another name";
                own(StatusCode::CONFLICT, "TRANSOM51", "What is there is made for something else", details, Some(hint))
            }
            Self::SessionUnknown => {
                let hint = "have the user log in again";
                own(StatusCode::UNAUTHORIZED, "TRANSOM32", "The session is not valid", details, Some(hint))
            }
            Self::Banned => own(StatusCode::FORBIDDEN, "TRANSOM36", "The user is banned", details, None),
            Self::KeyUnknown => {
                let hint = "make it first; what was answered before is not remembered for longer than it is true";
                own(StatusCode::NOT_FOUND, "TRANSOM33", "There is no such API key", details, Some(hint))
            }
            Self::Unset { .. } => {
                let hint = "write there how it is read from the database";
                own(StatusCode::NOT_FOUND, "TRANSOM34", "That is not asked here", details, Some(hint))
            }
            Self::Unanswerable { .. } => {
                let hint = "run `transom check`";
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                own(status, "TRANSOM35", "A read of the operator's failed", details, Some(hint))
            }
            Self::NoRedis => {
                let hint = "set redis_url, or name another backend";
                own(StatusCode::SERVICE_UNAVAILABLE, "TRANSOM26", "There is no Redis", details, Some(hint))
            }
            Self::RedisAway { .. } => {
                own(StatusCode::SERVICE_UNAVAILABLE, "TRANSOM26", "Redis does not answer", details, None)
            }
            Self::NotInstalled { .. } => {
                let hint = "run `transom setup --state`, with --grant-to if nodes connect as another role";
                own(StatusCode::SERVICE_UNAVAILABLE, "TRANSOM27", "The tables are not there", details, Some(hint))
            }
        }
    }
}
