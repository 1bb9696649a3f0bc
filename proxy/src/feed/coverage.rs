//! Which tables the feed covers: what their entries may promise depends on it.
//!
//! A table is covered if every change of it appears in the publication: all four kinds of change, no row filter, under the
//! table's own name. What is read from any other table is not stored while a feed runs.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use cache_core::cache::TwoTier;
use tokio_postgres::Client;

use super::PUBLICATION;
use crate::{reply::StoredResponse, rest::TableId};

/// The tables that are covered, as of one version of the publication.
#[derive(Debug, Default)]
pub struct Coverage {
    version: String,
    tables: Covered,
    /// counts the changes on this node
    generation: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Covered {
    /// no feed is promised, so none is missed; or it has not begun, and without it no lease is granted
    #[default]
    NoFeed,
    Tables(BTreeMap<TableId, Detail>),
}

/// How much the stream tells of a table's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// which rows
    Rows,
    /// that there are some: it publishes only some columns, or rows of partitions under the root's name, whose key need
    /// not be theirs
    Table,
}

/// Names the state of the publication: it differs whenever a row in the catalogs about it does, also if that was changed
/// and changed back. Transactions write these rows, so the ids of the writers tell.
pub(super) const VERSION_SQL: &str = "\
(SELECT md5(concat_ws(' ', \
(SELECT string_agg(concat(p.oid, ':', p.xmin), ' ') FROM pg_catalog.pg_publication p WHERE p.pubname = 'transom'), \
(SELECT string_agg(concat(r.oid, ':', r.xmin), ' ' ORDER BY r.oid) FROM pg_catalog.pg_publication_rel r \
JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = 'transom'), \
(SELECT string_agg(concat(s.oid, ':', s.xmin), ' ' ORDER BY s.oid) FROM pg_catalog.pg_publication_namespace s \
JOIN pg_catalog.pg_publication p ON p.oid = s.pnpubid WHERE p.pubname = 'transom'))))";

/// Schema and name of every covered table, and whether the stream tells which rows of it change. Under `publish_via_partition_root` partitions go by their root's name.
///
/// Each set is made once and looked up for each table: a database may have thousands.
const TABLES_SQL: &str = "\
WITH publication AS (SELECT p.* FROM pg_catalog.pg_publication p \
WHERE p.pubname = $1 AND p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate), \
named AS (SELECT r.prrelid, r.prattrs IS NOT NULL AS narrowed, r.prqual IS NULL AS whole \
FROM pg_catalog.pg_publication_rel r JOIN publication p ON p.oid = r.prpubid), \
narrowed AS (SELECT r.prrelid AS relid FROM named r WHERE r.narrowed \
UNION SELECT a.relid::oid FROM named r CROSS JOIN LATERAL pg_catalog.pg_partition_ancestors(r.prrelid) a WHERE r.narrowed \
UNION SELECT t.relid::oid FROM named r CROSS JOIN LATERAL pg_catalog.pg_partition_tree(r.prrelid) t WHERE r.narrowed), \
published AS (SELECT r.prrelid AS relid FROM named r WHERE r.whole \
UNION SELECT k.oid FROM pg_catalog.pg_class k JOIN pg_catalog.pg_publication_namespace s ON s.pnnspid = k.relnamespace \
JOIN publication p ON p.oid = s.pnpubid WHERE k.relkind IN ('r', 'p')), \
covered AS (SELECT o.relid FROM published o \
UNION SELECT t.relid::oid FROM published o JOIN pg_catalog.pg_class k ON k.oid = o.relid AND k.relkind = 'p' \
CROSS JOIN LATERAL pg_catalog.pg_partition_tree(k.oid) t) \
SELECT n.nspname::text, c.relname::text, \
NOT (p.pubviaroot AND c.relkind = 'p') AND c.oid NOT IN (SELECT w.relid FROM narrowed w) \
FROM publication p JOIN pg_catalog.pg_class c ON c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384 \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
WHERE NOT (p.pubviaroot AND c.relispartition) AND (p.puballtables OR c.oid IN (SELECT v.relid FROM covered v))";

impl Coverage {
    /// Reads the version and the tables, in this order: what changes in between has another version by the time it counts.
    ///
    /// # Errors
    /// If Postgres refuses.
    pub async fn load(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let version = version(client).await?;
        let rows = client.query(TABLES_SQL, &[&PUBLICATION]).await?;
        let table = |row: &tokio_postgres::Row| {
            let id = TableId { schema: row.get::<_, &str>(0).into(), name: row.get::<_, &str>(1).into() };
            (id, if row.get(2) { Detail::Rows } else { Detail::Table })
        };
        Ok(Self { version, tables: Covered::Tables(rows.iter().map(table).collect()), generation: 0 })
    }

    /// These tables, every one told row by row, as of this version.
    pub(super) fn of(version: String, tables: impl IntoIterator<Item = TableId>) -> Self {
        let tables = tables.into_iter().map(|table| (table, Detail::Rows)).collect();
        Self { version, tables: Covered::Tables(tables), generation: 0 }
    }

