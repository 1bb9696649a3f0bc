//! What a node counts. One [`Metrics`] per node, not per process, because tests run several nodes in one.

use std::time::Duration;

use cache_core::coherence::Break;
use cache_core::outcome::{
    CollapseEnd, LapseReason, LeaseResult, ResyncReason, Source, StaleReason, Tier, TierResult, Unreadable,
};
use http::StatusCode;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use super::absent::AbsentResult;
use super::family::{Counters, Grid, Histograms, Requests, counter, histogram};
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

/// What is measured at the moment of a scrape rather than counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    /// entries in L1
    pub l1_entries: u64,
    /// what they weigh
    pub l1_bytes: u64,
    /// connections to Postgres that wait for work
    pub pool_idle: u32,
    /// connections to Postgres that are at work
    pub pool_in_use: u32,
    /// `seq` of the last announcement applied
    pub watermark: u64,
    /// whether this node can prove its coherence right now
    pub lease_held: bool,
    /// fills that wait for a peer's
    pub fills_waiting: u32,
    /// how old the newest proof of the change feed is, if this node leads it
    pub feed_lag: Option<Duration>,
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

struct GaugeHandles {
    l1_entries: IntGauge,
    l1_bytes: IntGauge,
    pool_idle: IntGauge,
    pool_in_use: IntGauge,
    watermark: IntGauge,
    lease_held: IntGauge,
    fills_waiting: IntGauge,
    feed_leader: IntGauge,
    feed_lag: Gauge,
    feed_coarse: IntGauge,
    feed_kind: IntGaugeVec,
}

impl GaugeHandles {
    fn new(registry: &Registry) -> Self {
        let gauge = |name, help| {
            let gauge = IntGauge::new(name, help).expect("our own names are well formed");
            registry.register(Box::new(gauge.clone())).expect("each family is registered once");
            gauge
        };
        let help =
            "Age of the newest heartbeat that came back through the change feed; 0 if this node does not lead it";
        let feed_lag = Gauge::new("transom_feed_lag_seconds", help).expect("our own names are well formed");
        registry.register(Box::new(feed_lag.clone())).expect("each family is registered once");
        let options = Opts::new("transom_feed_kind", "1 for the kind of change feed that this node has");
        let feed_kind = IntGaugeVec::new(options, &["kind"]).expect("our own names are well formed");
        registry.register(Box::new(feed_kind.clone())).expect("each family is registered once");
        let options = Opts::new("transom_pool_connections", "Connections to Postgres");
        let pool = IntGaugeVec::new(options, &["state"]).expect("our own names are well formed");
        registry.register(Box::new(pool.clone())).expect("each family is registered once");
        Self {
            l1_entries: gauge("transom_l1_entries", "Entries in L1"),
            l1_bytes: gauge("transom_l1_bytes", "Weight of the entries in L1"),
            pool_idle: pool.with_label_values(&["idle"]),
            pool_in_use: pool.with_label_values(&["in_use"]),
            watermark: gauge("transom_coherence_watermark", "Sequence number of the last announcement applied"),
            lease_held: gauge("transom_lease_held", "1 while this node can prove that it heard every announcement"),
            fills_waiting: gauge("transom_fill_lease_waiting", "Fills that wait for the fill of a peer"),
            feed_leader: gauge("transom_feed_leader", "1 while this node leads the change feed"),
            feed_lag,
            feed_coarse: gauge(
                "transom_feed_coarse",
                "1 while the leader of the change feed announces whole tables, because it is behind the log",
            ),
            feed_kind,
        }
    }

    fn set(&self, now: Gauges) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.l1_entries.set(signed(now.l1_entries));
        self.l1_bytes.set(signed(now.l1_bytes));
        self.pool_idle.set(now.pool_idle.into());
        self.pool_in_use.set(now.pool_in_use.into());
        self.watermark.set(signed(now.watermark));
        self.lease_held.set(now.lease_held.into());
        self.fills_waiting.set(now.fills_waiting.into());
        self.feed_leader.set(now.feed_lag.is_some().into());
        self.feed_lag.set(now.feed_lag.unwrap_or_default().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(Duration::from_millis(100))
    }

