//! What a client is told of its limits: the fields `RateLimit-Policy` and `RateLimit`
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>).

use std::{fmt::Write as _, time::Duration};

use cache_core::state::rate::{Decision, Quota, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How a client stands with one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    name: String,
    quota: Quota,
    remaining: u32,
    /// until there is more: for sure, or at the earliest
    after: Duration,
}

/// How it stands with all that count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standings(Vec<Standing>);

impl Standing {
    pub(crate) fn new(name: String, quota: Quota, decision: &Decision) -> Self {
        let after = match decision.verdict {
            Verdict::Allowed => quota.window(),
            Verdict::Refused { retry_after } => retry_after,
        };
        Self { name, quota, remaining: decision.remaining, after }
    }
}

impl Standings {
    pub(crate) fn push(&mut self, standing: Standing) {
        self.0.push(standing);
    }

    /// Writes them into the headers of an answer; nothing if no limit counts.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        headers.extend(self.headers());
    }

    /// The two fields.
    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let (mut policy, mut limit) = (String::new(), String::new());
        for Standing { name, quota, remaining, after } in &self.0 {
            let comma = if policy.is_empty() { "" } else { ", " };
            let (window, after) = (seconds(quota.window()), seconds(*after));
            // A string of structured fields (RFC 9651, section 3.3.3).
            let name = name.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = write!(policy, "{comma}\"{name}\";q={};w={window}", quota.limit());
            let _ = write!(limit, "{comma}\"{name}\";r={remaining};t={after}");
        }
        let fields = [(POLICY, policy), (LIMIT, limit)].into_iter().filter(|(_, text)| !text.is_empty());
        fields.filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))).collect()
    }
}

/// Whole seconds, rounded up: who comes back too early only comes again.
fn seconds(duration: Duration) -> u128 {
    duration.as_millis().div_ceil(1_000).max(1)
}

#[cfg(test)]
mod tests {
    use cache_core::state::rate::Judge;

    use super::*;

    #[test]
    fn limits_are_told_as_the_draft_has_it() {
        let quota = Quota::new(300, Duration::from_secs(60)).unwrap();
        let allowed = Decision { verdict: Verdict::Allowed, remaining: 12, judge: Judge::Cluster };
        let retry_after = Duration::from_millis(1_001);
        let refused = Decision { verdict: Verdict::Refused { retry_after }, remaining: 0, judge: Judge::Local };
        let mut standings = Standings::default();
        assert!(standings.headers().is_empty());
        standings.push(Standing::new("ip".to_owned(), quota, &allowed));
        standings.push(Standing::new("user@pro".to_owned(), quota, &refused));
        let mut headers = HeaderMap::new();
        standings.tell(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"ip\";q=300;w=60, \"user@pro\";q=300;w=60");
        assert_eq!(headers["ratelimit"], "\"ip\";r=12;t=60, \"user@pro\";r=0;t=2");
    }
}
