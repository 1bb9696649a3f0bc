//! The statement of a read.

use super::body::{ROWS, SOURCE, write_body};
use super::condition::write_where;
use super::source::Source;
use crate::rest::request::{Body, Count, Format, Range};
use crate::rest::statement::{SqlWriter, Statement};
use crate::rest::tree::Node;

/// Returns one row: `total_result_set bigint` (null unless counted), `page_total bigint`, `body text`.
pub(in crate::rest) fn read_statement(node: &Node<'_>, format: Format, body: Body, count: Option<Count>) -> Statement {
    let mut sql = SqlWriter::default();
    sql.push("WITH ").push(SOURCE).push(" AS (SELECT ");
    let source = Source::of(node);
    source.write_outputs(&mut sql, &node.select);
    let from = sql.mark();
    sql.push(" FROM ");
    source.write_name(&mut sql);
    write_where(&mut sql, source, node.conditions);
    let to = sql.mark();
    source.write_order(&mut sql, node.order);
    write_range(&mut sql, node.range);
    sql.push(")");
    if count.is_some() {
        sql.push(", _transom_count AS (SELECT 1").repeat(from, to).push(")");
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

/// Writes ` LIMIT ... OFFSET ...`, always both, so that pages share a statement; nothing if everything is wanted.
pub(super) fn write_range(sql: &mut SqlWriter, range: Range) {
    if range == Range::ALL {
        return;
    }
    sql.push(" LIMIT ").bind(range.limit.map(|limit| limit.to_string())).push("::bigint");
    sql.push(" OFFSET ").bind(range.offset.to_string()).push("::bigint");
}
