//! The expression that makes the body of an answer out of the rows of a query.

use crate::rest::request::{Body, Format, Nulls};
use crate::rest::statement::SqlWriter;

/// The name of the rows that `body` aggregates, unlikely to be that of a column.
pub(super) const ROWS: &str = "_transom_row";
/// The name of the common table expression behind them.
pub(super) const SOURCE: &str = "_transom_source";

/// Writes the body as text.
pub(super) fn write_body(sql: &mut SqlWriter, format: Format, body: Body) {
    if body == Body::Omitted {
        sql.push("''::text");
        return;
    }
    match format {
        Format::Array(Nulls::Kept) => sql.push("coalesce(json_agg(_transom_row), '[]')::text"),
        Format::Array(Nulls::Stripped) => sql.push("coalesce(json_strip_nulls(json_agg(_transom_row)), '[]')::text"),
        Format::Singular(Nulls::Kept) => sql.push("coalesce(json_agg(_transom_row)->0, 'null')::text"),
        Format::Singular(Nulls::Stripped) => {
            sql.push("coalesce(json_strip_nulls(json_agg(_transom_row)->0), 'null')::text")
        }
        // A row as text is `(a,b)`, and what is between the parentheses is CSV.
        Format::Csv => sql.push(
            "(SELECT coalesce(string_agg(a.k, ','), '') FROM (SELECT json_object_keys(r)::text AS k \
             FROM (SELECT row_to_json(hh) AS r FROM _transom_source AS hh LIMIT 1) s) a) || E'\\n' || \
             coalesce(string_agg(substring(_transom_row::text, 2, length(_transom_row::text) - 2), E'\\n'), '')",
        ),
    };
}
