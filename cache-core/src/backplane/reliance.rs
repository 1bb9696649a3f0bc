//! What this node relies on beside the backplane: nothing, or a change feed that covers what it believes.

use std::sync::Arc;

use parking_lot::RwLock;

/// Whether a lease needs somebody who vouches for the database's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// No: the only changes this node promises to know are those that somebody announces.
    Announcements,
    /// Yes: the lease also ends when the change feed is not known to be alive.
    Feed,
}

/// The version of the publication by which this node judges what is covered; a leader that vouches for another one does
/// not mean this node.
#[derive(Debug, Clone)]
pub(super) struct Reliance(Arc<RwLock<String>>);

/// What no leader vouches for.
const UNKNOWN: &str = "?";

impl Reliance {
    pub(super) fn on(trust: Trust) -> Self {
        let covers = match trust {
            Trust::Announcements => String::new(),
            Trust::Feed => UNKNOWN.to_owned(),
        };
        Self(Arc::new(RwLock::new(covers)))
    }

    pub(super) fn cover(&self, version: &str) {
        version.clone_into(&mut self.0.write());
    }

    pub(super) fn uncover(&self) {
        self.cover(UNKNOWN);
    }

    pub(super) fn covers(&self) -> String {
        self.0.read().clone()
    }
}
