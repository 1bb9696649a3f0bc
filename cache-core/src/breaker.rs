//! A breaker around Redis: a dead or stalled Redis costs one timeout, and then nothing until it is back.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Opened by whoever waits in vain, closed only by the backplane's probe: no request ever pays for finding out whether
/// Redis is back.
#[derive(Debug, Default)]
pub struct Breaker {
    open: AtomicBool,
}

impl Breaker {
    /// Whether Redis is not to be asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Redis failed: nobody else asks.
    pub fn trip(&self, why: &dyn std::fmt::Display) {
        if !self.open.swap(true, Relaxed) {
            tracing::warn!(%why, "redis failed; breaker opens");
        }
    }

    /// Redis answered a probe.
    pub fn close(&self) {
        if self.open.swap(false, Relaxed) {
            tracing::info!("redis is back; breaker closes");
        }
    }
}