    /// What a publication of these tables, made by `transom setup`, would cover.
    #[must_use]
    pub fn expected(tables: impl IntoIterator<Item = TableId>) -> Self {
        Self::of(String::new(), tables)
    }

    /// The version of the publication.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Counts the changes on this node: an answer that was judged by another generation is judged again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many tables are covered; `None` without a feed.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        match &self.tables {
            Covered::NoFeed => None,
            Covered::Tables(tables) => Some(tables.len()),
        }
    }

    /// Whether an answer from these tables hears of every change.
    pub fn covers<'t>(&self, tables: impl IntoIterator<Item = &'t TableId>) -> bool {
        match &self.tables {
            Covered::NoFeed => true,
            Covered::Tables(covered) => tables.into_iter().all(|table| covered.contains_key(table)),
        }
    }

    /// Whether somebody announces which rows of a table changed. Without a feed nobody does.
    #[must_use]
    pub fn tells_rows_of(&self, table: &TableId) -> bool {
        match &self.tables {
            Covered::NoFeed => false,
            Covered::Tables(covered) => covered.get(table) == Some(&Detail::Rows),
        }
    }
}

/// The version of the publication right now.
pub(super) async fn version(client: &Client) -> Result<String, tokio_postgres::Error> {
    client.query_one(&format!("SELECT {VERSION_SQL}"), &[]).await?.try_get(0)
}

/// The coverage that this node judges by.
#[derive(Debug, Clone, Default)]
pub(super) struct Covering(Arc<ArcSwap<Coverage>>);

impl Covering {
    /// What counts now.
    pub(super) fn current(&self) -> arc_swap::Guard<Arc<Coverage>> {
        self.0.load()
    }

    /// From now on this coverage counts, on this node and with its peers. Says what of the `needed` tables is not covered, and
    /// the `remedy`.
    pub(super) fn learn(&self, coverage: Coverage, needed: &Needed, remedy: &str, cache: &TwoTier<StoredResponse>) {
        let (backplane, version) = (cache.backplane(), coverage.version().to_owned());
        // Before the update: what is covered only now must not meet a lease of before.
        if self.current().version() != version {
            backplane.uncover(cache.clock());
        }
        if self.update(coverage) {
            needed.report(&self.current(), remedy);
        }
        // After the update: a lease by this version may be granted as soon as this is said.
        backplane.cover(&version);
    }

    /// Whether this changed anything.
    pub(super) fn update(&self, coverage: Coverage) -> bool {
        let before = self.0.load();
        if before.version == coverage.version && before.tables == coverage.tables {
            return false;
        }
        self.0.store(Arc::new(Coverage { generation: before.generation + 1, ..coverage }));
        true
    }
}

/// The tables that answers may depend on, as of the schema that was read last.
#[derive(Debug, Clone, Default)]
pub(super) struct Needed(Arc<ArcSwap<Vec<TableId>>>);

impl Needed {
    pub(super) fn new(tables: Vec<TableId>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(tables)))
    }

    /// Which they are.
    pub(super) fn tables(&self) -> Arc<Vec<TableId>> {
        self.0.load_full()
    }

    /// Which they are from now on.
    pub(super) fn now(&self, tables: Vec<TableId>) {
        self.0.store(Arc::new(tables));
    }

    /// Says which of them are not covered, and the remedy.
    pub(super) fn report(&self, coverage: &Coverage, remedy: &str) {
        let tables = self.tables();
        let uncovered: Vec<String> =
            tables.iter().filter(|table| !coverage.covers([*table])).map(ToString::to_string).collect();
        if uncovered.is_empty() {
            tracing::info!(tables = tables.len(), "change feed: every table is covered");
        } else {
            tracing::warn!(?uncovered, remedy, "change feed: answers from these are not stored");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> TableId {
        TableId { schema: "s".into(), name: name.into() }
    }

    fn coverage(version: &str, names: &[&str]) -> Coverage {
        let tables = Covered::Tables(names.iter().map(|name| (table(name), Detail::Rows)).collect());
        Coverage { version: version.to_owned(), tables, generation: 0 }
    }

    #[test]
    fn all_tables_of_an_answer_must_be_covered() {
        let one = coverage("1", &["a", "b"]);
        assert!(one.covers(&[table("a"), table("b")]) && one.covers(&[]));
        assert!(!one.covers(&[table("a"), table("c")]));
        assert!(Coverage::default().covers(&[table("c")]), "without a feed nothing is missed");
        assert!(one.tells_rows_of(&table("a")) && !Coverage::default().tells_rows_of(&table("a")));
    }

    #[test]
    fn only_a_change_makes_a_generation() {
        let covering = Covering::default();
        assert!(covering.update(coverage("1", &["a"])) && covering.current().covers(&[table("a")]));
        assert!(!covering.update(coverage("1", &["a"])));
        assert!(covering.update(coverage("2", &["a"])));
        assert_eq!(covering.current().generation(), 2);
    }
}
