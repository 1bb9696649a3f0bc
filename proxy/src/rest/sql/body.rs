//! The expression that makes the body of an answer out of the rows of a query.

use crate::rest::request::{Body, Format, Nulls};
use crate::rest::schema::{Maker, TableId};
use crate::rest::statement::SqlWriter;

/// What the rows of a statement stand for: those of a table, or the result of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Outcome {
    Scalar,
    Scalars,
    Composite,
    Table,
}

/// The name of the rows that `body` aggregates, unlikely to be that of a column.
pub(super) const ROWS: &str = "_transom_row";
/// What functions say of the answer in settings of the transaction
/// (<https://docs.postgrest.org/en/v12/references/transactions.html#response-headers>). It comes behind what calls them.
pub(super) const SAID: &str = "nullif(current_setting('response.headers', true), '') AS response_headers, \
     nullif(current_setting('response.status', true), '') AS response_status";
/// The name of the common table expression behind them.
pub(super) const SOURCE: &str = "_transom_source";

/// Writes the rows that are aggregated, as they stand behind `FROM`.
pub(super) fn write_rows(sql: &mut SqlWriter) {
    sql.push("(SELECT * FROM ").push(SOURCE).push(") ").push(ROWS);
}

/// Writes the body as text: a list of rows.
pub(super) fn write_body(sql: &mut SqlWriter, format: &Format, body: Body) {
    write_body_of(sql, Outcome::Table, format, body);
}

/// Writes the body as text, in the form that the result of a function has.
pub(super) fn write_body_of(sql: &mut SqlWriter, outcome: Outcome, format: &Format, body: Body) {
    if body == Body::Omitted {
        sql.push("''::text");
        return;
    }
    let (nulls, single) = match format {
        // A row as text is `(a,b)`, and what is between the parentheses is CSV.
        Format::Csv => {
            sql.push(
                "(SELECT coalesce(string_agg(a.k, ','), '') FROM (SELECT json_object_keys(r)::text AS k \
                 FROM (SELECT row_to_json(hh) AS r FROM _transom_source AS hh LIMIT 1) s) a) || E'\\n' || \
                 coalesce(string_agg(substring(_transom_row::text, 2, length(_transom_row::text) - 2), E'\\n'), '')",
            );
            return;
        }
        Format::GeoJson => {
            sql.push(
                "json_build_object('type', 'FeatureCollection', 'features', \
                 coalesce(json_agg(ST_AsGeoJSON(_transom_row)::json), '[]'))",
            );
            return;
        }
        Format::Custom(handler) => return write_made(sql, outcome, &handler.maker),
        Format::Array(nulls) => (*nulls, matches!(outcome, Outcome::Scalar | Outcome::Composite)),
        Format::Singular(nulls) => (*nulls, true),
    };
    let value = match (outcome, format) {
        // Of a set of values the one that is asked for comes as an object, as in PostgREST.
        (Outcome::Scalar, _) | (Outcome::Scalars, Format::Array(_)) => "_transom_row.pgrst_scalar",
        _ => ROWS,
    };
    let (strip, stripped) = match nulls {
        Nulls::Kept => ("", ""),
        Nulls::Stripped => ("json_strip_nulls(", ")"),
    };
    let (only, none) = if single { ("->0", "'null'") } else { ("", "'[]'") };
    sql.push("coalesce(").push(strip).push("json_agg(").push(value).push(")").push(only).push(stripped);
    sql.push(", ").push(none).push(")::text");
}

/// Writes what something in the database makes of the rows.
fn write_made(sql: &mut SqlWriter, outcome: Outcome, maker: &Maker) {
    let call = |sql: &mut SqlWriter, function: &TableId| {
        sql.ident(&function.schema).push(".").ident(&function.name).push("(").push(ROWS);
    };
    match (maker, outcome) {
        // There is one value, which an aggregate has to pick beside another that counts.
        (Maker::Itself, _) => drop(sql.push("(array_agg(").push(ROWS).push(".pgrst_scalar))[1]")),
        (Maker::OfAny(function) | Maker::OfRows(function, _), Outcome::Scalar | Outcome::Scalars) => {
            call(sql, function);
            sql.push(".pgrst_scalar)");
        }
        (Maker::OfAny(function), _) => {
            call(sql, function);
            sql.push(")");
        }
        (Maker::OfRows(function, relation), _) => {
            call(sql, function);
            sql.push("::").ident(&relation.schema).push(".").ident(&relation.name).push(")");
        }
    }
}
