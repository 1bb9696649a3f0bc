//! Transactions that lost against another one are tried again: nothing was sent to the client yet.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::Uncommitted;
use crate::error::Error;

/// Waits before the second, third, ... attempt.
const BACKOFF: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
];

/// The table changed under a prepared statement, which has been forgotten meanwhile.
const OUTDATED_PLAN: &str = "cached plan must not change result type";

/// An error that may say "try again".
pub(super) trait Conflict {
    /// Whether the transaction lost against another one, and was rolled back for sure.
    fn is_conflict(&self) -> bool;
}

impl Conflict for Error {
    fn is_conflict(&self) -> bool {
        let Self::Database { state, problem } = self else { return false };
        *state == SqlState::T_R_SERIALIZATION_FAILURE
            || *state == SqlState::T_R_DEADLOCK_DETECTED
            || problem.message == OUTDATED_PLAN
    }
}

impl Conflict for Uncommitted {
    fn is_conflict(&self) -> bool {
        self.maybe_changed.is_empty() && self.error.is_conflict()
    }
}

/// The waits that one request has left.
#[derive(Default)]
pub(super) struct Backoff {
    waited: usize,
}

impl Backoff {
    /// Whether to try again after this end; waits first if so.
    pub(super) async fn again<T, E: Conflict + std::fmt::Debug + Sync>(&mut self, end: &Result<T, E>) -> bool {
        let Err(error) = end else { return false };
        let Some(wait) = BACKOFF.get(self.waited).filter(|_| error.is_conflict()) else { return false };
        self.waited += 1;
        tracing::debug!(?error, ?wait, "a transaction lost against another one; trying again");
        tokio::time::sleep(*wait).await;
        true
    }
}
