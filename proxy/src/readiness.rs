//! Whether the node wants traffic.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Raised when the node has started, dropped when it begins to drain.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicBool);

impl Readiness {
    pub(crate) fn raise(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn lower(&self) {
        self.0.store(false, Relaxed);
    }

    pub(crate) fn holds(&self) -> bool {
        self.0.load(Relaxed)
    }
}
