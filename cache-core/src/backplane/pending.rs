//! Announcements that Redis has not taken yet.

use parking_lot::Mutex;

use crate::{coherence::Kind, tag::Slots};

/// What this node owes its peers: one set of slots, because announcing twice does no harm and announcing together is as
/// good as one by one. Bounded by the size of the coherence table.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<Option<(Slots, Kind)>>);

impl Pending {
    pub(super) fn add(&self, slots: &Slots, kind: Kind) {
        let mut owed = self.0.lock();
        *owed = Some(match owed.take() {
            None => (slots.clone(), kind),
            Some((before, Kind::Purge)) => (before.union(slots), Kind::Purge),
            Some((before, Kind::Change)) => (before.union(slots), kind),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_none()
    }

    /// Takes everything; what fails again is to be added again.
    pub(super) fn take(&self) -> Option<(Slots, Kind)> {
        self.0.lock().take()
    }
}
