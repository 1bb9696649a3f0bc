//! From what was recorded to what changed.

use std::collections::BTreeMap;

use super::{coverage::Kin, outbox::Record};
use crate::{
    feed::transactions::{Changed, Extent},
    rest::TableId,
};

/// What these statements changed. Who writes to a table that has parts changes rows of theirs, and who writes to a part
/// changes rows of the whole.
pub(super) fn changes(records: Vec<Record>, kin: &Kin) -> Changed {
    let mut tables: BTreeMap<TableId, Extent> = BTreeMap::new();
    for Record { schema, table, images, .. } in records {
        let extent = if images.is_some() { Extent::Rows } else { Extent::Whole };
        let before = tables.entry(TableId { schema: schema.into(), name: table.into() }).or_insert(extent);
        *before = extent.max(*before);
    }
    let mut changed = Changed::nothing();
    for (table, extent) in tables {
        kin.of(&table).for_each(|kin| changed.add(kin.clone(), extent));
        changed.add(table, extent);
    }
    changed
}
