//! May this entry answer this request? Pure functions of the entry, the request's directives and the time.

use std::time::Duration;

use crate::{
    coherence::Proof,
    entry::Lifetimes,
    outcome::{StaleReason, TierResult},
};

/// What a request says about caching (RFC 9111, section 5.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Directives {
    /// `no-cache`: ask the origin, whatever is stored
    pub no_cache: bool,
    /// `no-store`: leave no trace
    pub no_store: bool,
    /// `only-if-cached`: never ask the origin
    pub only_if_cached: bool,
    /// `max-age`: nothing older
    pub max_age: Option<Duration>,
    /// `min-fresh`: still fresh for that long
    pub min_fresh: Duration,
    /// `max-stale`: expired by at most that long; without an argument, by any time
    pub max_stale: Option<Duration>,
}

/// What may be done with a stored entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// serve it
    Serve(Right),
    /// ask the origin
    Refuse {
        /// what is wrong with it
        because: TierResult,
        /// whether it may still answer if the origin fails
        if_error: bool,
        /// since when it is not fresh
        expired_for: Duration,
    },
}

/// By which right an entry is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// it is fresh, and stays so for `ttl` more, unless announced
    Fresh {
        /// what is left of the freshness lifetime
        ttl: Duration,
    },
    /// its lifetime is over, and somebody allows it
    Stale {
        /// who
        reason: StaleReason,
        /// since when it is not fresh
        expired_for: Duration,
    },
}

/// The rule. `purged` says that a hard purge swept the entry.
///
/// An incoherent entry is never served by `max-stale` or stale-while-revalidate: those speak of time, and this entry is
/// known to be wrong. Only the failure of the origin is worse than that (RFC 5861, section 4).
#[must_use]
pub fn judge(age: Duration, lifetimes: &Lifetimes, proof: Proof, purged: bool, directives: &Directives) -> Verdict {
    let expired_for = age.saturating_sub(lifetimes.fresh_for);
    let refuse = |because| {
        let swept = purged && because == TierResult::Incoherent;
        Verdict::Refuse { because, if_error: !swept && expired_for <= lifetimes.stale_if_error_for, expired_for }
    };
    match proof {
        Proof::Incoherent => return refuse(TierResult::Incoherent),
        Proof::Unproven => return refuse(TierResult::Unproven),
        Proof::Leased | Proof::Young => {}
    }
    if directives.max_age.is_some_and(|max_age| age > max_age) {
        return refuse(TierResult::Expired);
    }
    if age.saturating_add(directives.min_fresh) < lifetimes.fresh_for {
        return Verdict::Serve(Right::Fresh { ttl: lifetimes.fresh_for - age });
    }
    if directives.max_stale.is_some_and(|max_stale| expired_for <= max_stale) {
        return Verdict::Serve(Right::Stale { reason: StaleReason::RequestAllows, expired_for });
    }
    if directives.min_fresh.is_zero() && expired_for < lifetimes.stale_while_revalidate_for {
        return Verdict::Serve(Right::Stale { reason: StaleReason::WhileRevalidate, expired_for });
    }
    refuse(TierResult::Expired)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIMES: Lifetimes = Lifetimes {
        fresh_for: Duration::from_secs(10),
        stale_while_revalidate_for: Duration::from_secs(2),
        stale_if_error_for: Duration::from_secs(5),
    };

    fn at(age: u64, proof: Proof, directives: Directives) -> Verdict {
        judge(Duration::from_secs(age), &LIFETIMES, proof, false, &directives)
    }

    fn refused(because: TierResult, if_error: bool, expired_for: u64) -> Verdict {
        Verdict::Refuse { because, if_error, expired_for: Duration::from_secs(expired_for) }
    }

    fn fresh(ttl: u64) -> Verdict {
        Verdict::Serve(Right::Fresh { ttl: Duration::from_secs(ttl) })
    }

    fn stale(reason: StaleReason, expired_for: u64) -> Verdict {
        Verdict::Serve(Right::Stale { reason, expired_for: Duration::from_secs(expired_for) })
    }

    #[test]
    fn fresh_then_stale_while_revalidate_then_only_if_error_then_never() {
        let plain = Directives::default();
        assert_eq!(at(4, Proof::Leased, plain), fresh(6));
        assert_eq!(at(11, Proof::Young, plain), stale(StaleReason::WhileRevalidate, 1));
        assert_eq!(at(13, Proof::Leased, plain), refused(TierResult::Expired, true, 3));
        assert_eq!(at(16, Proof::Leased, plain), refused(TierResult::Expired, false, 6));
    }

    #[test]
    fn without_proof_only_an_error_makes_it_usable() {
        let generous = Directives { max_stale: Some(Duration::MAX), ..Directives::default() };
        assert_eq!(at(4, Proof::Unproven, generous), refused(TierResult::Unproven, true, 0));
        assert_eq!(at(4, Proof::Incoherent, generous), refused(TierResult::Incoherent, true, 0));
        let purged = judge(Duration::from_secs(4), &LIFETIMES, Proof::Incoherent, true, &generous);
        assert_eq!(purged, refused(TierResult::Incoherent, false, 0));
    }

    #[test]
    fn a_request_may_ask_for_more_or_less() {
        let seconds = Duration::from_secs;
        let max_age = Directives { max_age: Some(seconds(3)), ..Directives::default() };
        assert_eq!(at(4, Proof::Leased, max_age), refused(TierResult::Expired, true, 0));
        assert_eq!(at(3, Proof::Leased, max_age), fresh(7));
        let min_fresh = Directives { min_fresh: seconds(8), ..Directives::default() };
        assert_eq!(at(4, Proof::Leased, min_fresh), refused(TierResult::Expired, true, 0));
        let max_stale = Directives { max_stale: Some(seconds(20)), ..Directives::default() };
        assert_eq!(at(16, Proof::Leased, max_stale), stale(StaleReason::RequestAllows, 6));
    }
}
