//! From the messages of the stream to committed transactions: which tables each changed, in commit order.

use std::collections::{BTreeMap, BTreeSet};

use super::pgoutput::{self, Malformed, Message};
use crate::rest::TableId;

/// Tables that one transaction may change before it counts as having changed everything. Also the bound of what is
/// remembered of relations' names.
const TABLES_MAX: usize = 4_096;

/// What a transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Changed {
    /// these tables; rows, or the whole table
    Tables(BTreeMap<TableId, Extent>),
    /// too much to tell
    Everything,
}

/// How much of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// rows
    Rows,
    /// it was truncated, or is not defined as it was
    Whole,
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
        let before = tables.entry(table).or_insert(extent);
        *before = extent.max(*before);
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
}

/// A committed transaction, decoded to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) xid: u32,
    /// where its commit ends in the log
    pub(super) end: u64,
    /// by the server's clock, microseconds since 2000
    pub(super) committed_at: i64,
    pub(super) changed: Changed,
}

/// The transaction that is being decoded, and the relations met so far.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: Option<Open>,
    relations: BTreeMap<u32, Known>,
    /// relations whose ancestors are not known yet
    strangers: BTreeSet<u32>,
}

#[derive(Debug)]
struct Open {
    xid: u32,
    changed: Changed,
    /// what it changed, by id: most transactions change the same relation again and again
    seen: BTreeSet<(u32, Extent)>,
}

#[derive(Debug)]
struct Known {
    table: TableId,
    definition: Box<[u8]>,
    /// the partitioned tables it is a part of: whoever reads them may not know of a partition that is newer
    ancestors: Vec<TableId>,
}

impl Transactions {
    /// A transaction begins.
    pub(super) fn begin(&mut self, xid: u32) {
        self.open = Some(Open { xid, changed: Changed::nothing(), seen: BTreeSet::new() });
    }

