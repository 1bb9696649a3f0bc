//! Tags name what can change; slots are where the coherence table keeps track of them.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

/// Something that can change and that entries depend on, known by its text: `public.flights(*)`.
///
/// Only the hash is kept: a tag is made to find its slot, and nothing ever lists tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u64);

impl Tag {
    /// The tag that every entry carries: to announce it is to invalidate everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::named("*")
    }

    /// The tag with this text.
    #[must_use]
    pub fn named(text: &str) -> Self {
        Self(xxh3_64(text.as_bytes()))
    }

    /// The slot of this tag in a table of `slots` slots.
    #[must_use]
    pub fn slot(self, slots: SlotCount) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the mask keeps the low 22 bits at most")]
        let low = self.0 as u32;
        low & (slots.0 - 1)
    }
}

/// How many slots the coherence table has: a power of two from 1 024 to 4 194 304. All nodes of a namespace agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotCount(u32);

impl SlotCount {
    /// The default of the `coherence_slots` setting.
    pub const DEFAULT: Self = Self(262_144);

    /// `None` unless `count` is a power of two within the bounds.
    #[must_use]
    pub fn new(count: u32) -> Option<Self> {
        (count.is_power_of_two() && (1_024..=4_194_304).contains(&count)).then_some(Self(count))
    }

    /// The count as a number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// The slots of an entry or of an announcement, sorted and each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots(SmallVec<[u32; 4]>);

impl Slots {
    /// The slots of these tags.
    pub fn of(tags: impl IntoIterator<Item = Tag>, count: SlotCount) -> Self {
        Self::from_raw(tags.into_iter().map(|tag| tag.slot(count)))
    }

    /// Slots by number, as they arrive from the wire. They are checked against the table where they are used.
    pub fn from_raw(slots: impl IntoIterator<Item = u32>) -> Self {
        let mut slots: SmallVec<[u32; 4]> = slots.into_iter().collect();
        slots.sort_unstable();
        slots.dedup();
        Self(slots)
    }

    /// The slots of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::from_raw(self.iter().chain(other.iter()))
    }

    /// Each slot in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// How many slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_sorted_unique_and_in_bounds() {
        let count = SlotCount::new(1_024).unwrap();
        let tags = ["b", "a", "b", "*"].map(Tag::named);
        let slots = Slots::of(tags, count);
        assert_eq!(slots.len(), 3);
        assert!(slots.iter().is_sorted() && slots.iter().all(|slot| slot < 1_024));
        assert!(slots.iter().any(|slot| slot == Tag::everything().slot(count)));
    }

    #[test]
    fn a_slot_count_is_a_power_of_two_within_bounds() {
        assert!([0, 1, 512, 1_000, 262_143, 8_388_608].iter().all(|count| SlotCount::new(*count).is_none()));
        assert_eq!(SlotCount::new(262_144), Some(SlotCount::DEFAULT));
    }
}
