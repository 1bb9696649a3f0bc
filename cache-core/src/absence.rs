//! What is not there: of all rows of a table, read at once, a filter by their tags.
//!
//! A row whose tag is not in the filter was not there when the rows were read. That is what an entry says that was filled with
//! nothing, and it is as true for as long: until the tag is announced. So it is judged as such an entry would be, by a ticket that was
//! taken before the rows were read (C1), and nothing has to be told to the filter when a row comes.

use crate::tag::Tag;

/// Bits for each tag: with these, one of a hundred that are not there is taken for one that is.
const BITS_PER_TAG: usize = 10;
/// Bits that each tag sets.
const PROBES: u32 = 7;

/// A Bloom filter of tags (Bloom 1970). Immutable: it is made anew from what is read anew.
#[derive(Debug, Clone)]
pub struct TagFilter(Box<[u64]>);

impl TagFilter {
    /// A filter of these tags.
    #[must_use]
    pub fn of(tags: &[Tag]) -> Self {
        let words = (tags.len() * BITS_PER_TAG).div_ceil(64).max(1);
        let mut filter = Self(vec![0; words].into());
        for tag in tags {
            for place in filter.places(*tag) {
                filter.0[place / 64] |= 1 << (place % 64);
            }
        }
        filter
    }

    /// `false` only if the tag is certainly none of them.
    #[must_use]
    pub fn may_have(&self, tag: Tag) -> bool {
        self.places(tag).all(|place| self.0[place / 64] & (1 << (place % 64)) != 0)
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len() * 8
    }

    /// The bits of a tag; not necessarily different ones.
    fn places(&self, tag: Tag) -> impl Iterator<Item = usize> + use<> {
        let size = self.0.len() as u64 * 64;
        // Two hashes make any number of them (Kirsch and Mitzenmacher 2006).
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the hash")]
        let (start, step) = (tag.as_u64() as u32, (tag.as_u64() >> 32) as u32 | 1);
        (0..PROBES).scan(start, move |hash, _| {
            // The upper half of the product is less than `size`.
            let place = usize::try_from((u64::from(*hash) * size) >> 32).expect("less than the size of a slice");
            *hash = hash.wrapping_add(step);
            Some(place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(word: &str, count: usize) -> Vec<Tag> {
        (0..count).map(|number| Tag::of_row(&format!("public.t({word}={number})"))).collect()
    }

    #[test]
    fn what_is_there_is_never_missed_and_little_else_is_found() {
        let there = tags("id", 50_000);
        let filter = TagFilter::of(&there);
        assert!(there.iter().all(|tag| filter.may_have(*tag)));
        let mistaken = tags("other", 50_000).iter().filter(|tag| filter.may_have(**tag)).count();
        assert!(mistaken < 750, "{mistaken} of 50000");
        assert_eq!(filter.bytes(), 62_504);
    }

    #[test]
    fn of_nothing_nothing_is_there() {
        let filter = TagFilter::of(&[]);
        assert!(tags("id", 100).iter().all(|tag| !filter.may_have(*tag)));
    }
}
