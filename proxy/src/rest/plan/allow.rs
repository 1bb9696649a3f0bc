//! `OPTIONS`: which methods a resource allows.

use std::sync::Arc;

use super::super::answer::{Allowed, Content, ReadShape};
use super::super::footprint::Footprint;
use super::super::request::{Body, Format, Nulls, ResourceRequest};
use super::super::schema::{Dependencies, Opaque, SchemaCache, TableId, Volatility};
use super::super::statement::{SqlWriter, Statement};
use super::super::{Error, Inbound, Settings};
use super::{Plan, ReadPlan, root};

/// Plans `OPTIONS`. What a view allows is known to the database alone, which is asked in any case.
pub(super) fn plan_options(inbound: &Inbound<'_>, schema: &SchemaCache, settings: &Settings) -> Result<Plan, Error> {
    let request = ResourceRequest::read(inbound, settings)?;
    let (name, allowed) = match &request {
        _ if root::is_root(inbound) => ("", Allowed::Reads),
        ResourceRequest { function: Some(name), .. } => (&**name, of_function(name, &request.schema, schema)?),
        ResourceRequest { table, .. } => {
            let missing = || Error::TableNotFound { schema: request.schema.clone(), table: table.clone() };
            let relation = schema.relation(&request.schema, table).ok_or_else(missing)?;
            (&**table, Allowed::Table { has_key: !relation.primary_key.is_empty() })
        }
    };
    Ok(Plan::Read(ReadPlan {
        statement: statement(&request.schema, name),
        shape: Arc::new(ReadShape {
            format: Format::Array(Nulls::Kept),
            body: Body::Omitted,
            content: Content::Allowed(allowed),
            offset: 0,
            profile: None,
            applied: String::new(),
        }),
        estimate: None,
        zone: None,
        reads: Dependencies::opaque(Opaque::SystemCatalog),
        footprint: Footprint::default(),
        target: TableId { schema: request.schema.as_str().into(), name: name.into() },
        location: String::new(),
    }))
}

/// As in PostgREST, the first overload speaks for all.
fn of_function(name: &str, in_schema: &str, schema: &SchemaCache) -> Result<Allowed, Error> {
    match schema.routines(in_schema, name).first() {
        Some(routine) if routine.volatility == Volatility::Volatile => Ok(Allowed::Posts),
        Some(_) => Ok(Allowed::Calls),
        None => Err(Error::FunctionNotFound {
            function: format!("{in_schema}.{name}"),
            arguments: Vec::new(),
            whole: None,
            suggestion: None,
        }),
    }
}

/// Returns one row in the form of a read, whose body says as a number which events the relation takes, in the bits of
/// `pg_relation_is_updatable`.
fn statement(schema: &str, table: &str) -> Statement {
    let mut sql = SqlWriter::default();
    sql.push(
        "SELECT null::bigint AS total_result_set, 0::bigint AS page_total, \
         coalesce((SELECT CASE WHEN c.relkind IN ('r', 'p') THEN 28 \
         ELSE pg_catalog.pg_relation_is_updatable(c.oid, true) END FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ",
    );
    sql.bind(schema.to_owned()).push(" AND c.relname = ").bind(table.to_owned());
    sql.push("), 0)::text AS body, null::text AS response_headers, null::text AS response_status");
    sql.finish()
}
