//! The statement of a function call.

use super::body::{Outcome, ROWS, SAID, SOURCE, write_body_of};
use super::query::{write_count_over, write_query_over};
use super::read::Counted;
use crate::rest::request::{Body, Format};
use crate::rest::schema::{Parameter, Routine};
use crate::rest::statement::{SqlWriter, Statement};
use crate::rest::tree::Node;

/// What a function is given.
#[derive(Debug)]
pub(in crate::rest) enum Given<'a> {
    Nothing,
    /// values for these parameters, in a JSON object
    Named(Vec<&'a Parameter>, String),
    /// one value for the one parameter, which has no name
    Whole(&'a Parameter, String),
}

impl Given<'_> {
    /// The text that carries the values.
    pub(in crate::rest) fn value(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Named(_, value) | Self::Whole(_, value) => Some(value),
        }
    }
}

/// A call, planned.
#[derive(Debug)]
pub(in crate::rest) struct CallParts<'a> {
    pub(in crate::rest) routine: &'a Routine,
    /// what is wanted of the result
    pub(in crate::rest) node: &'a Node<'a>,
    pub(in crate::rest) given: Given<'a>,
    pub(in crate::rest) outcome: Outcome,
    pub(in crate::rest) format: Format,
    pub(in crate::rest) body: Body,
    pub(in crate::rest) counted: Counted,
}

/// Returns one row as a read does.
///
/// The names `pgrst_call` and `pgrst_scalar` are PostgREST's: they show in CSV and in PostgreSQL's complaints.
pub(in crate::rest) fn call_statement(parts: CallParts<'_>) -> Statement {
    let CallParts { routine, node, given, outcome, format, body, counted } = parts;
    let mut sql = SqlWriter::default();
    sql.push("WITH ").push(SOURCE).push(" AS (SELECT ");
    let scalar = matches!(outcome, Outcome::Scalar | Outcome::Scalars);
    match node.needed_columns().filter(|columns| !scalar && !columns.is_empty()) {
        _ if scalar => {
            sql.push("pgrst_call.pgrst_scalar");
        }
        None => {
            sql.push("pgrst_call.*");
        }
        Some(columns) => {
            sql.join(columns, ", ", |sql, column| {
                sql.push("pgrst_call.").ident(column);
            });
        }
    }
    sql.push(" FROM ");
    write_arguments(&mut sql, &given);
    sql.push(if scalar { "(SELECT " } else { "" });
    sql.ident(&routine.id.schema).push(".").ident(&routine.id.name).push("(");
    write_passing(&mut sql, &given);
    sql.push(if scalar { ") AS pgrst_scalar) pgrst_call)" } else { ") pgrst_call)" });
    if counted != Counted::Not {
        sql.push(", _transom_count AS (");
        write_count_over(&mut sql, node, SOURCE);
        sql.push(")");
    }
    sql.push(match counted {
        Counted::All | Counted::UpTo(_) => " SELECT (SELECT pg_catalog.count(*) FROM _transom_count)",
        Counted::Not => " SELECT null::bigint",
    });
    sql.push(" AS total_result_set, pg_catalog.count(").push(ROWS).push(") AS page_total, ");
    write_body_of(&mut sql, outcome, &format, body);
    sql.push(" AS body, ").push(SAID).push(" FROM (");
    write_query_over(&mut sql, node, SOURCE);
    sql.push(") ").push(ROWS);
    sql.finish()
}

/// Writes the values as a row `_transom_arguments` with the types of the parameters.
fn write_arguments(sql: &mut SqlWriter, given: &Given<'_>) {
    let Given::Named(parameters, json) = given else { return };
    sql.push("(SELECT ").bind(json.clone()).push("::json AS data) _transom_payload, LATERAL (SELECT CASE WHEN ");
    sql.push("json_typeof(_transom_payload.data) = 'array' THEN _transom_payload.data ");
    sql.push("ELSE json_build_array(_transom_payload.data) END AS val) _transom_uniform, LATERAL (SELECT ");
    sql.join(parameters, ", ", |sql, parameter| {
        sql.ident(&parameter.name);
    });
    sql.push(" FROM json_to_recordset(_transom_uniform.val) AS _(");
    sql.join(parameters, ", ", |sql, parameter| {
        // The type is the database's own, from its catalog.
        sql.ident(&parameter.name).push(" ").push(&parameter.sql_type);
    });
    sql.push(") LIMIT 1) _transom_arguments, LATERAL ");
}

fn write_passing(sql: &mut SqlWriter, given: &Given<'_>) {
    match given {
        Given::Nothing => {}
        Given::Named(parameters, _) => {
            sql.join(parameters, ", ", |sql, parameter| {
                sql.push(if parameter.need.is_variadic() { "VARIADIC " } else { "" });
                sql.ident(&parameter.name).push(" := _transom_arguments.").ident(&parameter.name);
            });
        }
        Given::Whole(parameter, value) => {
            sql.bind(value.clone()).push("::").push(&parameter.sql_type);
        }
    }
}
