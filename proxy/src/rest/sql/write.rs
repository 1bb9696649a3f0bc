//! The statement of a write.

use std::collections::BTreeSet;

use super::body::{ROWS, SAID, SOURCE, write_body};
use super::condition::{Presence, write_conditions, write_where};
use super::query::{write_query_over, write_range};
use super::source::Source;
use crate::rest::ast::{Condition, OrderTerm};
use crate::rest::request::{Body, Format, Missing, Payload, Range, Resolution, Return};
use crate::rest::schema::Fill;
use crate::rest::statement::{SqlWriter, Statement};
use crate::rest::tree::Node;

/// What is done to the relation of the node.
#[derive(Debug)]
pub(in crate::rest) enum Mutation {
    Insert(Payload, Option<Conflict>),
    Update(Payload),
    Delete,
}

/// What to do about a row that is there already.
#[derive(Debug)]
pub(in crate::rest) struct Conflict {
    pub(in crate::rest) resolution: Resolution,
    /// the columns of the key; not empty
    pub(in crate::rest) columns: Vec<String>,
}

/// The rows that a write is to change; of an insert, those of the payload that are to be inserted.
#[derive(Debug)]
pub(in crate::rest) struct Affected<'a> {
    pub(in crate::rest) conditions: Vec<&'a Condition>,
    pub(in crate::rest) order: &'a [OrderTerm],
    pub(in crate::rest) range: Range,
}

/// A write, planned.
#[derive(Debug)]
pub(in crate::rest) struct WriteParts<'a> {
    /// the relation, and what is wanted of the changed rows
    pub(in crate::rest) node: Node<'a>,
    pub(in crate::rest) affected: Affected<'a>,
    pub(in crate::rest) mutation: Mutation,
    pub(in crate::rest) format: Format,
    pub(in crate::rest) returns: Option<Return>,
    pub(in crate::rest) missing: Option<Missing>,
    /// the columns whose values make the `Location`, if one is wanted
    pub(in crate::rest) location: Vec<&'a str>,
}

/// Returns one row: `total_result_set bigint` (how many rows were new, if conflicts are resolved), `page_total bigint`, `body
/// text`, what the transaction says of the answer, and `location text[]`: the values of the key columns if exactly one row
/// was inserted and its location is wanted.
pub(in crate::rest) fn write_statement(parts: WriteParts<'_>) -> Statement {
    let WriteParts { node, affected, mutation, format, returns, missing, location } = parts;
    let mut sql = SqlWriter::default();
    let source = Source::target(&node);
    let mut resolves = false;
    sql.push("WITH ").push(SOURCE).push(" AS (");
    match mutation {
        Mutation::Insert(payload, conflict) => {
            write_insert(&mut sql, &node, payload, missing, conflict.as_ref(), &affected);
            resolves = conflict.is_some();
        }
        Mutation::Update(payload) if payload.columns.is_empty() => {
            // Nothing to set: PostgREST answers as for an update that found no row.
            sql.push("SELECT ");
            write_returned(&mut sql, source, &node, returns, &location);
            sql.push(" FROM ");
            source.write_name(&mut sql);
            return finish(sql.push(" WHERE false"), &node, &format, returns, &location, NOT_COUNTED);
        }
        Mutation::Update(payload) => write_update(&mut sql, &node, &affected, payload, missing),
        Mutation::Delete => write_delete(&mut sql, &node, &affected),
    }
    sql.push(" RETURNING ");
    write_returned(&mut sql, source, &node, returns, &location);
    finish(&mut sql, &node, &format, returns, &location, if resolves { INSERTED } else { NOT_COUNTED })
}

const NOT_COUNTED: &str = "null::bigint";
/// How many rows were new. They are counted in a setting that lasts as long as the transaction: a condition on the rows of
/// the payload counts up, a condition on the rows that are updated instead counts down.
const INSERTED: &str = "coalesce(nullif(current_setting('transom.inserted', true), ''), '0')::bigint";
const COUNT_UP: &str = "set_config('transom.inserted', \
    (coalesce(nullif(current_setting('transom.inserted', true), '')::int, 0) + 1)::text, true) <> '0'";
const COUNT_DOWN: &str = "set_config('transom.inserted', \
    (coalesce(nullif(current_setting('transom.inserted', true), '')::int, 0) - 1)::text, true) <> '-1'";

