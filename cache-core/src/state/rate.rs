//! Rate limits across nodes: at most so many in **any** window of a length, counted in Redis by one script.
//!
//! ```text
//! check ── refused a moment ago, and nothing can have changed ─> refused, without asking
//!       ── Redis counts ───────────────────────────────────────> allowed or refused, exactly
//!       ── Redis does not answer ──────────────────────────────> this node alone, by its share of the limit
//! ```
//!
//! The window slides in steps of a sixtieth of its length: what was counted leaves when all of its step is older than the
//! window. So a limit is never exceeded in any window, wherever it begins, and comes back a sixtieth late at most.

mod key;
mod local;

use std::{sync::Arc, time::Duration};

use fred::types::{Value, scripts::Script};
use moka::sync::Cache;

pub use self::key::RateKey;
use self::local::LocalLimits;
use super::Keyspace;
use crate::{
    clock::{Clock, Moment},
    error::RedisError,
};

/// Shortest window: one step of it is still a millisecond.
pub const WINDOW_MIN: Duration = Duration::from_millis(60);
/// Longest window.
pub const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);
/// Highest limit: sums of it are exact in Lua.
pub const LIMIT_MAX: u32 = 1_000_000_000;

/// Refusals that are remembered, so that a flood of one client is not a flood of Redis.
const REFUSALS_MAX: u64 = 100_000;

/// At most `limit` in any `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: u32,
    window: Duration,
}

impl Quota {
    /// `None` if a bound is exceeded: [`LIMIT_MAX`], [`WINDOW_MIN`], [`WINDOW_MAX`]; a limit is at least 1.
    #[must_use]
    pub fn new(limit: u32, window: Duration) -> Option<Self> {
        let sound = (1..=LIMIT_MAX).contains(&limit) && (WINDOW_MIN..=WINDOW_MAX).contains(&window);
        sound.then_some(Self { limit, window })
    }

    /// How many.
    #[must_use]
    pub fn limit(self) -> u32 {
        self.limit
    }

    /// In which time.
    #[must_use]
    pub fn window(self) -> Duration {
        self.window
    }
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// whether it may pass
    pub verdict: Verdict,
    /// what is left in this window; 0 for a refusal that was remembered
    pub remaining: u32,
    /// who decided
    pub judge: Judge,
}

/// Whether something may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// it may, and was counted
    Allowed,
    /// it may not, and was not counted
    Refused {
        /// before that nothing of this cost can pass
        retry_after: Duration,
    },
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// Redis, for all nodes, or this node by what Redis said a moment ago
    Cluster,
    /// this node alone, because Redis did not answer
    Local,
}

/// The limits of a namespace. Keys under `transom:<namespace>:ratelimit:<scope>:{<subject>}:..`, for as long as their window.
pub struct RateLimits {
    keys: Option<Keyspace>,
    check: Script,
    local: LocalLimits,
    /// until when nothing can pass that costs 1
    refused_until: Cache<Arc<str>, Moment>,
    clock: Clock,
}

impl RateLimits {
    /// Limits that all nodes of the namespace share; without Redis, each node for itself. While Redis does not answer, a node
    /// admits `local_share_percent` of each limit by itself: with n nodes, 100/n keeps the sum at the limit.
    #[must_use]
    pub fn new(keys: Option<Keyspace>, local_share_percent: u32) -> Self {
        Self {
            keys,
            check: Script::from_lua(include_str!("rate/check.lua")),
            local: LocalLimits::new(local_share_percent),
            refused_until: Cache::new(REFUSALS_MAX),
            clock: Clock::start(),
        }
    }

    /// Counts one of this cost against the quota, if there is room for all of it. Waits at most one timeout of Redis, and
    /// never fails.
    ///
    /// # Cancel safety
    /// Dropped halfway, it may have been counted.
    pub async fn check(&self, key: &RateKey, quota: Quota, cost: u32) -> Decision {
        let Some(keys) = &self.keys else { return self.local.check(key, quota, cost) };
        let name = keys.key(&key.kind(), key.subject()) + &key.suffix(quota);
        let sent_at = self.clock.now();
        if let Some(until) = self.refused_until.get(name.as_str()).filter(|until| sent_at < *until) {
            let verdict = Verdict::Refused { retry_after: until.since(sent_at) };
            return Decision { verdict, remaining: 0, judge: Judge::Cluster };
        }
        match self.ask(keys, &name, quota, cost).await {
            Ok(decision) => {
                // Whatever passes meanwhile only makes it later. Counted from before it was asked, so never too late.
                if let (Verdict::Refused { retry_after }, 1) = (decision.verdict, cost) {
                    self.refused_until.insert(name.into(), sent_at.plus(retry_after));
                }
                decision
            }
            Err(_) => self.local.check(key, quota, cost),
        }
    }

    async fn ask(&self, keys: &Keyspace, name: &str, quota: Quota, cost: u32) -> Result<Decision, RedisError> {
        let args: Vec<Value> =
            vec![quota.limit.into(), i64::try_from(quota.window.as_millis()).unwrap_or(i64::MAX).into(), cost.into()];
        let answer: (bool, i64, u64) = keys.run(&self.check, vec![name.to_owned()], args).await?;
        let (allowed, remaining, micros) = answer;
        let retry_after = Duration::from_micros(micros);
        let verdict = if allowed { Verdict::Allowed } else { Verdict::Refused { retry_after } };
        Ok(Decision { verdict, remaining: u32::try_from(remaining).unwrap_or(0), judge: Judge::Cluster })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_keeps_its_bounds() {
        let minute = Duration::from_secs(60);
        assert_eq!(Quota::new(5, minute).map(|quota| (quota.limit(), quota.window())), Some((5, minute)));
        for (limit, window) in [(0, minute), (LIMIT_MAX + 1, minute), (1, WINDOW_MIN / 2), (1, WINDOW_MAX * 2)] {
            assert_eq!(Quota::new(limit, window), None, "{limit} per {window:?}");
        }
    }
}
