//! The templates that the nodes read by, as far as a leader needs them: which tags to write for a row of which table.

use std::collections::{BTreeMap, BTreeSet};

use cache_core::template::Templates;

use crate::{key::RowTemplate, rest::TableId};

/// One edition of the templates, by table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TemplateSet {
    by_table: BTreeMap<TableId, BTreeSet<RowTemplate>>,
    understood: Understood,
}

/// Whether this release understands all templates there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Understood {
    #[default]
    All,
    /// A node of another release reads by templates that this one cannot write tags for, nor say of which tables they are.
    NotAll,
}

/// The tables of which one set has templates that another one does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gained {
    Tables(BTreeSet<TableId>),
    /// any
    All,
}

impl TemplateSet {
    /// Templates of which nothing is known: every change is one of the whole table.
    pub(super) fn unknown() -> Self {
        Self { by_table: BTreeMap::new(), understood: Understood::NotAll }
    }

    pub(super) fn of(templates: &Templates) -> Self {
        let mut set = Self::default();
        for template in &templates.known {
            match RowTemplate::parse(template) {
                Some(template) => drop(set.by_table.entry(template.table.clone()).or_default().insert(template)),
                None => set.understood = Understood::NotAll,
            }
        }
        set
    }

    /// The templates of a table; `None` if there may be some that are not understood.
    pub(super) fn of_table(&self, table: &TableId) -> Option<impl Iterator<Item = &RowTemplate>> {
        match self.understood {
            Understood::All => Some(self.by_table.get(table).into_iter().flatten()),
            Understood::NotAll => None,
        }
    }

    /// What this one has and `before` had not.
    pub(super) fn gained(&self, before: &Self) -> Gained {
        if self.understood == Understood::NotAll {
            return Gained::All;
        }
        let is_new = |(table, templates): &(&TableId, &BTreeSet<RowTemplate>)| {
            before.by_table.get(*table).is_none_or(|known| !templates.is_subset(known))
        };
        Gained::Tables(self.by_table.iter().filter(is_new).map(|(table, _)| table.clone()).collect())
    }
}

impl Gained {
    pub(super) fn has(&self, table: &TableId) -> bool {
        match self {
            Self::Tables(tables) => tables.contains(table),
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{
        coherence::Epoch,
        template::{Edition, Template},
    };

    use super::*;

    fn table(name: &str) -> TableId {
        TableId { schema: "s".into(), name: name.into() }
    }

    fn set(templates: &[(&str, &str)]) -> TemplateSet {
        let template = |(name, column): &(&str, &str)| {
            RowTemplate { table: table(name), columns: vec![crate::key::TemplateColumn::by_value(column, 23)] }
                .to_template()
        };
        let edition = Edition { epoch: Epoch::random(), version: 0 };
        TemplateSet::of(&Templates { edition, known: templates.iter().map(template).collect() })
    }

    #[test]
    fn only_what_is_new_is_gained() {
        let (one, two) = (set(&[("a", "id")]), set(&[("a", "id"), ("b", "id")]));
        assert_eq!(two.gained(&one), Gained::Tables(BTreeSet::from([table("b")])));
        assert_eq!(one.gained(&two), Gained::Tables(BTreeSet::new()), "a template that is gone asks for nothing");
        assert_eq!(set(&[("a", "id"), ("a", "x")]).gained(&one), Gained::Tables(BTreeSet::from([table("a")])));
        assert_eq!(two.of_table(&table("b")).map(Iterator::count), Some(1));
        assert_eq!(two.of_table(&table("c")).map(Iterator::count), Some(0));
    }

    #[test]
    fn a_template_of_another_release_may_be_about_any_table() {
        let edition = Edition { epoch: Epoch::random(), version: 1 };
        let foreign = Templates { edition, known: BTreeSet::from([Template::named("[9]")]) };
        let foreign = TemplateSet::of(&foreign);
        assert!(foreign.of_table(&table("a")).is_none());
        assert!(foreign.gained(&set(&[])).has(&table("a")));
    }
}
