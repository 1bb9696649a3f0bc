//! What a node counts. One [`Metrics`] per node, not per process, because tests run several nodes in one.

use std::time::Duration;

use cache_core::coherence::Break;
use cache_core::outcome::{
    CollapseEnd, LapseReason, LeaseResult, ResyncReason, Source, StaleReason, Tier, TierResult, Unreadable,
};
use http::StatusCode;
use prometheus::{Histogram, IntCounter, Registry, TextEncoder};

use super::absent::AbsentResult;
use super::family::{Counters, Grid, Histograms, Requests, counter, histogram};
use super::gauges::{GaugeHandles, Gauges};
use super::hits::Hits;
use super::labels::{AuditSkip, Operation, Reload, RequestOutcome, Route};
use super::state::StateMetrics;

/// What a node counts.
pub struct Metrics {
    registry: Registry,
    slow_query: Duration,
    requests: Requests,
    request_duration: Histograms<{ RequestOutcome::ALL.len() }>,
    tier_lookups: Grid<{ Tier::ALL.len() }, { TierResult::ALL.len() }>,
    origin_duration: Histograms<{ Operation::ALL.len() }>,
    slow_queries: Counters<{ Operation::ALL.len() }>,
    absent: Counters<{ AbsentResult::ALL.len() }>,
    collapsed: Counters<{ CollapseEnd::ALL.len() }>,
    fill_leases: Counters<{ LeaseResult::ALL.len() }>,
    announcements: Counters<{ Source::ALL.len() }>,
    announce_delay: Histogram,
    feed_epochs: Counters<{ Break::ALL.len() }>,
    resyncs: Counters<{ ResyncReason::ALL.len() }>,
    lapses: Counters<{ LapseReason::ALL.len() }>,
    unreadable: Counters<{ Unreadable::ALL.len() }>,
    stale_served: Counters<{ StaleReason::ALL.len() }>,
    audit_reads: IntCounter,
    audit_stale: IntCounter,
    audit_skipped: Counters<{ AuditSkip::ALL.len() }>,
    schema_reloads: Counters<{ Reload::ALL.len() }>,
    state: StateMetrics,
    gauges: GaugeHandles,
}

impl Metrics {
    /// Counters at zero. Origin queries that take longer than `slow_query` count as slow.
    #[must_use]
    pub fn new(slow_query: Duration) -> Self {
        let registry = Registry::new();
        let r = &registry;
        Self {
            slow_query,
            requests: Requests::new(r),
            request_duration: Histograms::new(
                r,
                "transom_request_duration_seconds",
                "Time from the head of a request to its answer",
                "outcome",
                RequestOutcome::ALL.map(RequestOutcome::as_str),
            ),
            tier_lookups: Grid::new(
                r,
                "transom_tier_lookups_total",
                "Lookups by tier and result",
                ["tier", "result"],
                Tier::ALL.map(Tier::as_str),
                TierResult::ALL.map(TierResult::as_str),
            ),
            origin_duration: Histograms::new(
                r,
                "transom_origin_duration_seconds",
                "Time that Postgres took",
                "operation",
                Operation::ALL.map(Operation::as_str),
            ),
            slow_queries: Counters::new(
                r,
                "transom_slow_queries_total",
                "Origin queries that took longer than slow_query",
                "operation",
                Operation::ALL.map(Operation::as_str),
            ),
            absent: Counters::new(
                r,
                "transom_absent_filter_total",
                "Rows looked for in the filter of a table that keeps in mind which are absent, by what came of it",
                "result",
                AbsentResult::ALL.map(AbsentResult::as_str),
            ),
            collapsed: Counters::new(
                r,
                "transom_collapsed_total",
                "Requests that waited for somebody else's fill, by how that ended",
                "end",
                CollapseEnd::ALL.map(CollapseEnd::as_str),
            ),
            fill_leases: Counters::new(
                r,
                "transom_fill_lease_total",
                "Fills that asked whether a peer was filling, by what came of it",
                "result",
                LeaseResult::ALL.map(LeaseResult::as_str),
            ),
            announcements: Counters::new(
                r,
                "transom_announcements_total",
                "Announcements made by this node",
                "source",
                Source::ALL.map(Source::as_str),
            ),
            announce_delay: histogram(
                r,
                "transom_announce_delay_seconds",
                "Time from a commit in Postgres, by its clock, to its announcement by the change feed",
            ),
            feed_epochs: Counters::new(
                r,
                "transom_feed_epochs_total",
                "Epochs begun because the change feed could not continue what was announced, by why",
                "reason",
                Break::ALL.map(Break::as_str),
            ),
            resyncs: Counters::new(
                r,
                "transom_resyncs_total",
                "Times the whole coherence table was read again",
                "reason",
                ResyncReason::ALL.map(ResyncReason::as_str),
            ),
            lapses: Counters::new(
                r,
                "transom_lease_lapses_total",
                "Times this node could not prove its coherence any more, by what was missing",
                "reason",
                LapseReason::ALL.map(LapseReason::as_str),
            ),
            unreadable: Counters::new(
                r,
                "transom_l2_unreadable_total",
                "Values in Redis that were of no use to this node, and so misses",
                "reason",
                Unreadable::ALL.map(Unreadable::as_str),
            ),
            stale_served: Counters::new(
                r,
                "transom_stale_served_total",
                "Answers from entries that were not fresh",
                "reason",
                StaleReason::ALL.map(StaleReason::as_str),
            ),
            audit_reads: counter(r, "transom_audit_reads_total", "Reads of the auditor, to compare hits with Postgres"),
            audit_stale: counter(
                r,
                "transom_audit_stale_total",
                "Hits that Postgres contradicts, with no announcement within max_staleness",
            ),
            audit_skipped: Counters::new(
                r,
                "transom_audit_skipped_total",
                "Hits that were to be audited and were not, by why",
                "reason",
                AuditSkip::ALL.map(AuditSkip::as_str),
            ),
            schema_reloads: Counters::new(
                r,
                "transom_schema_reloads_total",
                "Times the schema was read again, by what came of it",
                "result",
                Reload::ALL.map(Reload::as_str),
            ),
            state: StateMetrics::new(r),
            gauges: GaugeHandles::new(r),
            registry,
        }
    }

