//! All values of a key, page by page.

use super::super::{
    schema::TableId,
    statement::{SqlWriter, Statement},
};

/// The first `limit` values of a column, in order, that come after one of them. Returns the row that a read returns: as `page_total`
/// how many there are, and as `body` their texts, a line each. For columns whose texts have no line breaks.
pub fn keys_statement(table: &TableId, column: &str, after: Option<&str>, limit: u32) -> Statement {
    let mut sql = SqlWriter::default();
    sql.push("SELECT null::bigint AS total_result_set, pg_catalog.count(*) AS page_total, ");
    sql.push("coalesce(pg_catalog.string_agg(_transom_key::text, E'\\n' ORDER BY _transom_key), '') AS body, ");
    sql.push("null::text AS response_headers, null::text AS response_status FROM (SELECT ").ident(column);
    sql.push(" AS _transom_key FROM ").ident(&table.schema).push(".").ident(&table.name);
    if let Some(after) = after {
        sql.push(" WHERE ").ident(column).push(" > ").bind(after.to_owned());
    }
    sql.push(" ORDER BY ").ident(column).push(&format!(" LIMIT {limit}) AS _transom_page"));
    sql.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let table = TableId { schema: "public".into(), name: "a \"b\"".into() };
        let first = keys_statement(&table, "id", None, 10);
        assert!(first.sql.ends_with("FROM \"public\".\"a \"\"b\"\"\" ORDER BY \"id\" LIMIT 10) AS _transom_page"));
        let next = keys_statement(&table, "id", Some("7"), 10);
        assert!(next.sql.contains(" WHERE \"id\" > $1 ORDER BY "), "{}", next.sql);
        assert_eq!(next.params.len(), 1);
    }
}
