//! What committed transactions changed.

use std::collections::{BTreeMap, BTreeSet};

use cache_core::tag::Tag;

use super::templates::Gained;
use crate::{key, rest::TableId};

/// Tables that one transaction may change before it counts as having changed everything.
pub(super) const TABLES_MAX: usize = 4_096;

/// What a transaction changed, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Changed {
    /// these tables
    Tables(BTreeMap<TableId, Extent>),
    /// too much to tell
    Everything,
}

/// How much of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extent {
    /// rows, with the tags that they have by the templates that are known
    Rows(BTreeSet<Tag>),
    /// it was truncated, is not defined as it was, or which rows changed cannot be told
    Whole,
}

impl Extent {
    /// Rows that no template is about.
    pub(super) fn rows() -> Self {
        Self::Rows(BTreeSet::new())
    }

    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Rows(tags), Self::Rows(more)) => tags.extend(more),
            (whole, Self::Whole) => *whole = Self::Whole,
            (Self::Whole, Self::Rows(_)) => {}
        }
    }

    fn tags(&self) -> usize {
        match self {
            Self::Rows(tags) => tags.len(),
            Self::Whole => 0,
        }
    }
}

impl Changed {
    pub(super) fn nothing() -> Self {
        Self::Tables(BTreeMap::new())
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Tables(tables) if tables.is_empty())
    }

    /// Adds a table.
    pub(super) fn add(&mut self, table: TableId, extent: Extent) {
        let Self::Tables(tables) = self else { return };
        tables.entry(table).or_insert_with(Extent::rows).merge(extent);
        if tables.len() > TABLES_MAX {
            *self = Self::Everything;
        }
    }

    /// Adds everything that another one changed.
    pub(super) fn merge(&mut self, other: Self) {
        match other {
            Self::Everything => *self = Self::Everything,
            Self::Tables(tables) => tables.into_iter().for_each(|(table, extent)| self.add(table, extent)),
        }
    }

    /// How many tags of rows it holds.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Tables(tables) => tables.values().map(Extent::tags).sum(),
            Self::Everything => 0,
        }
    }

    /// Forgets which rows of these tables changed: there are templates by which their tags were not written.
    pub(super) fn coarsen(&mut self, gained: &Gained) {
        let Self::Tables(tables) = self else { return };
        for (_, extent) in tables.iter_mut().filter(|(table, _)| gained.has(table)) {
            *extent = Extent::Whole;
        }
    }

    /// What is announced of it.
    pub(super) fn tags(&self) -> Vec<Tag> {
        let Self::Tables(tables) = self else { return vec![Tag::everything()] };
        let mut all = Vec::with_capacity(tables.len() + self.size());
        for (table, extent) in tables {
            match extent {
                Extent::Rows(tags) => {
                    all.push(key::any_row(table));
                    all.extend(tags);
                }
                Extent::Whole => all.push(key::whole_table(table)),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> TableId {
        TableId { schema: "s".into(), name: name.into() }
    }

    fn rows(tags: &[&str]) -> Extent {
        Extent::Rows(tags.iter().map(|tag| Tag::named(tag)).collect())
    }

    #[test]
    fn rows_add_up_and_a_whole_table_holds_them_all() {
        let mut changed = Changed::nothing();
        changed.add(table("a"), rows(&["s.a(id=1)"]));
        changed.add(table("a"), rows(&["s.a(id=2)"]));
        let expected = ["s.a(*)", "s.a(id=1)", "s.a(id=2)"].map(Tag::named);
        assert_eq!(BTreeSet::from_iter(changed.tags()), BTreeSet::from(expected));
        changed.add(table("a"), Extent::Whole);
        changed.add(table("a"), rows(&["s.a(id=3)"]));
        assert_eq!(changed.tags(), [Tag::named("s.a(all)")]);
    }

    #[test]
    fn what_has_no_bound_counts_as_everything() {
        let mut changed = Changed::nothing();
        (0..=TABLES_MAX).for_each(|number| changed.add(table(&number.to_string()), Extent::rows()));
        assert_eq!(changed, Changed::Everything);
        assert_eq!(changed.tags(), [Tag::everything()]);
    }

    #[test]
    fn a_table_with_new_templates_changed_as_a_whole() {
        let mut changed = Changed::nothing();
        changed.add(table("a"), rows(&["s.a(id=1)"]));
        changed.add(table("b"), rows(&["s.b(id=1)"]));
        changed.coarsen(&Gained::Tables(BTreeSet::from([table("a"), table("c")])));
        assert_eq!(changed.tags(), ["s.a(all)", "s.b(*)", "s.b(id=1)"].map(Tag::named));
    }
}
