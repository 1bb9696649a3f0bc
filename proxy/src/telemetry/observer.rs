//! Hears what the cache meets on its way to Redis.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{
    backplane::Observer,
    outcome::{LapseReason, ResyncReason, Unreadable},
};
use parking_lot::Mutex;

use super::Metrics;

/// Values that cannot be read are spoken of once in this time: there may be as many as there are hits.
const SPOKEN_OF_EVERY: Duration = Duration::from_secs(60);

/// Counts what it hears, and says what an operator should know.
pub(crate) struct CacheObserver {
    metrics: Arc<Metrics>,
    spoken_of_at: Mutex<Option<Instant>>,
}

impl CacheObserver {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, spoken_of_at: Mutex::default() }
    }
}

impl Observer for CacheObserver {
    fn resynced(&self, reason: ResyncReason) {
        self.metrics.resync(reason);
    }

    fn lapsed(&self, reason: LapseReason) {
        self.metrics.lapse(reason);
    }

    fn unreadable(&self, reason: Unreadable) {
        self.metrics.unreadable(reason);
        let hint = match reason {
            // Of another release, during an upgrade; or of another key, by chance.
            Unreadable::Foreign | Unreadable::OtherKey => return,
            Unreadable::Damaged => "something else writes to this redis",
            Unreadable::Sealed | Unreadable::Unsealed => "another node has other redis_encryption_keys",
            Unreadable::UnknownKey => "add its key to redis_encryption_keys, or wait until the value expires",
            Unreadable::Forged => "somebody changed or moved it",
        };
        let now = Instant::now();
        let mut spoken_of_at = self.spoken_of_at.lock();
        if spoken_of_at.is_none_or(|at| now.duration_since(at) >= SPOKEN_OF_EVERY) {
            *spoken_of_at = Some(now);
            tracing::warn!(reason = reason.as_str(), hint, "a value in redis cannot be read, and counts as a miss");
        }
    }
}
