//! Reading functions from the catalogs.

use std::sync::Arc;

use tokio_postgres::{Client, Error, Row};

use crate::rest::schema::TableId;
use crate::rest::schema::graph::Graph;
use crate::rest::schema::relationship::Rows;
use crate::rest::schema::routine::{Need, Parameter, Returns, Routine, Value, Volatility};

/// A parameter without a name can be given only if it is alone and can hold a whole body.
const ROUTINES: &str = "\
WITH RECURSIVE base AS (SELECT t.oid AS top, t.oid, t.typtype, t.typbasetype FROM pg_type t \
UNION ALL SELECT base.top, b.oid, b.typtype, b.typbasetype FROM base JOIN pg_type b \
ON base.typtype = 'd' AND b.oid = base.typbasetype) \
SELECT n.nspname::text, p.proname::text, coalesce(a.names, '{}'), coalesce(a.types, '{}'), coalesce(a.variadic, '{}'), \
p.pronargdefaults::int, p.proretset, \
t.typtype = 'c' OR coalesce(p.proargmodes::text[] && '{t,b,o}', false), coalesce(c.relname, t.typname)::text, \
p.provolatile::text, p.oid, p.proargdefaults::text, concat_ws(' ', p.oid, p.xmin, p.proacl::text) \
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN base ON base.top = p.prorettype AND base.typtype <> 'd' \
JOIN pg_type t ON t.oid = base.oid LEFT JOIN pg_class c ON c.oid = t.typrelid LEFT JOIN LATERAL (\
SELECT array_agg(coalesce(u.name, '') ORDER BY u.pos) AS names, \
array_agg(CASE format_type(u.type, NULL) WHEN 'bit' THEN 'bit varying' WHEN 'bit[]' THEN 'bit varying[]' \
WHEN 'character' THEN 'character varying' WHEN 'character[]' THEN 'character varying[]' \
ELSE format_type(u.type, NULL) END ORDER BY u.pos) AS types, \
array_agg(coalesce(u.mode = 'v', false) ORDER BY u.pos) AS variadic, \
count(*) FILTER (WHERE coalesce(u.name, '') = '') AS unnamed, \
bool_and(u.type = ANY ('{bytea,json,jsonb,text,xml}'::regtype[])) AS whole \
FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes::text[]) \
WITH ORDINALITY AS u(type, name, mode, pos) WHERE coalesce(u.mode, 'i') IN ('i', 'b', 'v')) a ON true \
WHERE p.prokind = 'f' AND n.nspname = ANY ($1) AND t.oid NOT IN ('trigger'::regtype, 'event_trigger'::regtype) \
AND (coalesce(a.unnamed, 0) = 0 OR p.pronargs = 1 AND a.whole) ORDER BY 1, 2, p.pronargs, p.oid";

pub(super) async fn load_routines(client: &Client, graph: &Graph, schemas: &[String]) -> Result<Vec<Routine>, Error> {
    Ok(client.query(ROUTINES, &[&schemas]).await?.iter().map(|row| routine(row, graph)).collect())
}

fn routine(row: &Row, graph: &Graph) -> Routine {
    Routine {
        id: TableId { schema: row.get::<_, &str>(0).into(), name: row.get::<_, &str>(1).into() },
        parameters: parameters(row),
        returns: returns(row),
        volatility: match row.get(9) {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        },
        reads: graph.closure_of_function(row.get(10), row.get(11)),
        version: row.get(12),
    }
}

/// Defaults belong to the last parameters.
fn parameters(row: &Row) -> Vec<Parameter> {
    let (names, types, variadic): (Vec<&str>, Vec<&str>, Vec<bool>) = (row.get(2), row.get(3), row.get(4));
    let defaults = usize::try_from(row.get::<_, i32>(5)).unwrap_or_default();
    let required = names.len().saturating_sub(defaults);
    let parameter = |(position, ((name, sql_type), variadic)): (usize, ((&str, &str), bool))| Parameter {
        name: name.into(),
        sql_type: sql_type.into(),
        need: match (position < required, variadic) {
            (true, false) => Need::Required,
            (false, false) => Need::Optional,
            (true, true) => Need::Variadic,
            (false, true) => Need::OptionalVariadic,
        },
    };
    names.into_iter().zip(types).zip(variadic).enumerate().map(parameter).collect()
}

fn returns(row: &Row) -> Returns {
    let name: Arc<str> = row.get::<_, &str>(8).into();
    Returns {
        rows: if row.get(6) { Rows::Many } else { Rows::One },
        value: match (row.get(7), &*name) {
            (true, _) => Value::Composite(name),
            (false, "void") => Value::Void,
            (false, _) => Value::Scalar(name),
        },
    }
}
