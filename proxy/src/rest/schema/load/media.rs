//! Reading from the catalogs what makes media types.

use tokio_postgres::{Client, Error, Row};

use crate::rest::schema::TableId;
use crate::rest::schema::media::{Handler, Handlers, Maker};

/// Domains that are named like media types; aggregates that end in one of them, and functions that return one.
const HANDLERS: &str = "\
WITH media AS (SELECT t.oid, lower(t.typname) AS asked, \
CASE t.typname WHEN '*/*' THEN 'application/octet-stream' ELSE lower(t.typname) END AS made \
FROM pg_type t WHERE t.typtype = 'd' AND (t.typname ~* '^[a-z0-9.-]+/[a-z0-9.+-]+$' OR t.typname = '*/*')) \
SELECT m.asked, m.made, n.nspname::text, p.proname::text, s.nspname::text, c.relname::text, \
p.prokind = 'a', concat_ws(' ', p.oid, p.xmin, p.proacl::text) \
FROM media m JOIN pg_proc p ON p.prorettype = m.oid JOIN pg_namespace n ON n.oid = p.pronamespace \
LEFT JOIN pg_class c ON p.prokind = 'a' AND c.reltype = p.proargtypes[0] LEFT JOIN pg_namespace s ON s.oid = c.relnamespace \
WHERE n.nspname = ANY ($1) AND (p.prokind = 'f' AND NOT p.proretset \
OR p.prokind = 'a' AND p.pronargs = 1 AND (c.oid IS NOT NULL OR p.proargtypes[0] = 'anyelement'::regtype)) \
ORDER BY p.prokind, p.oid";

/// What makes media types, and texts that change when it does.
pub(super) async fn load_handlers(client: &Client, schemas: &[String]) -> Result<(Handlers, Vec<String>), Error> {
    let mut handlers = Handlers::default();
    let rows = client.query(HANDLERS, &[&schemas]).await?;
    for row in &rows {
        add(&mut handlers, row);
    }
    Ok((handlers, rows.iter().map(|row| row.get(7)).collect()))
}

fn add(handlers: &mut Handlers, row: &Row) {
    let id = |schema: usize, name: usize| {
        let names: (Option<&str>, Option<&str>) = (row.get(schema), row.get(name));
        names.0.zip(names.1).map(|(schema, name)| TableId { schema: schema.into(), name: name.into() })
    };
    let Some(function) = id(2, 3) else { return };
    let (target, maker) = match (row.get(6), id(4, 5)) {
        (true, Some(relation)) => (Some(relation.clone()), Maker::OfRows(function, relation)),
        (true, None) => (None, Maker::OfAny(function)),
        (false, _) => (Some(function), Maker::Itself),
    };
    let (asked, made): (&str, &str) = (row.get(0), row.get(1));
    handlers.add(target, asked.into(), Handler { media: made.into(), maker });
}
