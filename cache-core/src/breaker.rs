//! A breaker around Redis: a dead or stalled Redis costs one timeout, and then nothing until it is back.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::error::RedisError;

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

    /// Asks Redis unless the breaker is open, and opens it if that fails.
    ///
    /// # Errors
    /// As the question's, or because it was not asked.
    pub(crate) async fn guard<T>(
        &self,
        question: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        if self.is_open() {
            return Err(RedisError::BreakerOpen);
        }
        question.await.inspect_err(|error| self.trip(error))
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
