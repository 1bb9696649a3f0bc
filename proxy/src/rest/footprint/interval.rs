//! Intervals of integers, and the buckets that cover them.
//!
//! A change of a row whose `id` is 1234 concerns every answer to an interval with 1234 in it, of which there may be millions.
//! So the numbers are cut into buckets of a fixed width: the row is in one of them, and an interval is covered by a few. The
//! grains are few and far apart, because each that is in use costs whoever announces a tag per row.

use std::ops::RangeInclusive;

/// How finely the values of a column are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grain {
    /// each by itself
    Value,
    /// integers, by which of the buckets of `2^bits` numbers they are in. All below zero are in one: keys seldom are, and so an
    /// interval that only ends is covered too.
    Bucket { bits: u8 },
}

/// Bits of the widest bucket that anybody may ask for.
const BITS_MAX: u8 = 62;
/// The widths of buckets that are asked for.
const GRAINS: [u8; 5] = [4, 8, 12, 16, 20];
/// Buckets that cover an interval at most.
const BUCKETS_MAX: i64 = 16;
/// The bucket of all that is below zero.
const BELOW_ZERO: i64 = -1;
/// How much wider than its rows a page is expected to be at most, in numbers that are no rows.
const SPARSENESS: i128 = 8;

impl Grain {
    /// That of buckets of `2^bits`, unless there are none such.
    #[must_use]
    pub fn of_bits(bits: u8) -> Option<Self> {
        (1..=BITS_MAX).contains(&bits).then_some(Self::Bucket { bits })
    }

    /// The bits of its buckets, if it has any.
    #[must_use]
    pub fn bits(self) -> Option<u8> {
        match self {
            Self::Value => None,
            Self::Bucket { bits } => Some(bits),
        }
    }

    /// The grain by which a page of so many rows is likely to be covered.
    pub(super) fn of_page(rows: i128) -> Option<Self> {
        let fits = |bits: &&u8| rows.saturating_mul(SPARSENESS) <= i128::from(BUCKETS_MAX) << **bits;
        GRAINS.iter().find(fits).map(|bits| Self::Bucket { bits: *bits })
    }
}

/// In which bucket of `2^bits` numbers this one is.
#[must_use]
pub fn bucket(number: i64, bits: u8) -> i64 {
    (number >> bits.min(BITS_MAX)).max(BELOW_ZERO)
}

/// The integers from `first` to `last`, both included; none if `last` is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Interval {
    pub(super) const ALL: Self = Self { first: i64::MIN, last: i64::MAX };

    pub(super) fn intersect(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    /// The numbers of the buckets of this grain that cover it; `None` if they are too many.
    pub(super) fn buckets(self, grain: Grain) -> Option<RangeInclusive<i64>> {
        let bits = grain.bits()?;
        let (first, last) = (bucket(self.first, bits), bucket(self.last, bits));
        (last.saturating_sub(first) < BUCKETS_MAX).then_some(first..=last)
    }

    /// The finest grain whose buckets cover it.
    pub(super) fn grain(self) -> Option<Grain> {
        let covers = |grain: &Grain| self.buckets(*grain).is_some();
        GRAINS.iter().map(|bits| Grain::Bucket { bits: *bits }).find(covers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covered(first: i64, last: i64) -> Option<(u8, RangeInclusive<i64>)> {
        let interval = Interval { first, last };
        let grain = interval.grain()?;
        Some((grain.bits()?, interval.buckets(grain)?))
    }

    #[test]
    fn an_interval_is_covered_by_a_few_buckets_as_fine_as_can_be() {
        assert_eq!(covered(20, 39), Some((4, 1..=2)));
        assert_eq!(covered(0, 255), Some((4, 0..=15)));
        assert_eq!(covered(0, 256), Some((8, 0..=1)));
        assert_eq!(covered(i64::MIN, 19), Some((4, -1..=1)), "it has no beginning");
        assert_eq!(covered(-900, -100), Some((4, -1..=-1)));
        assert_eq!(covered(7, i64::MAX), None, "it has no end");
        assert_eq!(covered(i64::MIN, i64::MAX), None);
        assert_eq!(covered(0, 16 << 20), None, "wider than anybody would call exact");
    }

    #[test]
    fn a_page_has_room_for_numbers_that_are_no_rows() {
        let bits = |rows| Grain::of_page(rows).and_then(Grain::bits);
        assert_eq!([1, 32, 33, 500, 1_000].map(bits), [Some(4), Some(4), Some(8), Some(8), Some(12)]);
        assert_eq!(bits(i128::MAX), None);
    }

    proptest! {
        /// A number is in the interval's buckets if it is in the interval.
        #[test]
        fn whatever_is_in_an_interval_is_in_its_buckets(
            first in any::<i64>(),
            width in 0_i64..1 << 24,
            at in 0_i64..1 << 24,
        ) {
            let interval = Interval { first, last: first.saturating_add(width) };
            let number = first.saturating_add(at.min(width));
            for bits in GRAINS {
                if let Some(buckets) = interval.buckets(Grain::Bucket { bits }) {
                    prop_assert!(buckets.contains(&bucket(number, bits)));
                    prop_assert!(buckets.count() <= 16);
                }
            }
        }
    }
}
