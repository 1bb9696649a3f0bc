//! From the messages of the stream to committed transactions: what each changed, in commit order.

use std::collections::{BTreeMap, BTreeSet};

use cache_core::coherence::WriteId;

use super::{
    changed::{Changed, Extent, TABLES_MAX},
    lineage::Lineage,
    pgoutput::{self, Images, Malformed, Message},
    relation::Relation,
    templates::{Gained, TemplateSet},
};
use crate::{key::RowTagWriter, rest::TableId};

/// Relations that are remembered at most.
const RELATIONS_MAX: usize = TABLES_MAX;
/// Tags of rows in one transaction at most; what it changed beyond counts as whole tables. So a transaction is never held
/// as rows, however many it changed.
const TAGS_MAX: usize = 65_536;

/// A committed transaction, decoded to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) xid: u32,
    /// where its commit ends in the log
    pub(super) end: u64,
    /// by the server's clock, microseconds since 2000
    pub(super) committed_at: i64,
    pub(super) changed: Changed,
    /// what a proxy left in it
    pub(super) write: Option<WriteId>,
}

/// The transaction that is being decoded, and the relations met so far.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: Option<Open>,
    relations: BTreeMap<u32, Relation>,
    /// relations whose lineage is not known yet
    strangers: BTreeSet<u32>,
    templates: TemplateSet,
    writer: RowTagWriter,
}

#[derive(Debug)]
struct Open {
    xid: u32,
    changed: Changed,
    /// what it changed of each relation, under each of its names
    touched: BTreeMap<u32, Vec<Extent>>,
    /// tags of rows that it may still add
    room: usize,
    /// the last one counts: it is written after everything that a client's statement may have written
    write: Option<WriteId>,
}

impl Open {
    /// Moves what was noted of a relation to what changed.
    fn settle(&mut self, id: u32, relation: &Relation) {
        let extents = self.touched.remove(&id).unwrap_or_default();
        for (table, extent) in relation.tables().zip(extents) {
            self.changed.add(table.clone(), extent);
        }
    }
}

impl Transactions {
    /// A transaction begins.
    pub(super) fn begin(&mut self, xid: u32) {
        self.open =
            Some(Open { xid, changed: Changed::nothing(), touched: BTreeMap::new(), room: TAGS_MAX, write: None });
    }

    /// Whether a transaction began and has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A proxy's name of it.
    pub(super) fn sign(&mut self, write: WriteId) {
        if let Some(open) = &mut self.open {
            open.write = Some(write);
        }
    }

    /// A message inside it.
    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        match pgoutput::parse(bytes)? {
            Message::Relation { id, schema, name, definition } => {
                self.relation(id, TableId { schema: schema.into(), name: name.into() }, definition)
            }
            Message::Row { relation, images } => self.row(relation, images),
            Message::Truncate { relations } => relations.into_iter().try_for_each(|relation| self.whole(relation)),
            Message::Other => Ok(()),
        }
    }

    /// It changes definitions: whatever was read by the old ones may be another answer now.
    pub(super) fn redefined(&mut self) {
        if let Some(open) = &mut self.open {
            open.changed = Changed::Everything;
        }
    }

    /// It ends, committed. `None` if it never began, which the protocol rules out.
    pub(super) fn commit(&mut self, end: u64, committed_at: i64) -> Option<Commit> {
        let mut open = self.open.take()?;
        for id in open.touched.keys().copied().collect::<Vec<u32>>() {
            match self.relations.get(&id) {
                Some(relation) => open.settle(id, relation),
                None => open.changed = Changed::Everything,
            }
        }
        Some(Commit { xid: open.xid, end, committed_at, changed: open.changed, write: open.write })
    }

    /// Relations that turned up since the last call. Their [`lineage`](Self::lineage) is to be told before the next
    /// message, or their rows will not be announced under all their names.
    pub(super) fn strangers(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.strangers)
    }

    /// Where a relation stands among partitions.
    pub(super) fn lineage(&mut self, id: u32, lineage: Lineage) {
        let Some(relation) = self.relations.get_mut(&id) else { return };
        if let Some(open) = &mut self.open {
            open.settle(id, relation);
        }
        relation.place(lineage, &self.templates);
    }

    /// From now on these are the templates. What is noted of the open transaction lacks the tags of those that are new.
    pub(super) fn learn(&mut self, templates: TemplateSet, gained: &Gained) {
        self.templates = templates;
        for (id, relation) in &mut self.relations {
            relation.learn(&self.templates);
            if let Some(open) = &mut self.open {
                open.settle(*id, relation);
            }
        }
        if let Some(open) = &mut self.open {
            open.changed.coarsen(gained);
        }
    }

    /// The templates that it goes by.
    pub(super) fn templates(&self) -> &TemplateSet {
        &self.templates
    }

    fn relation(&mut self, id: u32, table: TableId, definition: &[u8]) -> Result<(), Malformed> {
        let before = self.relations.get(&id);
        if let (Some(known), Some(open)) = (before, &mut self.open) {
            open.settle(id, known);
            if *known.told != *definition {
                // Under its old names too: it may have been given another one.
                known.tables().for_each(|table| open.changed.add(table.clone(), Extent::Whole));
                open.changed.add(table.clone(), Extent::Whole);
            }
        }
        if self.relations.len() >= RELATIONS_MAX && before.is_none() {
            // The server says each name once and not again; whatever comes under a forgotten one is unknown.
            self.relations.clear();
        }
        self.relations.insert(id, Relation::new(table, definition, &self.templates)?);
        self.strangers.insert(id);
        Ok(())
    }

    fn row(&mut self, id: u32, images: Images<'_>) -> Result<(), Malformed> {
        let open = self.open.as_mut().ok_or(Malformed)?;
        let Some(relation) = self.relations.get(&id) else {
            open.changed = Changed::Everything;
            return Ok(());
        };
        let extents = open.touched.entry(id).or_insert_with(|| vec![Extent::rows(); relation.tables().len()]);
        relation.add_row(images, extents, &mut self.writer, &mut open.room)
    }

    fn whole(&mut self, id: u32) -> Result<(), Malformed> {
        let open = self.open.as_mut().ok_or(Malformed)?;
        match self.relations.get(&id) {
            Some(relation) => drop(open.touched.insert(id, vec![Extent::Whole; relation.tables().len()])),
            None => open.changed = Changed::Everything,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
