//! The statement of a read.

use super::body::{ROWS, SOURCE, write_body};
use super::query::{write_count, write_query};
use crate::rest::request::{Body, Count, Format};
use crate::rest::statement::{SqlWriter, Statement};
use crate::rest::tree::Node;

/// Returns one row: `total_result_set bigint` (null unless counted), `page_total bigint`, `body text`.
pub(in crate::rest) fn read_statement(node: &Node<'_>, format: Format, body: Body, count: Option<Count>) -> Statement {
    let mut sql = SqlWriter::default();
    sql.push("WITH ").push(SOURCE).push(" AS (");
    write_query(&mut sql, node, None);
    sql.push(")");
    if count.is_some() {
        sql.push(", _transom_count AS (");
        write_count(&mut sql, node, None);
        sql.push(")");
    }
    sql.push(match count {
        Some(_) => " SELECT (SELECT pg_catalog.count(*) FROM _transom_count)",
        None => " SELECT null::bigint",
    });
    sql.push(" AS total_result_set, pg_catalog.count(").push(ROWS).push(") AS page_total, ");
    write_body(&mut sql, format, body);
    sql.push(" AS body FROM (SELECT * FROM ").push(SOURCE).push(") ").push(ROWS);
    sql.finish()
}
