//! The part of the claims that an answer depends on.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::value::RawValue;

use crate::rest::ClaimsRead;

/// The claims as JSON, cut down to those that are read; `None` if none are. Whoever has the same excerpt gets the same
/// answer, because the database is told the excerpt and nothing else (C6).
pub(super) fn excerpt(claims: &Arc<str>, read: &ClaimsRead) -> Option<Arc<str>> {
    let paths: Vec<&[Arc<str>]> = read.paths().collect();
    if paths.is_empty() {
        return None;
    }
    let whole = paths.iter().any(|path| path.is_empty());
    if whole || !is_readable(claims) {
        return Some(claims.clone());
    }
    Some(parts(claims, &paths).map_or_else(|| claims.clone(), Arc::from))
}

/// The object in `text` with what is below `paths`, none of which is empty. `None` if it is no object: then all of it counts.
fn parts<'p>(text: &str, paths: &[&'p [Arc<str>]]) -> Option<String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let mut kept: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
    for (key, value) in members {
        let below =
            |path: &&'p [Arc<str>]| path.split_first().filter(|(first, _)| ***first == *key).map(|(_, rest)| rest);
        let deeper: Vec<&[Arc<str>]> = paths.iter().filter_map(below).collect();
        if deeper.is_empty() {
            continue;
        }
        let whole = deeper.iter().any(|path| path.is_empty());
        let part = if whole { None } else { parts(value.get(), &deeper) };
        kept.insert(key, part.and_then(|part| RawValue::from_string(part).ok()).unwrap_or_else(|| value.to_owned()));
    }
    serde_json::to_string(&kept).ok()
}

/// How deep claims may nest for Postgres to read them without doubt.
const DEPTH_MAX: usize = 64;

/// Whether Postgres can read all of the JSON. It refuses some texts as a whole that RFC 8259 allows: escapes that are no
/// characters, numbers beyond its own, and what nests too deep. An excerpt without them would be answered where the claims
/// are refused.
fn is_readable(claims: &str) -> bool {
    let (mut depth, mut in_text, mut escaped, mut in_number) = (0_usize, false, false, false);
    for byte in claims.bytes() {
        match (in_text, byte) {
            (true, b'u') if escaped => return false,
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_text = false,
            (true, _) => {}
            (false, b'"') => in_text = true,
            (false, b'e' | b'E') if in_number => return false,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
        in_number = !in_text && byte.is_ascii_digit();
        if depth > DEPTH_MAX {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(claims: &str, paths: &[&str]) -> String {
        let claims: Arc<str> = claims.into();
        let read: ClaimsRead = paths.iter().map(|path| path.split('.').filter(|key| !key.is_empty())).collect();
        excerpt(&claims, &read).map_or_else(|| "none".to_owned(), |excerpt| excerpt.to_string())
    }

    #[test]
    fn only_what_is_read_is_left() {
        let claims = r#"{"app":{"team":"t","x":1.50},"exp":17,"list":[{"a":1}],"role":"r","sub":"s","zero":null}"#;
        for (paths, expected) in [
            (&[][..], "none"),
            (&["sub"], r#"{"sub":"s"}"#),
            (&["absent"], "{}"),
            (&["zero"], r#"{"zero":null}"#),
            (&["app.team", "sub"], r#"{"app":{"team":"t"},"sub":"s"}"#),
            (&["app.x", "app.absent.y"], r#"{"app":{"x":1.50}}"#),
            (&["app"], r#"{"app":{"team":"t","x":1.50}}"#),
            // What is no object is kept as it is: what is below it depends on all of it.
            (&["list.a", "sub.x"], r#"{"list":[{"a":1}],"sub":"s"}"#),
            (&[""], claims),
        ] {
            assert_eq!(cut(claims, paths), expected, "{paths:?}");
        }
    }

    #[test]
    fn claims_that_postgres_may_refuse_stay_whole() {
        for odd in [r#""\u0000""#, "1e999999", "[1E5]", &("[".repeat(80) + &"]".repeat(80))] {
            let claims = format!(r#"{{"odd":{odd},"sub":"s"}}"#);
            assert_eq!(cut(&claims, &["sub"]), claims);
        }
        for plain in [r#""3e8 \\u00 \" 1e5""#, "[10, true, false]", "-12.5"] {
            let claims = format!(r#"{{"plain":{plain},"sub":"s"}}"#);
            assert_eq!(cut(&claims, &["sub"]), r#"{"sub":"s"}"#, "{plain}");
        }
    }

    #[test]
    fn of_two_members_with_one_name_the_last_counts_as_in_postgres() {
        assert_eq!(cut(r#"{"app":{"a":1,"a":2,"b":3}}"#, &["app.a"]), r#"{"app":{"a":2}}"#);
    }
}