    #[test]
    fn what_a_worker_counted_by_itself_is_added_once() {
        let metrics = metrics();
        let mut hits = metrics.hits();
        hits.count(StatusCode::OK, Duration::from_micros(3));
        hits.count(StatusCode::NOT_MODIFIED, Duration::from_micros(3));
        hits.count(StatusCode::OK, Duration::from_micros(3));
        metrics.add(&mut hits);
        metrics.add(&mut hits);
        let text = metrics.render(Gauges::default());
        for line in [
            "transom_requests_total{outcome=\"hit_l1\",route=\"rest\",status=\"200\"} 2",
            "transom_requests_total{outcome=\"hit_l1\",route=\"rest\",status=\"304\"} 1",
            "transom_tier_lookups_total{result=\"hit\",tier=\"l1\"} 3",
            "transom_request_duration_seconds_count{outcome=\"hit_l1\"} 3",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }

    #[test]
    fn every_metric_of_the_contract_is_there_from_the_start() {
        let text = metrics().render(Gauges::default());
        for series in [
            "transom_requests_total{outcome=\"hit_l1\",route=\"rest\",status=\"200\"} 0",
            "transom_requests_total{outcome=\"error\",route=\"rest\",status=\"503\"} 0",
            "transom_tier_lookups_total{result=\"unproven\",tier=\"l2\"} 0",
            "transom_request_duration_seconds_count{outcome=\"stale\"} 0",
            "transom_origin_duration_seconds_bucket{operation=\"read\",le=\"0.00005\"} 0",
            "transom_slow_queries_total{operation=\"schema\"} 0",
            "transom_l1_entries 0",
            "transom_l1_bytes 0",
            "transom_pool_connections{state=\"idle\"} 0",
            "transom_pool_connections{state=\"in_use\"} 0",
            "transom_collapsed_total{end=\"impatient\"} 0",
            "transom_fill_lease_total{result=\"waited-hit\"} 0",
            "transom_audit_reads_total 0",
            "transom_audit_stale_total 0",
            "transom_audit_skipped_total{reason=\"queue-full\"} 0",
            "transom_announcements_total{source=\"purge\"} 0",
            "transom_coherence_watermark 0",
            "transom_lease_held 0",
            "transom_fill_lease_waiting 0",
            "transom_feed_leader 0",
            "transom_feed_lag_seconds 0",
            "transom_feed_epochs_total{reason=\"slot\"} 0",
            "transom_announce_delay_seconds_count 0",
            "transom_resyncs_total{reason=\"epoch\"} 0",
            "transom_lease_lapses_total{reason=\"poll\"} 0",
            "transom_l2_unreadable_total{reason=\"forged\"} 0",
            "transom_stale_served_total{reason=\"stale-if-error\"} 0",
            "transom_schema_reloads_total{result=\"failed\"} 0",
        ] {
            assert!(text.contains(series), "{series} is missing in\n{text}");
        }
    }

    #[test]
    fn what_happens_is_counted_under_its_own_name() {
        let metrics = metrics();
        let fast = Duration::from_micros(60);
        metrics.request(Route::Rest, StatusCode::OK, RequestOutcome::HitL1, fast);
        metrics.request(Route::Other, StatusCode::IM_A_TEAPOT, RequestOutcome::Error, fast);
        metrics.request(Route::Rest, StatusCode::from_u16(999).unwrap(), RequestOutcome::Error, fast);
        metrics.tier_lookup(Tier::L2, TierResult::Incoherent);
        metrics.collapsed(CollapseEnd::Shared);
        metrics.fill_lease(LeaseResult::Voided);
        metrics.audit_read();
        metrics.audit_stale();
        metrics.audit_skipped(AuditSkip::PoolBusy);
        metrics.announced(Source::Write);
        metrics.announce_delay(fast);
        metrics.feed_epoch(Break::Database);
        metrics.resync(ResyncReason::Gap);
        metrics.stale_served(StaleReason::RequestAllows);
        metrics.schema_reload(Reload::Changed);
        assert!(!metrics.origin(Operation::Read, Duration::from_millis(100)));
        assert!(metrics.origin(Operation::Write, Duration::from_millis(101)));
        let feed_lag = Some(Duration::from_millis(250));
        let gauges = Gauges { watermark: 42, lease_held: true, pool_idle: 3, feed_lag, ..Gauges::default() };
        let text = metrics.render(gauges);
        for series in [
            "transom_requests_total{outcome=\"hit_l1\",route=\"rest\",status=\"200\"} 1",
            "transom_requests_total{outcome=\"error\",route=\"other\",status=\"418\"} 1",
            "transom_requests_total{outcome=\"error\",route=\"rest\",status=\"999\"} 1",
            "transom_request_duration_seconds_bucket{outcome=\"hit_l1\",le=\"0.0001\"} 1",
            "transom_tier_lookups_total{result=\"incoherent\",tier=\"l2\"} 1",
            "transom_collapsed_total{end=\"shared\"} 1",
            "transom_fill_lease_total{result=\"voided\"} 1",
            "transom_audit_reads_total 1",
            "transom_audit_stale_total 1",
            "transom_audit_skipped_total{reason=\"pool-busy\"} 1",
            "transom_announcements_total{source=\"write\"} 1",
            "transom_resyncs_total{reason=\"gap\"} 1",
            "transom_stale_served_total{reason=\"max-stale\"} 1",
            "transom_schema_reloads_total{result=\"changed\"} 1",
            "transom_origin_duration_seconds_count{operation=\"read\"} 1",
            "transom_slow_queries_total{operation=\"read\"} 0",
            "transom_slow_queries_total{operation=\"write\"} 1",
            "transom_coherence_watermark 42",
            "transom_lease_held 1",
            "transom_feed_leader 1",
            "transom_feed_lag_seconds 0.25",
            "transom_feed_epochs_total{reason=\"database\"} 1",
            "transom_announce_delay_seconds_bucket{le=\"0.0001\"} 1",
            "transom_pool_connections{state=\"idle\"} 3",
        ] {
            assert!(text.contains(series), "{series} is missing in\n{text}");
        }
    }

    #[test]
    fn the_order_of_all_is_the_order_of_declaration() {
        assert!(Tier::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(TierResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(RequestOutcome::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(Route::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(Reload::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(Operation::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(LeaseResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(AuditSkip::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(CollapseEnd::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(ResyncReason::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(StaleReason::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(Break::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(Source::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    }
}
