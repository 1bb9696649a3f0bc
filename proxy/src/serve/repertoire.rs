//! The templates that this node reads by. Each costs whoever announces a little for every changed row of its table, so a table
//! gets a few and no more.

use std::collections::BTreeMap;

use cache_core::template::Template;
use parking_lot::Mutex;

use crate::{
    key::RowTemplate,
    rest::{Footprint, RowSet, TableId},
};

/// Templates of one table at most. What is asked in yet other ways carries the tag of any row.
const TEMPLATES_PER_TABLE_MAX: usize = 16;

/// First come, first served: what a table is asked for most is asked for early.
#[derive(Debug, Default)]
pub(super) struct Repertoire(Mutex<BTreeMap<TableId, BTreeMap<RowTemplate, Template>>>);

impl Repertoire {
    /// As much of the footprint as there is room for, and its templates.
    pub(super) fn admit(&self, footprint: Footprint) -> (Footprint, Box<[Template]>) {
        if footprint.tables().next().is_none() {
            return (footprint, Box::default());
        }
        let mut tables = self.0.lock();
        let mut all = Vec::new();
        // A partition has no rows of its own in a footprint: where that of its parent finds no room, the parent's tag of
        // any row stands for those of the partitions.
        for (table, rows) in footprint.tables().filter(|(_, rows)| !rows.is_empty()) {
            let known = tables.entry(table.clone()).or_default();
            let wanted: Vec<RowTemplate> = rows.iter().map(|set| RowTemplate::of(table, set)).collect();
            let new = wanted.iter().filter(|template| !known.contains_key(template)).count();
            if known.len() + new > TEMPLATES_PER_TABLE_MAX {
                continue;
            }
            for template in wanted {
                let name = template.to_template();
                all.push(known.entry(template).or_insert(name).clone());
            }
        }
        all.sort();
        all.dedup();
        let has_room = |table: &TableId, rows: &[RowSet]| {
            let known = tables.get(table);
            rows.iter().all(|set| known.is_some_and(|known| known.contains_key(&RowTemplate::of(table, set))))
        };
        (footprint.keeping(has_room), all.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::Equality;

    fn footprint(column: usize) -> Footprint {
        let table = TableId { schema: "s".into(), name: "t".into() };
        let columns = vec![(format!("c{column}").into(), Equality::Integer)];
        Footprint::from_iter([(table, vec![RowSet { columns, tuples: vec![vec![Some("1".into())]] }])])
    }

    #[test]
    fn a_table_has_so_many_templates_and_no_more() {
        let repertoire = Repertoire::default();
        for column in 0..TEMPLATES_PER_TABLE_MAX {
            let (kept, templates) = repertoire.admit(footprint(column));
            assert_eq!((kept, templates.len()), (footprint(column), 1));
        }
        let (kept, templates) = repertoire.admit(footprint(TEMPLATES_PER_TABLE_MAX));
        assert_eq!((kept, templates.len()), (Footprint::default(), 0), "any row, then");
        assert_eq!(repertoire.admit(footprint(3)).1.len(), 1, "those that are known go on");
    }
}
