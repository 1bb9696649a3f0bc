//! Hits that one worker counts by itself: counters that all workers share are what they would wait for each other for.

use std::time::Duration;

use http::StatusCode;
use prometheus::local::LocalHistogram;

/// Counted hits are handed over when there are so many, or when metrics are read.
const PENDING_MAX: u64 = 1_024;

/// Hits on L1 that [`Metrics`](super::Metrics) does not know of yet.
pub struct Hits {
    /// a handful of statuses
    pub(super) by_status: Vec<(StatusCode, u64)>,
    pub(super) pending: u64,
    pub(super) durations: LocalHistogram,
}

impl Hits {
    pub(super) fn new(durations: LocalHistogram) -> Self {
        Self { by_status: Vec::new(), pending: 0, durations }
    }

    /// One more.
    pub fn count(&mut self, status: StatusCode, elapsed: Duration) {
        self.pending += 1;
        self.durations.observe(elapsed.as_secs_f64());
        match self.by_status.iter_mut().find(|(counted, _)| *counted == status) {
            Some((_, count)) => *count += 1,
            None => self.by_status.push((status, 1)),
        }
    }

    /// Whether it is time to hand them over.
    #[must_use]
    pub fn are_many(&self) -> bool {
        self.pending >= PENDING_MAX
    }
}
