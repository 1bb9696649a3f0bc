//! What is measured at the moment of a scrape rather than counted.

use std::time::Duration;

use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry};

/// See the module.
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
    /// reads that wait for one of them
    pub pool_waiting_reads: u64,
    /// `seq` of the last announcement applied
    pub watermark: u64,
    /// whether this node can prove its coherence right now
    pub lease_held: bool,
    /// fills that wait for a peer's
    pub fills_waiting: u32,
    /// how old the newest proof of the change feed is, if this node leads it
    pub feed_lag: Option<Duration>,
}

/// Where it is told.
pub(super) struct GaugeHandles {
    l1_entries: IntGauge,
    l1_bytes: IntGauge,
    pool_idle: IntGauge,
    pool_in_use: IntGauge,
    pool_waiting_reads: IntGauge,
    watermark: IntGauge,
    lease_held: IntGauge,
    fills_waiting: IntGauge,
    feed_leader: IntGauge,
    feed_lag: Gauge,
    pub(super) feed_coarse: IntGauge,
    pub(super) feed_kind: IntGaugeVec,
}

impl GaugeHandles {
    pub(super) fn new(registry: &Registry) -> Self {
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
            pool_waiting_reads: gauge("transom_pool_waiting_reads", "Reads that wait for a connection to Postgres"),
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

    pub(super) fn set(&self, now: Gauges) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.l1_entries.set(signed(now.l1_entries));
        self.l1_bytes.set(signed(now.l1_bytes));
        self.pool_idle.set(now.pool_idle.into());
        self.pool_in_use.set(now.pool_in_use.into());
        self.pool_waiting_reads.set(signed(now.pool_waiting_reads));
        self.watermark.set(signed(now.watermark));
        self.lease_held.set(now.lease_held.into());
        self.fills_waiting.set(now.fills_waiting.into());
        self.feed_leader.set(now.feed_lag.is_some().into());
        self.feed_lag.set(now.feed_lag.unwrap_or_default().as_secs_f64());
    }
}
