//! Reads that a node asks by itself, with one place for whom they are about.

use std::fmt::Write as _;
use std::time::Duration;

use http::uri::PathAndQuery;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What a node asks Postgres on behalf of services, as reads of their own.
#[derive(Debug, Clone)]
pub struct Permissions {
    /// what a user may do; `None`: that is not asked here
    pub users: Option<StandingQuery>,
    /// whom an API key belongs to, and what it may
    pub api_keys: Option<StandingQuery>,
    /// how a project is configured
    pub projects: Option<StandingQuery>,
    /// as whom Postgres is asked; `None`: the role of the connection
    pub role: Option<String>,
    /// in which of the exposed schemas; `None`: the first
    pub schema: Option<String>,
    /// how long an answer is kept that does not change
    pub kept_for: Duration,
}

/// A read as clients write it, with one place: `/user_permissions?user_id=eq.{user}&select=permission`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingQuery {
    before: String,
    after: String,
}

/// What a read is of that is called rather than filtered.
const FUNCTIONS: &str = "/rpc/";

impl StandingQuery {
    /// Reads one. The place is all that a filter for equality compares with, or all that an argument of a function is: there
    /// whatever stands in it is a value, and cannot be anything else.
    pub(super) fn read(text: &str, place: &str) -> Option<Self> {
        let (before, after) = text.split_once(place)?;
        let path = before.split_once('?')?.0;
        let parameter = before.rsplit(['?', '&']).next()?;
        let (name, operator) = parameter.split_once('=')?;
        let is_value = operator == "eq." || (operator.is_empty() && path.starts_with(FUNCTIONS));
        let is_whole = after.is_empty() || after.starts_with('&');
        let is_one = !after.contains(place) && path.starts_with('/') && path.len() > 1 && !name.is_empty();
        let is_target = format!("{before}x{after}").parse::<PathAndQuery>().is_ok() && !text.contains('#');
        (is_value && is_whole && is_one && is_target)
            .then(|| Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// The read about this one: path and query.
    #[must_use]
    pub fn about(&self, subject: &str) -> String {
        let mut target = self.before.clone();
        write!(target, "{}", utf8_percent_encode(subject, NON_ALPHANUMERIC)).expect("writing to memory does not fail");
        target + &self.after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_a_whole_value() {
        let query = StandingQuery::read("/p?user_id=eq.{user}&select=a,r:roles(name)", "{user}").unwrap();
        assert_eq!(
            query.about("al&ice=\"(1,2)\" é"),
            "/p?user_id=eq.al%26ice%3D%22%281%2C2%29%22%20%C3%A9&select=a,r:roles(name)"
        );
        assert_eq!(StandingQuery::read("/rpc/may?id={user}", "{user}").unwrap().about("7"), "/rpc/may?id=7");
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = [
            "/p?user_id=eq.7",
            "/p?user_id=eq.{user}&or=(a.eq.{user})",
            "/p?or=(a.eq.{user})",
            "/p?user_id=in.({user})",
            "/p?user_id=eq.{user}x",
            "/p?user_id=not.eq.{user}",
            "/p?user_id={user}",
            "/{user}",
            "/{user}?a=eq.1",
            "p?user_id=eq.{user}",
            "/?user_id=eq.{user}",
            "/p?=eq.{user}",
            "/p?user_id=eq.{user}#x",
            "/p q?user_id=eq.{user}",
            "",
        ];
        for text in wrong {
            assert_eq!(StandingQuery::read(text, "{user}"), None, "{text}");
        }
    }
}
