//! Everything that can go wrong with a request, and the shape in which it reaches a client.

mod refusal;
mod state;

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};
use tokio_postgres::error::SqlState;

pub use self::{refusal::Refusal, state::StateRefusal};

/// An error as PostgREST words it: the JSON object `{code, message, details, hint}` under an HTTP status
/// (<https://docs.postgrest.org/en/v12/references/errors.html>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// the HTTP status of the response
    pub status: StatusCode,
    /// a `PGRST...` code, an SQLSTATE, or one of Transom's own (`TRANSOM...`)
    pub code: Cow<'static, str>,
    /// one sentence for people
    pub message: Cow<'static, str>,
    /// what exactly was wrong, if more is known; `null` in the JSON if not. Nearly always a text.
    pub details: Option<serde_json::Value>,
    /// how to put it right, if that is known; `null` in the JSON if not
    pub hint: Option<Cow<'static, str>>,
    /// headers that a function in the database wants with it
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a request was not answered as it wished. Cheap to clone: everybody who waited for a fill gets the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// the request is not one that can be answered
    #[error("refused: {}", .0.message)]
    Refused(Box<Problem>),
    /// Postgres said no
    #[error("postgres: {}", .problem.message)]
    Database {
        /// as the client gets it
        problem: Box<Problem>,
        /// as Postgres said it
        state: SqlState,
    },
    /// Postgres is not there
    #[error("postgres is unreachable: {reason}")]
    Unreachable {
        /// what the driver says
        reason: String,
    },
    /// all connections to Postgres are busy
    #[error("no connection to postgres became free within {waited:?}")]
    PoolExhausted {
        /// how long the request waited
        waited: Duration,
    },
    /// the budget of the request is spent
    #[error("the request was not answered within {budget:?}")]
    Deadline {
        /// the budget
        budget: Duration,
    },
    /// somebody else's fill took too long
    #[error("the fill of this key took longer than {patience:?}")]
    Impatient {
        /// the patience of a waiter
        patience: Duration,
    },
    /// the fill ended without an answer, which is a fault of this program
    #[error("the fill of this key was abandoned")]
    Abandoned,
    /// too many requests at the same time
    #[error("more than {in_flight_max} requests in flight")]
    Overloaded {
        /// the limit
        in_flight_max: usize,
    },
    /// the request's body is too large
    #[error("the request body is larger than {bytes_max} bytes")]
    BodyTooLarge {
        /// the limit
        bytes_max: usize,
    },
    /// the request's body did not arrive whole
    #[error("the request body broke off: {reason}")]
    BodyBroken {
        /// what the connection says
        reason: String,
    },
    /// the answer is too large
    #[error("the answer has {bytes} bytes, more than the {bytes_max} allowed")]
    ResponseTooLarge {
        /// its size
        bytes: usize,
        /// the limit
        bytes_max: usize,
    },
    /// `Cache-Control: only-if-cached`, and it is not (RFC 9111, section 5.2.1.7)
    #[error("not cached")]
    NotCached,
    /// `Transom-Min-Token` is not a token
    #[error("the token {token:?} cannot be read")]
    InvalidToken {
        /// what was sent
        token: String,
    },
    /// the bearer token is not valid
    #[error("the token is refused: {0}")]
    TokenRefused(#[from] Refusal),
    /// there is a bearer token, and nothing to verify it with
    #[error("there is a token, and no jwt_secret")]
    NoTokenSecret,
    /// a request for shared state is refused
    #[error(transparent)]
    State(#[from] StateRefusal),
    /// nothing is served under this path
    #[error("no such path")]
    NoSuchPath,
}

/// Seconds after which it makes sense to try again when something is down or full.
const RETRY_AFTER_SECONDS: u32 = 1;

impl Error {
    /// Whether Postgres failed to answer, rather than answered no: then a stale entry may stand in (RFC 5861).
    #[must_use]
    pub fn is_origin_failure(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::PoolExhausted { .. }
            | Self::Deadline { .. }
            | Self::Impatient { .. }
            | Self::Abandoned => true,
            // insufficient resources, operator intervention (also a cancelled statement), system error, internal error
            Self::Database { state, .. } => {
                ["53", "57", "58", "XX"].iter().any(|class| state.code().starts_with(class))
            }
            _ => false,
        }
    }

    /// Whether Postgres gave up a statement, because of a timeout or because somebody wished so.
    #[must_use]
    pub fn is_canceled_statement(&self) -> bool {
        matches!(self, Self::Database { state, .. } if *state == SqlState::QUERY_CANCELED)
    }

    /// When to come back, for what goes away by itself.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        if let Self::State(refusal) = self {
            // Rounded up: who comes back too early only comes again.
            return refusal
                .retry_after()
                .map(|after| u32::try_from(after.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
        }
        let passing = self.is_origin_failure() || matches!(self, Self::Overloaded { .. });
        passing.then_some(RETRY_AFTER_SECONDS)
    }

    /// `WWW-Authenticate` of a 401 (RFC 6750, section 3), worded as in PostgREST.
    #[must_use]
    pub fn challenge(&self) -> Cow<'static, str> {
        match self {
            Self::TokenRefused(refusal) => {
                let description = refusal.to_string();
                format!("Bearer error=\"invalid_token\", error_description={description:?}").into()
            }
            _ => "Bearer".into(),
        }
    }

    /// The reason in one word, for `Cache-Status` and logs.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::InvalidToken { .. } | Self::NoSuchPath => "refused",
            Self::TokenRefused(_) | Self::NoTokenSecret => "token-refused",
            Self::Database { .. } => "database-error",
            Self::Unreachable { .. } => "origin-unreachable",
            Self::PoolExhausted { .. } => "pool-exhausted",
            Self::Deadline { .. } => "deadline",
            Self::Impatient { .. } => "fill-too-slow",
            Self::Abandoned => "fill-abandoned",
            Self::Overloaded { .. } => "overloaded",
            Self::BodyTooLarge { .. } => "body-too-large",
            Self::BodyBroken { .. } => "body-broken",
            Self::ResponseTooLarge { .. } => "response-too-large",
            Self::NotCached => "only-if-cached",
            Self::State(refusal) => refusal.detail(),
        }
    }

    /// The error as a client sees it. Exhaustive: there is no other place that chooses a status.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused(problem) | Self::Database { problem, .. } => (**problem).clone(),
            Self::Unreachable { reason } => {
                let message = "Database connection error. Retrying the connection.";
                own(StatusCode::SERVICE_UNAVAILABLE, "PGRST001", message, Some(reason.clone()), None)
            }
            Self::PoolExhausted { .. } => {
                let message = "Timed out acquiring connection from connection pool.";
                let hint = "raise db_pool_max, or look for slow queries";
                own(StatusCode::GATEWAY_TIMEOUT, "PGRST003", message, Some(self.to_string()), Some(hint))
            }
            Self::Deadline { .. } => {
                let hint = "the limit is the setting request_deadline";
                own(
                    StatusCode::GATEWAY_TIMEOUT,
                    "TRANSOM01",
                    "The request took too long",
                    Some(self.to_string()),
                    Some(hint),
                )
            }
            Self::Impatient { .. } => {
                let hint = "the limit is the setting collapse_wait_max";
                own(
                    StatusCode::GATEWAY_TIMEOUT,
                    "TRANSOM02",
                    "The request took too long",
                    Some(self.to_string()),
                    Some(hint),
                )
            }
            Self::Abandoned => {
                own(StatusCode::INTERNAL_SERVER_ERROR, "TRANSOM03", "The request failed inside the proxy", None, None)
            }
            Self::Overloaded { .. } => {
                let hint = "the limit is the setting in_flight_max";
                own(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "TRANSOM04",
                    "Too many requests",
                    Some(self.to_string()),
                    Some(hint),
                )
            }
            Self::BodyTooLarge { .. } => {
                let hint = "the limit is the setting body_bytes_max";
                own(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "TRANSOM05",
                    "The request body is too large",
                    Some(self.to_string()),
                    Some(hint),
                )
            }
            Self::BodyBroken { .. } => own(
                StatusCode::BAD_REQUEST,
                "TRANSOM06",
                "The request body is incomplete",
                Some(self.to_string()),
                None,
            ),
            Self::ResponseTooLarge { .. } => {
                let hint = "ask for less with limit or select; the limit is the setting response_bytes_max";
                own(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "TRANSOM07",
                    "The answer is too large",
                    Some(self.to_string()),
                    Some(hint),
                )
            }
            Self::NotCached => {
                let message = "Not in the cache, and the request forbids to ask the database";
                own(StatusCode::GATEWAY_TIMEOUT, "TRANSOM08", message, None, Some("leave out only-if-cached"))
            }
            Self::InvalidToken { .. } => {
                let hint = "send a Transom-Token as it was received: 16 hexadecimal digits, a colon, a number";
                own(
                    StatusCode::BAD_REQUEST,
                    "TRANSOM09",
                    "Transom-Min-Token is not a token",
                    Some(self.to_string()),
                    Some(hint),
                )
            }
            Self::TokenRefused(refusal) => Problem {
                status: StatusCode::UNAUTHORIZED,
                code: "PGRST301".into(),
                message: refusal.to_string().into(),
                details: None,
                hint: None,
                headers: Vec::new(),
            },
            Self::NoTokenSecret => {
                let hint = "set jwt_secret, or leave out Authorization to be answered as the anonymous role";
                own(StatusCode::INTERNAL_SERVER_ERROR, "PGRST300", "Server lacks JWT secret", None, Some(hint))
            }
            Self::State(refusal) => refusal.problem(),
            Self::NoSuchPath => {
                let hint = "tables and views are below the setting rest_path, by default /rest/v1";
                own(StatusCode::NOT_FOUND, "TRANSOM10", "Nothing is served under this path", None, Some(hint))
            }
        }
    }
}

fn own(
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    details: Option<String>,
    hint: Option<&'static str>,
) -> Problem {
    Problem {
        status,
        code: code.into(),
        message: message.into(),
        details: details.map(Into::into),
        hint: hint.map(Cow::Borrowed),
        headers: Vec::new(),
    }
}
