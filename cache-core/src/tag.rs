//! Tags name what can change; slots are where the coherence table keeps track of them.
//!
//! A tag has [`PROBES`] slots. Who announces it raises all of them, so it was announced after some `seq` only if **all** of
//! them were touched after that: tags that share one slot with it, or two, do not matter. That is a Bloom filter (Bloom 1970)
//! whose bits are numbers.

use smallvec::{Array, SmallVec};
use xxhash_rust::xxh3::xxh3_64;

/// Slots of each tag. With two, one of 13 000 tags is taken for announced after 1 000 others were; with three, one of
/// 450 000, and a fourth would cost each announcement more than it gains.
pub const PROBES: usize = 3;

/// The share of the table that is kept for what is not a row: such a tag is carried by many entries, and must not be drowned
/// by changes of rows, of which there are many.
const SHARED_PART: u32 = 8;

/// Set in the tags of rows.
const ROW: u64 = 1 << 63;

/// Something that can change and that entries depend on, known by its text: `public.flights(*)`.
///
/// Only the hash is kept: a tag is made to find its slots, and nothing ever lists tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u64);

impl Tag {
    /// The tag that every entry carries: to announce it is to invalidate everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::named("*")
    }

    /// The tag with this text, of something that many entries depend on, or that seldom changes.
    #[must_use]
    pub fn named(text: &str) -> Self {
        Self(xxh3_64(text.as_bytes()) & !ROW)
    }

    /// The tag with this text, of one of many rows. It is another one than that which is [`named`](Self::named) so.
    #[must_use]
    pub fn of_row(text: &str) -> Self {
        Self(xxh3_64(text.as_bytes()) | ROW)
    }

    /// As it is stored.
    pub(crate) fn as_u64(self) -> u64 {
        self.0
    }

    /// From its number.
    pub(crate) fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The slots of this tag in a table of `count` slots; not necessarily different ones.
    pub fn slots(self, count: SlotCount) -> impl Iterator<Item = u32> {
        let shared = count.0 / SHARED_PART;
        let (first, size) = if self.0 & ROW == 0 { (0, shared) } else { (shared, count.0 - shared) };
        // Two hashes make any number of them (Kirsch and Mitzenmacher 2006).
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the hash")]
        let (start, step) = (self.0 as u32, (self.0 >> 32) as u32 | 1);
        (0..PROBES).scan(start, move |hash, _| {
            // The upper half of the product is less than `size`.
            let slot = first + ((u64::from(*hash) * u64::from(size)) >> 32) as u32;
            *hash = hash.wrapping_add(step);
            Some(slot)
        })
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

/// What an entry depends on: each tag once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags(SmallVec<[Tag; 4]>);

impl FromIterator<Tag> for Tags {
    fn from_iter<T: IntoIterator<Item = Tag>>(tags: T) -> Self {
        Self(each_once(tags))
    }
}

impl Tags {
    /// Each tag.
    pub fn iter(&self) -> impl Iterator<Item = Tag> + '_ {
        self.0.iter().copied()
    }

    /// How many tags.
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

/// The slots that an announcement raises, sorted and each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots(SmallVec<[u32; 8]>);

impl Slots {
    /// The slots of these tags.
    pub fn of(tags: impl IntoIterator<Item = Tag>, count: SlotCount) -> Self {
        Self::from_raw(tags.into_iter().flat_map(|tag| tag.slots(count)))
    }

    /// Slots by number, as they arrive from the wire. They are checked against the table where they are used.
    pub fn from_raw(slots: impl IntoIterator<Item = u32>) -> Self {
        Self(each_once(slots))
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

/// In order.
fn each_once<A: Array<Item: Ord>>(items: impl IntoIterator<Item = A::Item>) -> SmallVec<A> {
    let mut items: SmallVec<A> = items.into_iter().collect();
    items.sort_unstable();
    items.dedup();
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: SlotCount = SlotCount(1_024);

    #[test]
    fn slots_are_sorted_unique_and_in_bounds() {
        let tags = ["b", "a", "b", "*"].map(Tag::named);
        let slots = Slots::of(tags, SMALL);
        assert!((PROBES + 1..=3 * PROBES).contains(&slots.len()), "{slots:?}");
        assert!(slots.iter().is_sorted() && slots.iter().all(|slot| slot < 1_024));
        assert!(Tag::everything().slots(SMALL).all(|slot| slots.iter().any(|one| one == slot)));
    }

    #[test]
    fn rows_and_what_is_shared_have_no_slot_in_common() {
        for number in 0..10_000 {
            let text = format!("t(id={number})");
            assert!(Tag::named(&text).slots(SMALL).all(|slot| slot < 128), "{text}");
            assert!(Tag::of_row(&text).slots(SMALL).all(|slot| (128..1_024).contains(&slot)), "{text}");
        }
    }

    #[test]
    fn an_entry_has_each_tag_once() {
        let tags: Tags = ["b", "a", "b"].map(Tag::named).into_iter().collect();
        assert_eq!(tags, ["a", "b"].map(Tag::named).into_iter().collect());
        assert_eq!(tags.len(), 2);
    }

    #[test]
    fn a_slot_count_is_a_power_of_two_within_bounds() {
        assert!([0, 1, 512, 1_000, 262_143, 8_388_608].iter().all(|count| SlotCount::new(*count).is_none()));
        assert_eq!(SlotCount::new(262_144), Some(SlotCount::DEFAULT));
    }
}
