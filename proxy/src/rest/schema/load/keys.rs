//! The primary and unique keys of relations.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_postgres::{Client, Error};

use super::super::TableId;
use super::super::graph::Graph;
use super::super::relationship::Shown;
use super::names;

const KEYS: &str = "\
SELECT k.conrelid, k.contype = 'p', ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(num, pos) \
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.pos) \
FROM pg_constraint k WHERE k.contype IN ('p', 'u') ORDER BY k.conrelid, k.conname";

pub(super) type Keys = (Vec<Arc<str>>, Vec<Vec<Arc<str>>>);

pub(super) async fn load_keys(client: &Client) -> Result<BTreeMap<u32, Keys>, Error> {
    let mut keys: BTreeMap<u32, Keys> = BTreeMap::new();
    for row in client.query(KEYS, &[]).await? {
        let (primary, unique) = keys.entry(row.get(0)).or_default();
        if row.get(1) {
            *primary = names(&row, 2);
        } else {
            unique.push(names(&row, 2));
        }
    }
    Ok(keys)
}

/// A view has the primary key of a table if it shows all its columns; of several columns that show one, the first counts.
pub(super) fn keys_of_views(shown: &[Shown], graph: &Graph, keys: &mut BTreeMap<u32, Keys>) {
    let ids: BTreeMap<&TableId, u32> = graph.nodes.iter().map(|(oid, node)| (&node.id, *oid)).collect();
    let mut by_view: BTreeMap<&TableId, BTreeMap<&TableId, Vec<&Shown>>> = BTreeMap::new();
    for one in shown {
        by_view.entry(&one.view).or_default().entry(&one.table).or_default().push(one);
    }
    for (view, tables) in by_view {
        let Some(oid) = ids.get(view) else { continue };
        let mut primary = Vec::new();
        for (table, shown) in tables {
            let Some((key, _)) = ids.get(table).and_then(|oid| keys.get(oid)) else { continue };
            let show = |column: &Arc<str>| {
                shown.iter().find(|one| one.column == *column).map(|one| Arc::clone(&one.view_column))
            };
            primary.extend(key.iter().map(show).collect::<Option<Vec<_>>>().unwrap_or_default());
        }
        keys.entry(*oid).or_default().0 = primary;
    }
}
