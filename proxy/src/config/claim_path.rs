//! Where in the claims of a token the role stands: the JSPath of PostgREST
//! (<https://docs.postgrest.org/en/v12/references/auth.html#jwt-role-extraction>).

use std::str::FromStr;

use serde_json::Value;

/// A path into a JSON document: `.app.roles[0]`, `."a key of any kind"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(pub Vec<Step>);

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// into an object, by key
    Key(String),
    /// into an array, by position
    Index(usize),
}

impl ClaimPath {
    /// What stands there; what is no text stands for itself.
    #[must_use]
    pub fn find(&self, claims: &Value) -> Option<String> {
        let found = self.0.iter().try_fold(claims, |value, step| match step {
            Step::Key(key) => value.as_object()?.get(key),
            Step::Index(index) => value.as_array()?.get(*index),
        })?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    }
}

/// The text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPath;

impl FromStr for ClaimPath {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Self, NoPath> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or(NoPath)?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() { Err(NoPath) } else { Ok(Self(steps)) }
    }
}

/// The first step, and what follows it.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(index) = text.strip_prefix('[') {
        let (digits, rest) = index.split_once(']')?;
        return Some((Step::Index(digits.parse().ok()?), rest));
    }
    let key = text.strip_prefix('.')?;
    if let Some(quoted) = key.strip_prefix('"') {
        let (key, rest) = quoted.split_once('"')?;
        return Some((Step::Key(key.to_owned()), rest));
    }
    let end = key.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$' | '@'))).unwrap_or(key.len());
    let (key, rest) = key.split_at(end);
    (!key.is_empty()).then(|| (Step::Key(key.to_owned()), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_postgrest_reads_them() {
        let key = |key: &str| Step::Key(key.to_owned());
        for (text, steps) in [
            (".role", vec![key("role")]),
            (".a.b", vec![key("a"), key("b")]),
            (".a[0]", vec![key("a"), Step::Index(0)]),
            (".a[12].b", vec![key("a"), Step::Index(12), key("b")]),
            (r#"."https://x.y/role".z"#, vec![key("https://x.y/role"), key("z")]),
        ] {
            assert_eq!(text.parse(), Ok(ClaimPath(steps)), "{text}");
        }
        for text in ["", "role", ".", "..a", ".a[", ".a[x]", ".a[-1]", ".a b", ".\"a"] {
            assert_eq!(text.parse::<ClaimPath>(), Err(NoPath), "{text}");
        }
    }
}
