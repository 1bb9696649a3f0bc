//! Why a session of the feed ends.

use std::time::Duration;

use pgwire_replication::PgWireError;

use crate::origin::describe;

/// A stream that brings nothing for so long, not even heartbeats, is broken, whatever the socket says.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// the replication connection
    #[error("the change stream ended: {0}")]
    Stream(String),
    /// an ordinary one
    #[error("{0}")]
    Postgres(String),
    /// heartbeats stopped
    #[error("no heartbeat can be written: {0}")]
    Heart(String),
    /// nothing came for too long
    #[error("the change stream brought nothing for {SILENCE_MAX:?}")]
    Silence,
    /// the publication is not what it was
    #[error("the publication was changed")]
    Publication,
    /// another session leads
    #[error("another node leads now")]
    Deposed,
}

impl From<tokio_postgres::Error> for Ended {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(describe(&error))
    }
}

impl From<PgWireError> for Ended {
    fn from(error: PgWireError) -> Self {
        Self::Stream(error.to_string())
    }
}