    /// Whether a transaction began and has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A message inside it.
    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        match pgoutput::parse(bytes)? {
            Message::Relation { id, schema, name, definition } => {
                self.relation(id, TableId { schema: schema.into(), name: name.into() }, definition);
            }
            Message::Row { relation } => self.changed(relation, Extent::Rows)?,
            Message::Truncate { relations } => {
                relations.into_iter().try_for_each(|relation| self.changed(relation, Extent::Whole))?;
            }
            Message::Other => {}
        }
        Ok(())
    }

    /// It changes definitions: whatever was read by the old ones may be another answer now.
    pub(super) fn redefined(&mut self) {
        if let Some(open) = &mut self.open {
            open.changed = Changed::Everything;
        }
    }

    /// It ends, committed. `None` if it never began, which the protocol rules out.
    pub(super) fn commit(&mut self, end: u64, committed_at: i64) -> Option<Commit> {
        let Open { xid, mut changed, seen } = self.open.take()?;
        for (id, extent) in seen {
            let Some(known) = self.relations.get(&id) else {
                changed = Changed::Everything;
                break;
            };
            std::iter::once(&known.table).chain(&known.ancestors).for_each(|table| changed.add(table.clone(), extent));
        }
        Some(Commit { xid, end, committed_at, changed })
    }

    /// Relations that turned up since the last call. Their [`ancestors`](Self::ancestors) are to be told before the next
    /// commit, or it will not name them.
    pub(super) fn strangers(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.strangers)
    }

    /// The partitioned tables that a relation is a part of.
    pub(super) fn ancestors(&mut self, relation: u32, ancestors: Vec<TableId>) {
        if let Some(known) = self.relations.get_mut(&relation) {
            known.ancestors = ancestors;
        }
    }

    fn relation(&mut self, id: u32, table: TableId, definition: &[u8]) {
        let before = self.relations.get(&id);
        if let (Some(known), Some(open)) = (before, &mut self.open)
            && *known.definition != *definition
        {
            // Under its old name too: it may have been given another one.
            open.changed.add(known.table.clone(), Extent::Whole);
            open.seen.insert((id, Extent::Whole));
        }
        if self.relations.len() >= TABLES_MAX && before.is_none() {
            // The server says each name once and not again; whatever comes under a forgotten one is unknown.
            self.relations.clear();
        }
        self.relations.insert(id, Known { table, definition: definition.into(), ancestors: Vec::new() });
        self.strangers.insert(id);
    }

    fn changed(&mut self, relation: u32, extent: Extent) -> Result<(), Malformed> {
        let open = self.open.as_mut().ok_or(Malformed)?;
        if self.relations.contains_key(&relation) {
            open.seen.insert((relation, extent));
        } else {
            open.changed = Changed::Everything;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(id: u8, name: &str, definition: u8) -> Vec<u8> {
        [b"R\0\0\0", &[id][..], b"s\0", name.as_bytes(), &[0, b'd', definition]].concat()
    }

    fn row(id: u8) -> Vec<u8> {
        vec![b'I', 0, 0, 0, id, b'N']
    }

    fn table(name: &str) -> TableId {
        TableId { schema: "s".into(), name: name.into() }
    }

    fn changes(transactions: &mut Transactions, messages: &[Vec<u8>]) -> Vec<(String, Extent)> {
        transactions.begin(7);
        messages.iter().for_each(|message| transactions.message(message).expect("well formed"));
        match transactions.commit(100, 0).expect("it began").changed {
            Changed::Everything => vec![("everything".to_owned(), Extent::Whole)],
            Changed::Tables(tables) => tables.into_iter().map(|(table, extent)| (table.to_string(), extent)).collect(),
        }
    }

    #[test]
    fn a_transaction_names_each_table_once() {
        let mut transactions = Transactions::default();
        let messages = [relation(1, "a", 0), row(1), row(1), relation(2, "b", 0), row(2), row(1)];
        let expected = [("s.a".to_owned(), Extent::Rows), ("s.b".to_owned(), Extent::Rows)];
        assert_eq!(changes(&mut transactions, &messages), expected);
        assert_eq!(changes(&mut transactions, &[row(2)]), expected[1..], "the name is said once per session");
        assert_eq!(changes(&mut transactions, &[]), []);
    }

    #[test]
    fn truncated_and_redefined_tables_changed_as_a_whole() {
        let mut transactions = Transactions::default();
        let truncate = vec![b'T', 0, 0, 0, 1, 0, 0, 0, 0, 1];
        assert_eq!(changes(&mut transactions, &[relation(1, "a", 0), truncate]), [("s.a".to_owned(), Extent::Whole)]);
        assert_eq!(changes(&mut transactions, &[relation(1, "a", 0), row(1)]), [("s.a".to_owned(), Extent::Rows)]);
        assert_eq!(changes(&mut transactions, &[relation(1, "a", 9), row(1)]), [("s.a".to_owned(), Extent::Whole)]);
    }

    #[test]
    fn a_partition_changes_its_ancestors_too() {
        let mut transactions = Transactions::default();
        transactions.begin(7);
        transactions.message(&relation(1, "leaf", 0)).expect("well formed");
        assert_eq!(transactions.strangers(), BTreeSet::from([1]));
        transactions.ancestors(1, vec![table("parent")]);
        let names = changes(&mut transactions, &[row(1)]);
        assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["s.leaf", "s.parent"]);
        assert!(transactions.strangers().is_empty());
    }

    #[test]
    fn a_changed_definition_is_announced_as_everything_with_its_commit() {
        let mut transactions = Transactions::default();
        transactions.redefined();
        assert!(!transactions.is_open(), "outside a transaction it means nothing");
        transactions.begin(7);
        transactions.message(&relation(1, "a", 0)).expect("well formed");
        transactions.redefined();
        transactions.message(&row(1)).expect("well formed");
        assert_eq!(transactions.commit(100, 0).expect("it began").changed, Changed::Everything);
    }

    #[test]
    fn what_has_no_name_or_no_bound_counts_as_everything() {
        let mut transactions = Transactions::default();
        assert_eq!(changes(&mut transactions, &[row(9)])[0].0, "everything");
        let mut changed = Changed::nothing();
        (0..=TABLES_MAX).for_each(|number| changed.add(table(&number.to_string()), Extent::Rows));
        assert_eq!(changed, Changed::Everything);
    }
}
