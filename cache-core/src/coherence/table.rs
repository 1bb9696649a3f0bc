//! The coherence table: for each slot, the `seq` of the last announcement that touched it.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};

use super::announcement::Seq;
use crate::tag::{SlotCount, Slots};

/// Read by every hit without a lock; written under the lock of [`Coherence`](super::Coherence).
pub(super) struct Table(Box<[AtomicU64]>);

impl Table {
    pub(super) fn new(count: SlotCount) -> Self {
        Self((0..count.get()).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no slot was touched after `as_of`. A slot outside the table (another `coherence_slots`) was.
    pub(super) fn untouched_since(&self, slots: &Slots, as_of: Seq) -> bool {
        slots.iter().all(|slot| self.0.get(slot as usize).is_some_and(|seq| seq.load(Acquire) <= as_of.0))
    }

    /// The last announcement that touched any of them.
    pub(super) fn newest(&self, slots: &Slots) -> Seq {
        let touched = slots.iter().filter_map(|slot| self.0.get(slot as usize)).map(|seq| seq.load(Acquire));
        Seq(touched.max().unwrap_or_default())
    }

    pub(super) fn raise(&self, slots: &Slots, seq: Seq) {
        for slot in slots.iter() {
            if let Some(value) = self.0.get(slot as usize) {
                value.fetch_max(seq.0, Release);
            }
        }
    }

    /// Takes the greater of both for every slot: merging is safe in any order and any number of times.
    pub(super) fn merge(&self, table: &[u64]) {
        for (slot, seq) in self.0.iter().zip(table) {
            slot.fetch_max(*seq, Release);
        }
    }

    /// Forgets what it held: for a new epoch, whose numbers have nothing to do with the old ones.
    pub(super) fn replace(&self, table: &[u64]) {
        for (slot, seq) in self.0.iter().zip(table) {
            slot.store(*seq, Release);
        }
    }
}