/// Closes the common table expression and writes the row that is answered.
fn finish(
    sql: &mut SqlWriter,
    node: &Node<'_>,
    format: &Format,
    returns: Option<Return>,
    location: &[&str],
    inserted: &str,
) -> Statement {
    sql.push(") SELECT ")
        .push(inserted)
        .push(" AS total_result_set, pg_catalog.count(")
        .push(ROWS)
        .push(") AS page_total, ");
    let represented = returns == Some(Return::Representation);
    write_body(sql, format, if represented { Body::Sent } else { Body::Omitted });
    sql.push(" AS body, ").push(SAID).push(", ");
    if location.is_empty() {
        sql.push("null::text[]");
    } else {
        sql.push("CASE WHEN pg_catalog.count(").push(ROWS).push(") = 1 THEN (SELECT ARRAY[");
        sql.join(location, ", ", |sql, column| {
            // Through JSON, as in the body: a timestamp is written in its ISO form.
            sql.push("to_json(").ident(column).push(")#>>'{}'");
        });
        sql.push("] FROM ").push(SOURCE).push(") END");
    }
    sql.push(" AS location FROM (");
    if represented {
        write_query_over(sql, node, SOURCE);
    } else {
        sql.push("SELECT * FROM ").push(SOURCE);
    }
    sql.push(") ").push(ROWS);
    std::mem::take(sql).finish()
}

/// Writes the columns that the changed rows give back: no more than needed, because each needs the privilege to read it.
fn write_returned(
    sql: &mut SqlWriter,
    source: Source<'_>,
    node: &Node<'_>,
    returns: Option<Return>,
    location: &[&str],
) {
    let columns: Option<BTreeSet<&str>> = match returns {
        Some(Return::Representation) => node.needed_columns(),
        _ => Some(location.iter().copied().collect()),
    };
    match columns {
        None => source.write_star(sql),
        Some(columns) if columns.is_empty() => {
            sql.push("1");
        }
        Some(columns) => {
            sql.join(columns, ", ", |sql, column| source.write_column(sql, column));
        }
    }
}

fn write_insert(
    sql: &mut SqlWriter,
    node: &Node<'_>,
    payload: Payload,
    missing: Option<Missing>,
    conflict: Option<&Conflict>,
    affected: &Affected<'_>,
) {
    let columns = payload.columns.clone();
    sql.push("INSERT INTO ");
    Source::target(node).write_name(sql);
    if !columns.is_empty() {
        sql.push("(");
        write_names(sql, &columns);
        sql.push(")");
    }
    sql.push(" SELECT ").join(&columns, ", ", |sql, column| {
        sql.push("pgrst_body.").ident(column);
    });
    sql.push(" FROM ");
    write_payload(sql, node, payload, missing);
    let Some(Conflict { resolution, columns: key }) = conflict else { return };
    sql.push(" WHERE ").push(COUNT_UP);
    if !affected.conditions.is_empty() {
        sql.push(" AND ");
        write_conditions(sql, Source::payload(node, BODY), &affected.conditions, Presence::Joined);
    }
    sql.push(" ON CONFLICT (");
    write_names(sql, key);
    if *resolution == Resolution::IgnoreDuplicates || columns.is_empty() {
        sql.push(") DO NOTHING");
        return;
    }
    sql.push(") DO UPDATE SET ").join(&columns, ", ", |sql, column| {
        sql.ident(column).push(" = EXCLUDED.").ident(column);
    });
    sql.push(" WHERE ").push(COUNT_DOWN);
}

fn write_names(sql: &mut SqlWriter, names: &[String]) {
    sql.join(names, ", ", |sql, name| {
        sql.ident(name);
    });
}

/// The rows of the payload, by PostgREST's name for them, which shows in PostgreSQL's complaints.
const BODY: &str = "pgrst_body";

fn write_update(
    sql: &mut SqlWriter,
    node: &Node<'_>,
    affected: &Affected<'_>,
    payload: Payload,
    missing: Option<Missing>,
) {
    let keys = write_affected(sql, node, affected);
    sql.push("UPDATE ");
    Source::target(node).write_name(sql);
    sql.push(" SET ").join(&payload.columns, ", ", |sql, column| {
        sql.ident(column).push(" = pgrst_body.").ident(column);
    });
    sql.push(" FROM ");
    write_payload(sql, node, payload, missing);
    if keys.is_empty() {
        write_where(sql, Source::target(node), &affected.conditions);
    } else {
        sql.push(", _transom_affected WHERE ");
        write_key_match(sql, node, &keys);
    }
}

