//! Announcements that Redis has not taken yet.

use parking_lot::Mutex;

use crate::{coherence::Kind, tag::Slots};

/// What this node owes its peers: one set of slots, because announcing twice does no harm and announcing together is as
/// good as one by one. Bounded by the size of the coherence table.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<Debt>);

#[derive(Debug, Default)]
struct Debt {
    waiting: Option<(Slots, Kind)>,
    /// taken, and neither announced nor given back: owed all the same
    under_way: bool,
}

impl Pending {
    pub(super) fn add(&self, slots: &Slots, kind: Kind) {
        let waiting = &mut self.0.lock().waiting;
        *waiting = Some(match waiting.take() {
            None => (slots.clone(), kind),
            Some((before, Kind::Purge)) => (before.union(slots), Kind::Purge),
            Some((before, Kind::Change)) => (before.union(slots), kind),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        let debt = self.0.lock();
        debt.waiting.is_none() && !debt.under_way
    }

    /// Takes everything, to be announced; [`settle`](Self::settle) says how that went.
    pub(super) fn take(&self) -> Option<(Slots, Kind)> {
        let mut debt = self.0.lock();
        let taken = debt.waiting.take();
        debt.under_way = taken.is_some();
        taken
    }

    /// What was taken is announced, or given back.
    pub(super) fn settle(&self, given_back: Option<(Slots, Kind)>) {
        if let Some((slots, kind)) = given_back {
            self.add(&slots, kind);
        }
        self.0.lock().under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_announced_is_still_owed() {
        let pending = Pending::default();
        assert!(pending.is_empty());
        pending.add(&Slots::from_raw([1]), Kind::Purge);
        let taken = pending.take().unwrap();
        assert!(!pending.is_empty());
        pending.add(&Slots::from_raw([2]), Kind::Change);
        pending.settle(Some(taken));
        assert_eq!(pending.take(), Some((Slots::from_raw([1, 2]), Kind::Purge)));
        pending.settle(None);
        assert!(pending.is_empty());
    }
}
