//! What one node admits by itself while Redis does not answer.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use governor::{
    DefaultKeyedRateLimiter,
    clock::{Clock as _, DefaultClock},
};
use moka::sync::Cache;

use super::{Decision, Judge, Quota, RateKey, Verdict};

/// Different quotas that are kept apart; those used longest ago begin anew.
const QUOTAS_MAX: u64 = 1_024;
/// Keys are swept after so many checks: those with a full share need not be remembered.
const SWEEP_EVERY: u32 = 10_000;
/// What of its share may pass at once: one part in so many. The rest comes evenly, so that no window sees much more than it.
const BURST: u32 = 10;

/// Local limiters, one per quota.
pub(super) struct LocalLimits {
    share_percent: u32,
    limiters: Cache<Quota, Arc<DefaultKeyedRateLimiter<RateKey>>>,
    checks: AtomicU32,
    clock: DefaultClock,
}

impl LocalLimits {
    pub(super) fn new(share_percent: u32) -> Self {
        let clock = DefaultClock::default();
        Self { share_percent, limiters: Cache::new(QUOTAS_MAX), checks: AtomicU32::new(0), clock }
    }

    pub(super) fn check(&self, key: &RateKey, quota: Quota, cost: u32) -> Decision {
        let limiter = self.limiters.get_with(quota, || Arc::new(DefaultKeyedRateLimiter::keyed(self.share(quota))));
        if self.checks.fetch_add(1, Relaxed).is_multiple_of(SWEEP_EVERY) {
            limiter.retain_recent();
        }
        let refused = |retry_after| Verdict::Refused { retry_after };
        let verdict = match NonZeroU32::new(cost).map(|cost| limiter.check_key_n(key, cost)) {
            None | Some(Ok(Ok(()))) => Verdict::Allowed,
            Some(Ok(Err(not_until))) => refused(not_until.wait_time_from(self.clock.now())),
            // It never passes here, but may when Redis is back.
            Some(Err(_)) => refused(quota.window()),
        };
        Decision { verdict, remaining: 0, judge: Judge::Local }
    }

    /// This node's share of the quota.
    fn share(&self, quota: Quota) -> governor::Quota {
        let share = (u64::from(quota.limit()) * u64::from(self.share_percent) / 100).max(1);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(share / BURST).unwrap_or(NonZeroU32::MIN);
        governor::Quota::with_period(quota.window() / share)
            .map_or(governor::Quota::per_second(burst), |even| even.allow_burst(burst))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_node_admits_its_share_and_says_that_it_is_alone() {
        let local = LocalLimits::new(50);
        let quota = Quota::new(1_000, Duration::from_secs(3_600)).unwrap();
        let (one, other) = (RateKey::new("ip", "a", ""), RateKey::new("ip", "b", ""));
        let admitted = |key| (0..1_000).filter(|_| local.check(key, quota, 1).verdict == Verdict::Allowed).count();
        assert_eq!(admitted(&one), 50, "a tenth of its share at once");
        assert_eq!(admitted(&other), 50, "keys do not share");
        let refused = local.check(&one, quota, 1);
        let Verdict::Refused { retry_after } = refused.verdict else { panic!("{refused:?}") };
        assert!(retry_after <= Duration::from_millis(7_200), "{retry_after:?}");
        assert_eq!(refused.judge, Judge::Local);
        assert!(matches!(local.check(&one, quota, 51).verdict, Verdict::Refused { .. }));
    }

    #[test]
    fn a_small_share_is_still_one() {
        let local = LocalLimits::new(1);
        let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
        let key = RateKey::new("ip", "a", "");
        assert_eq!(local.check(&key, quota, 1).verdict, Verdict::Allowed);
        assert!(matches!(local.check(&key, quota, 1).verdict, Verdict::Refused { .. }));
    }
}