fn write_delete(sql: &mut SqlWriter, node: &Node<'_>, affected: &Affected<'_>) {
    let keys = write_affected(sql, node, affected);
    sql.push("DELETE FROM ");
    Source::target(node).write_name(sql);
    if keys.is_empty() {
        write_where(sql, Source::target(node), &affected.conditions);
    } else {
        sql.push(" USING _transom_affected WHERE ");
        write_key_match(sql, node, &keys);
    }
}

/// Where only some of the rows are to change, writes the query that picks them; gives the columns that identify them.
///
/// PostgREST identifies them by the columns of `order`, which changes more rows than `limit` if those are not unique. The
/// primary key does not have that fault, so it goes first.
fn write_affected<'n>(sql: &mut SqlWriter, node: &'n Node<'_>, affected: &'n Affected<'_>) -> Vec<&'n str> {
    if affected.range == Range::ALL {
        return Vec::new();
    }
    let mut keys: Vec<&str> =
        node.known.map(|relation| relation.primary_key.iter().map(|key| &**key).collect()).unwrap_or_default();
    if keys.is_empty() {
        let ordered: BTreeSet<&str> = affected.order.iter().map(|term| term.field.column.as_str()).collect();
        keys.extend(ordered);
    }
    let source = Source::target(node);
    sql.push("WITH _transom_affected AS (SELECT ");
    sql.join(&keys, ", ", |sql, key| source.write_column(sql, key));
    sql.push(" FROM ");
    source.write_name(sql);
    write_where(sql, source, &affected.conditions);
    source.write_order(sql, affected.order);
    write_range(sql, affected.range);
    sql.push(") ");
    keys
}

fn write_key_match(sql: &mut SqlWriter, node: &Node<'_>, keys: &[&str]) {
    sql.join(keys, " AND ", |sql, key| {
        Source::target(node).write_column(sql, key);
        sql.push(" = _transom_affected.").ident(key);
    });
}

/// Writes the rows of the payload as a table `pgrst_body` with the types of the relation's columns.
fn write_payload(sql: &mut SqlWriter, node: &Node<'_>, payload: Payload, missing: Option<Missing>) {
    let Payload { json, columns } = payload;
    // Defaults are merged into each object, which only the binary form of JSON can do.
    let defaults = if missing == Some(Missing::Default) { defaults_of(node, &columns) } else { Vec::new() };
    let json_type = if defaults.is_empty() { "json" } else { "jsonb" };
    sql.push("(SELECT ")
        .bind(json)
        .push("::")
        .push(json_type)
        .push(" AS data) _transom_payload, LATERAL (SELECT CASE WHEN ");
    sql.push(json_type).push("_typeof(_transom_payload.data) = 'array' THEN _transom_payload.data ELSE ");
    sql.push(json_type).push("_build_array(_transom_payload.data) END AS val) _transom_uniform, ");
    let rows = if defaults.is_empty() {
        "_transom_uniform.val"
    } else {
        sql.push("LATERAL (SELECT jsonb_agg(jsonb_build_object(");
        sql.join(&defaults, ", ", |sql, (column, default)| {
            // The expression is the database's own, from its catalog.
            sql.bind((*column).to_owned()).push("::text, ").push(default);
        });
        sql.push(") || elem) AS val FROM jsonb_array_elements(_transom_uniform.val) elem) _transom_filled, ");
        "_transom_filled.val"
    };
    sql.push("LATERAL (SELECT ")
        .join(&columns, ", ", |sql, column| {
            sql.ident(column);
        })
        .push(" FROM ");
    if columns.is_empty() {
        sql.push(json_type).push("_array_elements(").push(rows).push(") _");
    } else {
        sql.push(json_type).push("_to_recordset(").push(rows).push(") AS _(");
        sql.join(&columns, ", ", |sql, column| {
            let known = node.known.and_then(|relation| relation.column(column));
            sql.ident(column).push(" ").push(known.map_or("text", |column| &column.sql_type));
        });
        sql.push(")");
    }
    sql.push(") pgrst_body");
}

fn defaults_of<'n>(node: &'n Node<'_>, columns: &[String]) -> Vec<(&'n str, &'n str)> {
    let Some(relation) = node.known else { return Vec::new() };
    relation
        .columns
        .iter()
        .filter(|column| column.fill != Fill::Generated && columns.iter().any(|name| **name == *column.name))
        .filter_map(|column| Some((&*column.name, column.default.as_deref()?)))
        .collect()
}
