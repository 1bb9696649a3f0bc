//! Pages: answers that depend on the rows up to their own last one.
//!
//! The first 20 rows of `id=gte.1000&order=id` are the same until a row changes whose `id` is from 1000 to that of the twentieth:
//! whatever comes, goes or changes behind it is not seen, and before it there is nothing. Whether further filters hold makes
//! no difference, nor do rows that an offset passes over. Which row is the last is known when the answer is there; so the page
//! is asked for it, and the template is registered before.

use std::sync::Arc;

use super::interval::{Grain, Interval};
use super::{Facet, RowSet, bucket_set};
use crate::rest::ast::Direction;
use crate::rest::schema::{Equality, TableId};

/// A page of a table's rows in the order of one column of integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// the table
    pub table: TableId,
    /// the column that comes first in the order, told apart by buckets
    pub facet: Facet,
    pub(super) interval: Interval,
    pub(super) direction: Direction,
    /// how many rows a full page has
    pub(super) rows: i128,
}

impl Page {
    /// `None` if buckets of its grain would not cover what can be known of it.
    pub(super) fn new(
        table: TableId,
        (column, equality): (&Arc<str>, Equality),
        interval: Interval,
        direction: Direction,
        rows: i128,
    ) -> Option<Self> {
        let facet = Facet { name: column.clone(), equality, grain: Grain::of_page(rows)? };
        // Where it begins has to be known, and below zero is one bucket.
        let has_begin = direction == Direction::Ascending || interval.last < i64::MAX;
        (has_begin && rows > 0).then_some(Self { table, facet, interval, direction, rows })
    }

    /// The rows that an answer depends on that has so many rows, the last one with this value. `None` if any row matters.
    #[must_use]
    pub fn rows(&self, count: i64, end: Option<i64>) -> Option<RowSet> {
        // Only a full page hides what comes behind it.
        let seen = match (self.direction, end.filter(|_| i128::from(count) >= self.rows)) {
            (Direction::Ascending, Some(last)) => Interval { last, ..Interval::ALL },
            (Direction::Descending, Some(first)) => Interval { first, ..Interval::ALL },
            (_, None) => Interval::ALL,
        };
        bucket_set(&self.facet, self.interval.intersect(seen))
    }

    /// The aggregate that finds its end among its rows.
    pub(in crate::rest) fn furthest(&self) -> &'static str {
        match self.direction {
            Direction::Ascending => "max",
            Direction::Descending => "min",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(interval: Interval, direction: Direction) -> Option<Page> {
        let table = TableId { schema: "s".into(), name: "t".into() };
        Page::new(table, (&"id".into(), Equality::Integer), interval, direction, 20)
    }

    fn buckets(page: Option<Page>, count: i64, end: Option<i64>) -> Option<Vec<String>> {
        let rows = page?.rows(count, end)?;
        Some(rows.tuples.iter().map(|tuple| tuple[0].as_deref().unwrap().to_owned()).collect())
    }

    #[test]
    fn a_full_page_depends_on_what_is_before_its_end() {
        let from = Interval { first: 100, ..Interval::ALL };
        let to = Interval { last: 100, ..Interval::ALL };
        assert_eq!(
            buckets(page(from, Direction::Ascending), 20, Some(130)),
            Some(vec!["6".into(), "7".into(), "8".into()])
        );
        assert_eq!(
            buckets(page(to, Direction::Descending), 20, Some(79)),
            Some(vec!["4".into(), "5".into(), "6".into()])
        );
        assert_eq!(
            buckets(page(to, Direction::Ascending), 20, Some(19)),
            Some(vec!["-1".into(), "0".into(), "1".into()])
        );
        assert!(page(from, Direction::Descending).is_none(), "new rows come before it");
    }

    #[test]
    fn behind_a_page_that_is_not_full_anything_may_come() {
        let from = Interval { first: 100, ..Interval::ALL };
        assert_eq!(buckets(page(from, Direction::Ascending), 19, Some(130)), None);
        assert_eq!(buckets(page(from, Direction::Ascending), 0, None), None);
        assert_eq!(buckets(page(from, Direction::Ascending), 20, None), None, "nobody said where it ends");
        let between = Interval { first: 100, last: 150 };
        assert_eq!(buckets(page(between, Direction::Ascending), 3, Some(102)).map(|all| all.len()), Some(4));
    }

    #[test]
    fn a_page_of_rows_that_are_far_apart_depends_on_any() {
        let from = Interval { first: 100, ..Interval::ALL };
        assert_eq!(buckets(page(from, Direction::Ascending), 20, Some(10_000)), None);
    }
}
