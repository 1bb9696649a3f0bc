//! `Cache-Status` as RFC 9211 has it: a structured field, so whatever does not parse as one is a fault.

use std::collections::BTreeMap;

use sfv::{BareItem, List, ListEntry, Parser};

use crate::Response;

/// What the one cache on the way, Transom, says about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheStatus {
    parameters: BTreeMap<String, Option<String>>,
}

impl CacheStatus {
    /// Reads the header of an answer.
    ///
    /// # Panics
    /// If it is missing, breaks the syntax of RFC 9211, or contradicts itself.
    pub fn of(response: &Response) -> Self {
        let text = response.header("cache-status");
        let list: List =
            Parser::new(text).parse().unwrap_or_else(|error| panic!("not a list ({error}): {text:?}, {response:?}"));
        let [ListEntry::Item(item)] = list.as_slice() else { panic!("not one cache: {text}") };
        assert_eq!(item.bare_item.as_token().map(sfv::TokenRef::as_str), Some("transom"), "{text}");
        let parameters = item.params.iter().map(|(key, value)| (key.as_str().to_owned(), plain(key.as_str(), value)));
        let status = Self { parameters: parameters.collect() };
        // RFC 9211, section 2.1: a hit was not forwarded; sections 2.5 and 2.6: only what was forwarded can be stored.
        assert!(!(status.has("hit") && status.has("fwd")), "{text}");
        assert!(status.has("fwd") || !(status.has("stored") || status.has("collapsed")), "{text}");
        status
    }

    /// Whether the parameter is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// The value of a parameter; empty if it is not there or is a mere flag.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.parameters.get(name).and_then(Option::as_deref).unwrap_or_default()
    }

    /// The `ttl`, in seconds.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn ttl(&self) -> i64 {
        self.get("ttl").parse().unwrap_or_else(|_| panic!("no ttl in {self:?}"))
    }

    /// Everything but the `ttl`, in the order of the alphabet: `detail=l1; hit`.
    #[must_use]
    pub fn gist(&self) -> String {
        let shown = self.parameters.iter().filter(|(name, _)| *name != "ttl").map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        });
        shown.collect::<Vec<_>>().join("; ")
    }
}

/// The value as text, if it has the type that the RFC gives the parameter; `None` for a flag that is set.
fn plain(name: &str, value: &BareItem) -> Option<String> {
    match (name, value) {
        ("hit" | "stored" | "collapsed", BareItem::Boolean(true)) => None,
        ("fwd" | "detail", BareItem::Token(token)) => Some(token.as_str().to_owned()),
        ("detail", BareItem::String(text)) => Some(text.as_str().to_owned()),
        ("ttl" | "fwd-status", BareItem::Integer(number)) => Some(number.to_string()),
        _ => panic!("the parameter {name} cannot be {value:?}"),
    }
}