    /// A request was answered.
    pub fn request(&self, route: Route, status: StatusCode, outcome: RequestOutcome, elapsed: Duration) {
        self.requests.count(route, status, outcome);
        self.request_duration.observe(outcome as usize, elapsed.as_secs_f64());
    }

    /// What is counted of shared state.
    #[must_use]
    pub fn state(&self) -> &StateMetrics {
        &self.state
    }

    /// A worker's own count of hits, at zero.
    #[must_use]
    pub fn hits(&self) -> Hits {
        Hits::new(self.request_duration.local(RequestOutcome::HitL1 as usize))
    }

    /// Adds what a worker counted by itself, and leaves it at zero.
    pub fn add(&self, hits: &mut Hits) {
        for (status, count) in &mut hits.by_status {
            self.requests.add(Route::Rest, *status, RequestOutcome::HitL1, std::mem::take(count));
        }
        self.tier_lookups.add(Tier::L1 as usize, TierResult::Hit as usize, std::mem::take(&mut hits.pending));
        hits.durations.flush();
    }

    /// A tier was asked for an entry.
    pub fn tier_lookup(&self, tier: Tier, result: TierResult) {
        self.tier_lookups.count(tier as usize, result as usize);
    }

    /// Postgres did something. Says whether it was slow, so that the caller, who knows the statement, can log it.
    pub fn origin(&self, operation: Operation, elapsed: Duration) -> bool {
        self.origin_duration.observe(operation as usize, elapsed.as_secs_f64());
        let slow = elapsed > self.slow_query;
        if slow {
            self.slow_queries.count(operation as usize);
        }
        slow
    }

    /// A row was looked for among those that are absent.
    pub fn absent(&self, result: AbsentResult) {
        self.absent.count(result as usize);
    }

    /// A request waited for somebody else's fill.
    pub fn collapsed(&self, end: CollapseEnd) {
        self.collapsed.count(end as usize);
    }

    /// A fill asked whether a peer was filling.
    pub fn fill_lease(&self, result: LeaseResult) {
        self.fill_leases.count(result as usize);
    }

    /// The auditor asked Postgres again.
    pub fn audit_read(&self) {
        self.audit_reads.inc();
    }

    /// The auditor found a hit that was wrong.
    pub fn audit_stale(&self) {
        self.audit_stale.inc();
    }

    /// The auditor left a hit alone.
    pub fn audit_skipped(&self, why: AuditSkip) {
        self.audit_skipped.count(why as usize);
    }

    /// This node announced a change.
    pub fn announced(&self, source: Source) {
        self.announcements.count(source as usize);
    }

    /// A commit was announced so long after it was made.
    pub fn announce_delay(&self, elapsed: Duration) {
        self.announce_delay.observe(elapsed.as_secs_f64());
    }

    /// The leader of the change feed announces whole tables, because it is behind the log.
    pub fn feed_falls_behind(&self) {
        self.gauges.feed_coarse.set(1);
    }

    /// It announces rows.
    pub fn feed_keeps_up(&self) {
        self.gauges.feed_coarse.set(0);
    }

    /// The change feed is of this kind, by its name.
    pub fn feed_kind(&self, kind: &'static str) {
        self.gauges.feed_kind.with_label_values(&[kind]).set(1);
    }

    /// The change feed began a new epoch.
    pub fn feed_epoch(&self, reason: Break) {
        self.feed_epochs.count(reason as usize);
    }

    /// This node read the whole coherence table again.
    pub fn resync(&self, reason: ResyncReason) {
        self.resyncs.count(reason as usize);
    }

    /// This node could not prove its coherence any more.
    pub fn lapse(&self, reason: LapseReason) {
        self.lapses.count(reason as usize);
    }

    /// A value in Redis was of no use.
    pub fn unreadable(&self, reason: Unreadable) {
        self.unreadable.count(reason as usize);
    }

    /// An entry that is not fresh was served.
    pub fn stale_served(&self, reason: StaleReason) {
        self.stale_served.count(reason as usize);
    }

    /// The schema was read again.
    pub fn schema_reload(&self, result: Reload) {
        self.schema_reloads.count(result as usize);
    }

    /// Everything in the text format of Prometheus.
    #[must_use]
    pub fn render(&self, gauges: Gauges) -> String {
        self.gauges.set(gauges);
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text).expect("writing to a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests;
