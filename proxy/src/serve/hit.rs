//! The short ways: a read that was asked before, in the same bytes, and is fresh in L1. Nothing is waited for.

use std::time::{Duration, Instant};

use cache_core::{
    cache::Lookup,
    clock::Moment,
    coherence::Reached,
    freshness::{Directives, Right, Verdict},
    outcome::{Tier, TierResult},
};
use http::{HeaderMap, Method, Response, Uri, request::Parts};

use super::{
    Serve, asked, directives,
    lane::{Kept, Lane},
    min_token,
    understanding::raw_key,
};
use crate::{
    layers::record,
    reply::{self, Body, CacheStatus, Reply},
    telemetry::{RequestId, RequestOutcome},
};

impl Serve {
    /// The shortest way: this worker has a copy of the answer. Touches nothing that other workers touch.
    #[must_use]
    pub fn hit_in_lane(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        began: Instant,
    ) -> Option<Response<Body>> {
        if *method != Method::GET || says_more(headers) {
            return None;
        }
        let raw = raw_key(method, uri, headers);
        let mut lane = self.lanes.mine()?;
        lane.enter(self.distinct.window());
        let Lane { copies, hits, until_audit, .. } = &mut *lane;
        let now = self.cache.clock().at(began);
        let kept = copies.find(&raw)?;
        let Some(ttl) = self.fresh_for(kept, now) else {
            copies.forget(&raw);
            return None;
        };
        self.sample_by(until_audit, method, uri, &kept.question, &kept.entry);
        let (head, body) = kept.answer(method, headers, ttl, now);
        let id = RequestId::of(headers, rand::random);
        let elapsed = began.elapsed();
        hits.count(head.status(), elapsed);
        if hits.are_many() {
            self.metrics.add(hits);
        }
        record::log(&id, method, uri, head.status(), RequestOutcome::HitL1, elapsed);
        Some(head.answer(body, &id, elapsed))
    }

    /// How long a copy stays fresh, if it is, and is what L1 has.
    fn fresh_for(&self, kept: &Kept, now: Moment) -> Option<Duration> {
        let Verdict::Serve(Right::Fresh { ttl }) = self.cache.verdict(&kept.entry, &Directives::default(), now) else {
            return None;
        };
        // The revision was read before the entry was looked up, so whatever L1 took or dropped since is seen here. The question
        // is asked after the verdict: its lease may have been granted for another coverage than the question was judged by.
        let stands = self.cache.revision(&kept.question.key) == kept.revision && self.holds(&kept.question);
        stands.then_some(ttl)
    }

    /// The short way: the question is known, and L1 has a fresh answer. The lane keeps a copy.
    #[must_use]
    pub fn hit_at_once(&self, parts: &Parts) -> Option<Reply> {
        let raw = raw_key(&parts.method, &parts.uri, &parts.headers);
        let question = self.questions.get(&raw)?;
        let directives = directives::of(&parts.headers);
        if directives.no_cache || directives.no_store || question.bypass.is_some() {
            return None;
        }
        if let Some(token) = min_token(parts).ok()? {
            (self.cache.coherence().reached(token) == Reached::Yes).then_some(())?;
        }
        let now = self.cache.clock().now();
        let revision = self.cache.revision(&question.key);
        let Lookup::Found(found) = self.cache.lookup_l1(&question.key, &directives, now) else { return None };
        let Right::Fresh { ttl } = found.right else { return None };
        // After the lookup: its lease may have been granted for another coverage than the question was judged by.
        if !self.holds(&question) {
            return None;
        }
        self.metrics.tier_lookup(Tier::L1, TierResult::Hit);
        self.sample(&parts.method, &parts.uri, &question, &found.entry);
        self.distinct.note(&question.plan.target, &question.asked);
        if parts.method == Method::GET
            && let Some(mut lane) = self.lanes.mine()
        {
            lane.copies.keep(&raw, &question, &found.entry, revision);
        }
        Some(reply::to_read(asked(parts, &question), &found.entry, CacheStatus::Hit { tier: Tier::L1, ttl }, now))
    }

    /// Adds what the lanes counted to the metrics, which are about to be read.
    pub(crate) fn settle_metrics(&self) {
        self.lanes.settle(&self.metrics);
    }
}

/// Whether a request says more than what it asks for: of caching, or of a write that it must not miss.
fn says_more(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| matches!(name.as_str(), "cache-control" | "pragma" | "transom-min-token"))
}
