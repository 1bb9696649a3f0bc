//! How exactly changes of each table invalidate what was read from it, and what would make it more exact.

use std::sync::Arc;

use super::Coverage;
use crate::rest::{Fill, Logged, Relation, RelationKind, SchemaCache, TableId};

/// How exactly the changes of a table are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// by any column whose equality can be told from its text
    Exact,
    /// by the columns of its key; answers filtered by others are invalidated by any change of the table
    Key,
    /// any change of the table invalidates all answers from it
    Table,
    /// changes are not noticed, and answers not stored
    NotCovered,
}

impl Precision {
    /// The word for it in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Key => "key",
            Self::Table => "table",
            Self::NotCovered => "not-covered",
        }
    }
}

/// What is reported of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// which
    pub table: TableId,
    /// how exactly
    pub precision: Precision,
    /// the columns by which answers can be told apart
    pub columns: Vec<Arc<str>>,
    /// what would make it more exact, if anything would
    pub remedy: Option<Remedy>,
}

/// What would make a table's changes more exact, and at what price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// SQL for the owner of the table, or a command
    pub run: String,
    /// what that brings and costs
    pub effect: &'static str,
}

const WHOLE_ROWS: &str = "answers filtered by other columns are told apart, too; each UPDATE and DELETE then logs the whole \
                          old row, so the write-ahead log of the table grows by up to the size of the rows";
const PUBLISHED: &str = "answers are stored; tables without a key are published with --replica-identity-full alone";
const KEYED: &str = "the stream tells which rows change; all columns of the table have to be published, and partitions under \
                     their own names";

/// A report for each table of the exposed schemas, sorted by name.
#[must_use]
pub fn report(schema: &SchemaCache, coverage: &Coverage) -> Vec<Report> {
    let is_table = |one: &&Relation| matches!(one.kind, RelationKind::Table | RelationKind::PartitionedTable);
    schema.relations().filter(is_table).map(|relation| of(relation, coverage)).collect()
}

fn of(relation: &Relation, coverage: &Coverage) -> Report {
    let table = relation.id.clone();
    let report = |precision, columns, remedy| Report { table: table.clone(), precision, columns, remedy };
    if !coverage.covers(&relation.reads.tables) {
        let run = "transom setup".to_owned();
        return report(Precision::NotCovered, Vec::new(), Some(Remedy { run, effect: PUBLISHED }));
    }
    // What inherits, or is guarded by a policy that reads the table itself, has no remedy.
    let Some(traced) = &relation.traced else { return report(Precision::Table, Vec::new(), None) };
    if !coverage.tells_rows_of(&table) {
        let run =
            "ALTER PUBLICATION transom SET (publish_via_partition_root = false), and publish the table without a list \
                   of columns"
                .to_owned();
        return report(Precision::Table, Vec::new(), Some(Remedy { run, effect: KEYED }));
    }
    let eligible = relation.columns.iter().filter(|one| one.equality.is_some() && one.fill != Fill::Generated).count();
    let remedy = (traced.identity == Logged::Key && traced.columns.len() < eligible)
        .then(|| Remedy { run: full_identity(&table, &traced.partitions, relation.kind), effect: WHOLE_ROWS });
    let precision = match (&remedy, traced.columns.is_empty()) {
        (_, true) => Precision::Table,
        (Some(_), false) => Precision::Key,
        (None, false) => Precision::Exact,
    };
    report(precision, traced.columns.clone(), remedy)
}

/// A partitioned table logs nothing itself, and does not pass its identity on.
fn full_identity(table: &TableId, partitions: &[TableId], kind: RelationKind) -> String {
    let tables = if kind == RelationKind::PartitionedTable { partitions } else { std::slice::from_ref(table) };
    let statement = |table: &TableId| {
        format!("ALTER TABLE {}.{} REPLICA IDENTITY FULL", quoted(&table.schema), quoted(&table.name))
    };
    tables.iter().map(statement).collect::<Vec<_>>().join("; ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_partitions_named() {
        let table = |name: &str| TableId { schema: "s".into(), name: name.into() };
        let sql = full_identity(&table("a\"b"), &[], RelationKind::Table);
        assert_eq!(sql, "ALTER TABLE \"s\".\"a\"\"b\" REPLICA IDENTITY FULL");
        let parts = [table("p1"), table("p2")];
        let sql = full_identity(&table("p"), &parts, RelationKind::PartitionedTable);
        assert_eq!(
            sql,
            "ALTER TABLE \"s\".\"p1\" REPLICA IDENTITY FULL; ALTER TABLE \"s\".\"p2\" REPLICA IDENTITY FULL"
        );
    }
}
