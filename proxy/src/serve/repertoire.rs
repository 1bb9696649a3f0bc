//! The templates that this node reads by. Each costs whoever announces a little for every changed row of its table, so a table
//! gets a few and no more.

use std::collections::{BTreeMap, BTreeSet};

use cache_core::template::Template;
use parking_lot::Mutex;

use crate::{
    key::RowTemplate,
    rest::{Footprint, RowSet, TableId},
};

/// Templates of one table at most. What is asked in yet other ways carries the tag of any row.
const TEMPLATES_PER_TABLE_MAX: usize = 16;

/// Those of several columns come in many combinations, and leave room for those of one: keys and foreign keys.
const COMBINATIONS_PER_TABLE_MAX: usize = 8;

fn limit(template: &RowTemplate) -> usize {
    if template.columns.len() == 1 { TEMPLATES_PER_TABLE_MAX } else { COMBINATIONS_PER_TABLE_MAX }
}

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
        let (mut all, mut refused) = (Vec::new(), BTreeSet::new());
        // A partition has no rows of its own in a footprint: where that of its parent finds no room, the parent's tag of
        // any row stands for those of the partitions.
        for (table, rows) in footprint.tables() {
            let wanted = templates(&footprint, table, rows);
            if wanted.is_empty() {
                continue;
            }
            let known = tables.entry(table.clone()).or_default();
            let mut new = wanted.iter().filter(|template| !known.contains_key(template)).enumerate();
            if new.any(|(number, template)| known.len() + number >= limit(template)) {
                refused.insert(table.clone());
                continue;
            }
            for template in wanted {
                let name = template.to_template();
                all.push(known.entry(template).or_insert(name).clone());
            }
        }
        all.sort();
        all.dedup();
        (footprint.keeping(|table| !refused.contains(table)), all.into())
    }
}

/// The templates that the rows of a table ask for.
fn templates(footprint: &Footprint, table: &TableId, rows: &[RowSet]) -> Vec<RowTemplate> {
    let of_page = footprint.page().filter(|page| page.table == *table).map(|page| std::slice::from_ref(&page.facet));
    let columns = rows.iter().map(|set| set.columns.as_slice()).chain(of_page);
    columns.map(|columns| RowTemplate::of(table, columns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::{Equality, Facet, Grain};

    fn footprint(columns: &[String]) -> Footprint {
        let table = TableId { schema: "s".into(), name: "t".into() };
        let tuples = vec![columns.iter().map(|_| Some("1".into())).collect()];
        let facet =
            |name: &String| Facet { name: name.as_str().into(), equality: Equality::Integer, grain: Grain::Value };
        let columns = columns.iter().map(facet).collect();
        Footprint::from_iter([(table, vec![RowSet { columns, tuples }])])
    }

    fn columns(number: usize, count: usize) -> Vec<String> {
        (0..count).map(|place| format!("c{number}_{place}")).collect()
    }

    #[test]
    fn a_table_has_so_many_templates_and_no_more() {
        let repertoire = Repertoire::default();
        let admitted = |columns: &[String]| {
            let (kept, templates) = repertoire.admit(footprint(columns));
            assert!(kept == footprint(columns) && templates.len() == 1 || kept == Footprint::default());
            templates.len() == 1
        };
        let pairs = (0..TEMPLATES_PER_TABLE_MAX).filter(|number| admitted(&columns(*number, 2))).count();
        assert_eq!(pairs, COMBINATIONS_PER_TABLE_MAX, "any row, then");
        let single = (0..TEMPLATES_PER_TABLE_MAX).filter(|number| admitted(&columns(*number, 1))).count();
        assert_eq!(pairs + single, TEMPLATES_PER_TABLE_MAX);
        assert!(admitted(&columns(3, 2)), "those that are known go on");
    }
}
