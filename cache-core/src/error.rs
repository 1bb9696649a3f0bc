//! What can go wrong between a node and Redis, and in what comes from there.

use std::time::Duration;

use crate::outcome::Unreadable;

/// Redis did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedisError {
    /// the breaker is open: Redis failed a moment ago and has not answered a probe since
    #[error("redis is not asked while its breaker is open")]
    BreakerOpen,
    /// no answer in time
    #[error("redis did not answer within {0:?}")]
    Timeout(Duration),
    /// an answer that the protocol between Transom and its scripts does not know
    #[error("redis answered {0}, which is not part of the protocol")]
    Protocol(String),
    /// whatever Redis or the client library says
    #[error("redis: {0}")]
    Client(String),
}

impl From<fred::error::Error> for RedisError {
    fn from(error: fred::error::Error) -> Self {
        Self::Client(error.to_string())
    }
}

/// Bytes from L2 that are not an entry of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// not written by Transom, or cut short
    #[error("not an entry")]
    NotAnEntry,
    /// written by another release
    #[error("an entry of version {0}")]
    ForeignVersion(u16),
    /// changed since it was written
    #[error("the checksum does not match")]
    Checksum,
    /// whole, but of another key with the same digest
    #[error("an entry of another key")]
    OtherKey,
    /// encrypted, and it should not be, or the other way round, or it does not open
    #[error("an entry that does not open: {}", .0.as_str())]
    Sealing(Unreadable),
}

impl CodecError {
    /// The same, as it is counted.
    #[must_use]
    pub fn reason(self) -> Unreadable {
        match self {
            Self::NotAnEntry | Self::ForeignVersion(_) => Unreadable::Foreign,
            Self::Checksum => Unreadable::Damaged,
            Self::OtherKey => Unreadable::OtherKey,
            Self::Sealing(reason) => reason,
        }
    }
}
