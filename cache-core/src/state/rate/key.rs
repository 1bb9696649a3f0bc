//! Whose requests are counted together.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_128;

use super::Quota;
use crate::state::Name;

/// What is counted together: a subject (an address, a user) of a scope (addresses, users), under one rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateKey {
    scope: &'static str,
    subject: String,
    rule: String,
}

impl RateKey {
    /// `scope` is a word of the caller's; `rule` tells apart limits that count the same subject, and may be empty. Subjects that
    /// are no [`Name`], which users may choose, count by their hash.
    #[must_use]
    pub fn new(scope: &'static str, subject: &str, rule: &str) -> Self {
        Self { scope, subject: plain(subject).into_owned(), rule: plain(rule).into_owned() }
    }

    pub(super) fn kind(&self) -> String {
        format!("ratelimit:{}", self.scope)
    }

    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// Counters of different windows have nothing in common.
    pub(super) fn suffix(&self, quota: Quota) -> String {
        format!(":{}:{}", quota.window().as_millis(), self.rule)
    }
}

fn plain(text: &str) -> Cow<'_, str> {
    if text.is_empty() || Name::new(text).is_ok() {
        return text.into();
    }
    format!("#{:032x}", xxh3_128(text.as_bytes())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_subject_breaks_out_of_its_key() {
        assert_eq!(RateKey::new("user", "42", "").subject(), "42");
        let strange = RateKey::new("user", "a}b {c", "/über");
        assert!(strange.subject().starts_with('#') && strange.rule.starts_with('#'), "{strange:?}");
        assert_ne!(strange, RateKey::new("user", "a}b {d", "/über"));
    }
}
