//! Is it the same answer? By its text, and else by its rows, because a question need not say in which order it wants them.
//! The only place where the proxy looks into rows; an answer never comes of it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::reply::StoredResponse;

/// What two answers have to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// they say the same
    Same,
    /// they do not
    Different,
    /// they need not: the question wants some rows of many, and does not say which
    Undetermined,
}

/// Compares status and body; headers may hold what PostgreSQL only estimates.
pub(super) fn compare(stored: &StoredResponse, read: &StoredResponse, sql: &str) -> Comparison {
    if stored.agrees_with(read) {
        return Comparison::Same;
    }
    if stored.status() == read.status() && rows(&stored.body()) == rows(&read.body()) {
        return Comparison::Same;
    }
    // A page is written with an offset, always; its rows are those that the order puts there.
    let (pages, orders) = (sql.matches("::bigint OFFSET ").count(), sql.matches(" ORDER BY ").count());
    if pages > orders { Comparison::Undetermined } else { Comparison::Different }
}

/// The answer with everything in it sorted that may come in any order: equal for answers with the same rows.
fn rows(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(json) => sorted(json, DEPTH_MAX),
        Err(_) => sorted_lines(&text),
    }
}

/// How deep arrays are sorted. Embedded resources are not nested deeper; what is, is compared as it stands.
const DEPTH_MAX: u32 = 32;

/// Scalars stay as they are written: a number must not lose digits on the way.
fn sorted(json: &RawValue, depth: u32) -> String {
    let text = json.get();
    if depth > 0
        && text.starts_with('[')
        && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text)
    {
        let mut items: Vec<String> = items.into_iter().map(|item| sorted(item, depth - 1)).collect();
        items.sort_unstable();
        return format!("[{}]", items.join(","));
    }
    if depth > 0
        && text.starts_with('{')
        && let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text)
    {
        let members: Vec<String> =
            members.into_iter().map(|(name, value)| format!("{name:?}:{}", sorted(value, depth - 1))).collect();
        return format!("{{{}}}", members.join(","));
    }
    text.to_owned()
}

/// CSV and the like: a row to a line.
fn sorted_lines(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    const ALL: &str = "SELECT * FROM t";
    const ANY_PAGE: &str = "SELECT * FROM t LIMIT $1::bigint OFFSET $2::bigint";
    const PAGE: &str = "SELECT * FROM t ORDER BY id LIMIT $1::bigint OFFSET $2::bigint";

    fn answer(body: &str) -> StoredResponse {
        StoredResponse::new(StatusCode::OK, &[], body.as_bytes())
    }

    fn compared(a: &str, b: &str, sql: &str) -> Comparison {
        compare(&answer(a), &answer(b), sql)
    }

    #[test]
    fn the_order_of_rows_means_nothing() {
        for (a, b) in [
            (r#"[{"id":1},{"id":2}]"#, r#"[{"id":2},{"id":1}]"#),
            (r#"[{"id":1,"in":[1,2]}, {"id":2}]"#, r#"[{"id":2},{"id":1,"in":[2,1]}]"#),
            ("id,a\n1,x\n2,y", "id,a\n2,y\n1,x"),
        ] {
            assert_eq!(compared(a, b, ALL), Comparison::Same, "{a} {b}");
        }
    }

    #[test]
    fn a_difference_is_one() {
        for (a, b) in [
            (r#"[{"id":1}]"#, r#"[{"id":1},{"id":1}]"#),
            (r#"[{"id":1,"a":2},{"id":2,"a":1}]"#, r#"[{"id":1,"a":1},{"id":2,"a":2}]"#),
            ("[0.10000000000000000001]", "[0.10000000000000000002]"),
            ("id\n1", "id\n2"),
            ("", "[]"),
        ] {
            assert_eq!(compared(a, b, ALL), Comparison::Different, "{a} {b}");
        }
        let gone = StoredResponse::new(StatusCode::PARTIAL_CONTENT, &[], b"[]");
        assert_eq!(compare(&answer("[]"), &gone, ALL), Comparison::Different);
    }

    #[test]
    fn some_rows_of_many_may_be_any() {
        assert_eq!(compared(r#"[{"id":1}]"#, r#"[{"id":2}]"#, ANY_PAGE), Comparison::Undetermined);
        assert_eq!(compared(r#"[{"id":1}]"#, r#"[{"id":2}]"#, PAGE), Comparison::Different);
        assert_eq!(compared("[1,2]", "[2,1]", ANY_PAGE), Comparison::Same);
    }

    #[test]
    fn depth_has_a_bound() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(compared(&deep, &format!("{deep} "), ALL), Comparison::Same);
    }
}
