//! Reading functions of a row from the catalogs: computed columns and computed relationships.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error};

use super::type_family;
use crate::rest::schema::graph::Graph;
use crate::rest::schema::relationship::{Computed, Function, Rows};
use crate::rest::schema::{ComputedColumn, TableId};

/// Functions that PostgreSQL takes for `row.name` for certain: in the schema of the relation, which names are looked up in
/// first, and alone with their name and the type of the row. Their results are of built-in types, which compare and are
/// printed without functions of the user's.
const COLUMNS: &str = "\
SELECT c.oid, p.proname::text, format_type(t.oid, NULL), coalesce(e.typname, m.typname, t.typname)::text, p.oid \
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
JOIN pg_class c ON c.reltype = p.proargtypes[0] AND c.relnamespace = p.pronamespace \
JOIN pg_type t ON t.oid = p.prorettype LEFT JOIN pg_type e ON t.typelem <> 0 AND t.typlen = -1 AND e.oid = t.typelem \
LEFT JOIN pg_range r ON t.oid IN (r.rngtypid, r.rngmultitypid) LEFT JOIN pg_type m ON m.oid = r.rngsubtype \
WHERE n.nspname = ANY ($1) AND p.prokind = 'f' AND p.pronargs = 1 AND NOT p.proretset \
AND t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') AND t.typname !~ '^_?reg' \
AND NOT EXISTS (SELECT FROM pg_proc o WHERE o.oid <> p.oid AND o.pronamespace = p.pronamespace \
AND o.proname = p.proname AND o.proargtypes[0] = p.proargtypes[0]) ORDER BY c.oid, p.proname";

/// The computed columns of the relations of `schemas`, by relation.
pub(super) async fn load_columns(
    client: &Client,
    graph: &Graph,
    schemas: &[String],
) -> Result<BTreeMap<u32, Vec<ComputedColumn>>, Error> {
    let mut columns: BTreeMap<u32, Vec<ComputedColumn>> = BTreeMap::new();
    for row in client.query(COLUMNS, &[&schemas]).await? {
        columns.entry(row.get(0)).or_default().push(ComputedColumn {
            name: row.get::<_, &str>(1).into(),
            family: type_family(row.get(2), row.get(3)),
            reads: graph.closure_of_function(row.get(4), None),
        });
    }
    Ok(columns)
}

const RELATIONSHIPS: &str = "\
SELECT n.nspname::text, p.proname::text, a.oid, r.oid, NOT p.proretset OR p.prorows = 1, p.oid \
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
JOIN pg_class a ON a.reltype = p.proargtypes[0] JOIN pg_class r ON r.reltype = p.prorettype \
WHERE p.pronargs = 1 AND p.oid >= 16384 AND a.relkind IN ('v', 'r', 'm', 'f', 'p') \
AND r.relkind IN ('v', 'r', 'm', 'f', 'p') ORDER BY 1, 2, 3";

/// The functions whose argument is a row and whose result is rows.
pub(super) async fn load_relationships(client: &Client, graph: &Graph) -> Result<Vec<Computed>, Error> {
    let mut computed = Vec::new();
    for row in client.query(RELATIONSHIPS, &[]).await? {
        let ends = (graph.nodes.get(&row.get(2)), graph.nodes.get(&row.get(3)));
        let (Some(table), Some(foreign)) = ends else { continue };
        let id = TableId { schema: row.get::<_, &str>(0).into(), name: row.get::<_, &str>(1).into() };
        let returns = if row.get(4) { Rows::One } else { Rows::Many };
        let reads = graph.closure_of_function(row.get(5), None);
        computed.push(Computed {
            table: table.id.clone(),
            foreign: foreign.id.clone(),
            function: Function { id, returns, reads },
        });
    }
    Ok(computed)
}
