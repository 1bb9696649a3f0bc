//! The coherence table: for each slot, the `seq` of the last announcement that touched it.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};

use super::announcement::Seq;
use crate::tag::{SlotCount, Slots, Tag, Tags};

/// Read by every hit without a lock; written under the lock of [`Coherence`](super::Coherence).
pub(super) struct Table {
    slots: Box<[AtomicU64]>,
    count: SlotCount,
}

impl Table {
    pub(super) fn new(count: SlotCount) -> Self {
        Self { slots: (0..count.get()).map(|_| AtomicU64::new(0)).collect(), count }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none of these tags was announced after `as_of`. One slot that was not touched since proves it for its tag,
    /// so a hit costs one load a tag.
    pub(super) fn unannounced_since(&self, tags: &Tags, as_of: Seq) -> bool {
        tags.iter().all(|tag| self.touched(tag).any(|seq| seq <= as_of.0))
    }

    /// The last announcement of any of them, or a later one that looks like it.
    pub(super) fn newest(&self, tags: &Tags) -> Seq {
        // A tag was announced no later than any of its slots was touched.
        let announced = |tag| self.touched(tag).min().unwrap_or_default();
        Seq(tags.iter().map(announced).max().unwrap_or_default())
    }

    /// When each slot of a tag was touched last.
    fn touched(&self, tag: Tag) -> impl Iterator<Item = u64> + '_ {
        tag.slots(self.count).map(|slot| self.slots.get(slot as usize).map_or(u64::MAX, |seq| seq.load(Acquire)))
    }

    pub(super) fn raise(&self, slots: &Slots, seq: Seq) {
        for slot in slots.iter() {
            if let Some(value) = self.slots.get(slot as usize) {
                value.fetch_max(seq.0, Release);
            }
        }
    }

    /// Takes the greater of both for every slot: merging is safe in any order and any number of times.
    pub(super) fn merge(&self, table: &[u64]) {
        for (slot, seq) in self.slots.iter().zip(table) {
            slot.fetch_max(*seq, Release);
        }
    }

    /// Forgets what it held: for a new epoch, whose numbers have nothing to do with the old ones.
    pub(super) fn replace(&self, table: &[u64]) {
        for (slot, seq) in self.slots.iter().zip(table) {
            slot.store(*seq, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    fn row(number: usize) -> Tag {
        Tag::of_row(&format!("public.item(id={number})"))
    }

    /// Soundness, in a table so small that every slot belongs to many tags.
    #[test]
    fn an_announcement_is_seen_by_every_older_entry_in_however_small_a_table() {
        const TAGS: usize = 2_000;
        let count = SlotCount::new(1_024).unwrap();
        for seed in 0..10 {
            let (mut rng, table) = (StdRng::seed_from_u64(seed), Table::new(count));
            let mut announced = vec![0; TAGS];
            for seq in 1..=3_000 {
                let changed: Vec<usize> = (0..rng.random_range(1..4)).map(|_| rng.random_range(0..TAGS)).collect();
                changed.iter().for_each(|number| announced[*number] = seq);
                table.raise(&Slots::of(changed.into_iter().map(row), count), Seq(seq));

                let read = [rng.random_range(0..TAGS), rng.random_range(0..TAGS)];
                let (tags, as_of) = (read.map(row).into_iter().collect(), Seq(rng.random_range(0..=seq)));
                let truth = Seq(announced[read[0]].max(announced[read[1]]));
                assert!(truth <= as_of || !table.unannounced_since(&tags, as_of), "seed {seed}: {read:?}, {as_of:?}");
                assert!(truth <= table.newest(&tags), "seed {seed}: {read:?} at {seq}");
                assert_eq!(table.unannounced_since(&tags, as_of), table.newest(&tags) <= as_of, "both rules agree");
            }
        }
    }

    /// Precision: of the rows that are only read, how many look changed after as many others were.
    #[test]
    fn rows_that_did_not_change_do_not_look_changed() {
        for (written, wrong_max) in [(1_000, 0), (10_000, 60)] {
            let table = Table::new(SlotCount::DEFAULT);
            table.raise(&Slots::of((0..written).map(row), SlotCount::DEFAULT), Seq(1));
            let looks_changed =
                |number: &usize| !table.unannounced_since(&[row(*number)].into_iter().collect(), Seq(0));
            assert!((0..written).all(|number| looks_changed(&number)));
            let wrong = (written..2 * written + 20_000).filter(looks_changed).count();
            println!("{written} rows changed; of {} others {wrong} look changed", written + 20_000);
            assert!(wrong <= wrong_max, "{wrong} of {}", written + 20_000);
        }
    }
}
