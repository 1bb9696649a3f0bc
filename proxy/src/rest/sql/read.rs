//! The statement of a read.

use super::body::{ROWS, SAID, SOURCE, write_body, write_rows};
use super::end::End;
use super::query::{write_count, write_query_beside};
use crate::rest::request::{Body, Format};
use crate::rest::statement::{SqlWriter, Statement, Yields};
use crate::rest::tree::Node;

/// How the total is counted by the statement itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Counted {
    Not,
    All,
    /// no further than so many rows
    UpTo(u64),
}

/// Returns one row: `total_result_set bigint` (null unless counted), `page_total bigint`, `body`, and what the transaction
/// says of the answer; and `page_end bigint` (null if there is no row), if the end is wanted.
pub(in crate::rest) fn read_statement(
    node: &Node<'_>,
    format: &Format,
    body: Body,
    counted: Counted,
    end: Option<&End<'_>>,
) -> Statement {
    let mut sql = SqlWriter::default();
    sql.push("WITH ").push(SOURCE).push(" AS (");
    write_query_beside(&mut sql, node, end.and_then(End::beside));
    sql.push(")");
    if counted != Counted::Not {
        sql.push(", _transom_count AS (");
        write_count(&mut sql, node, None);
        if let Counted::UpTo(rows) = counted {
            sql.push(" LIMIT ").push(&rows.to_string());
        }
        sql.push(")");
    }
    sql.push(match counted {
        Counted::All | Counted::UpTo(_) => " SELECT (SELECT pg_catalog.count(*) FROM _transom_count)",
        Counted::Not => " SELECT null::bigint",
    });
    sql.push(" AS total_result_set, pg_catalog.count(").push(ROWS).push(") AS page_total, ");
    write_body(&mut sql, format, body);
    sql.push(" AS body, ").push(SAID);
    if let Some(end) = end {
        end.write(sql.push(", "));
    }
    sql.push(" FROM ");
    match end {
        Some(end) => end.write_rows(&mut sql),
        None => write_rows(&mut sql),
    }
    Statement { yields: if end.is_some() { Yields::Page } else { Yields::Answer }, ..sql.finish() }
}

/// Returns one row: the plan of counting the node's rows, as JSON.
pub(in crate::rest) fn estimate_statement(node: &Node<'_>) -> Statement {
    let mut sql = SqlWriter::default();
    sql.push("EXPLAIN (FORMAT JSON) ");
    write_count(&mut sql, node, None);
    sql.finish()
}
