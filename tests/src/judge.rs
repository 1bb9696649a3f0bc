//! Judges reads against the writes that were acknowledged: how stale was what a reader got?

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The versions of one row: 0, 1, 2, ... each acknowledged to its writer at some moment.
#[derive(Debug, Default)]
pub struct Judge {
    /// `acknowledged[n]`: when version `n + 1` was
    acknowledged: Mutex<Vec<Instant>>,
    worst: Mutex<Duration>,
}

impl Judge {
    /// The version to write next.
    #[must_use]
    pub fn next_version(&self) -> usize {
        self.acknowledged.lock().expect("nobody panics holding this").len() + 1
    }

    /// The version that [`next_version`](Self::next_version) named was written, and the writer has its answer.
    pub fn acknowledged(&self) {
        self.acknowledged.lock().expect("nobody panics holding this").push(Instant::now());
    }

    /// How long before `asked_at` the version after `version` was acknowledged: what a reader who began then and got
    /// `version` missed by. Zero if it had every version that it could know of.
    pub fn staleness(&self, version: usize, asked_at: Instant) -> Duration {
        let acknowledged = self.acknowledged.lock().expect("nobody panics holding this");
        let staleness = acknowledged.get(version).map_or(Duration::ZERO, |at| asked_at.saturating_duration_since(*at));
        let mut worst = self.worst.lock().expect("nobody panics holding this");
        *worst = staleness.max(*worst);
        staleness
    }

    /// The worst that was judged.
    #[must_use]
    pub fn worst(&self) -> Duration {
        *self.worst.lock().expect("nobody panics holding this")
    }
}
