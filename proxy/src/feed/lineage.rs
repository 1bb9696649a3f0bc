//! Where a relation stands among partitions.

use tokio_postgres::{Client, Error};

use crate::rest::TableId;

/// Where a relation stands among partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lineage {
    /// the partitioned tables it is a part of: whoever reads them may not know of a partition that is newer
    pub(super) ancestors: Vec<TableId>,
    pub(super) rows: Rows,
}

/// Whose rows come under a relation's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Own,
    /// those of partitions (`publish_via_partition_root`): the key that the relation says it has need not be theirs
    OfPartitions,
}

/// One row if it is no partition; none if it is gone by now.
const LINEAGE_SQL: &str = "\
SELECT c.relkind = 'p', n.nspname::text, k.relname::text FROM pg_catalog.pg_class c \
LEFT JOIN LATERAL pg_catalog.pg_partition_ancestors(c.oid) a ON a.relid <> c.oid \
LEFT JOIN pg_catalog.pg_class k ON k.oid = a.relid LEFT JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace \
WHERE c.oid = $1";

impl Lineage {
    /// A relation that is no part of another one.
    pub(super) fn alone() -> Self {
        Self { ancestors: Vec::new(), rows: Rows::Own }
    }

    /// Asks the catalogs.
    pub(super) async fn load(client: &Client, relation: u32) -> Result<Self, Error> {
        let mut lineage = Self::alone();
        for row in client.query(LINEAGE_SQL, &[&relation]).await? {
            if row.try_get(0)? {
                lineage.rows = Rows::OfPartitions;
            }
            if let (Some(schema), Some(name)) = (row.try_get::<_, Option<&str>>(1)?, row.try_get::<_, Option<&str>>(2)?)
            {
                lineage.ancestors.push(TableId { schema: schema.into(), name: name.into() });
            }
        }
        Ok(lineage)
    }
}
