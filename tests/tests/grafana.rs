//! Every query of every dashboard, asked of a real Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::outcome::{CollapseEnd, ResyncReason, Source, StaleReason, Tier, TierResult};
use transom_tests::{Prometheus, Stub, dashboard_queries, eventually};

const OVERVIEW: &str = "grafana/dashboards/transom-overview.json";

/// Two scrapes, so that there is a rate, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// The stub stands in for a node and speaks the contract: the metrics and labels which DESIGN names. That a node speaks
/// it too is checked with the node.
#[tokio::test]
async fn every_query_of_the_overview_has_an_answer() {
    let scrapes = AtomicU64::new(1);
    let node = Stub::start(move |_| (200, metrics(scrapes.fetch_add(1, Ordering::Relaxed)))).await;
    let prometheus = Prometheus::start(&[format!("127.0.0.1:{}", node.port())]).await;
    for query in dashboard_queries(OVERVIEW) {
        let what = format!("{}: {}", query.panel, query.expression);
        eventually(&what, SOON, async || {
            let samples = prometheus.query(&query.expression).await?;
            let value =
                |sample: &serde_json::Value| sample["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
            let sound = !samples.is_empty() && samples.iter().all(|sample| value(sample).is_some_and(f64::is_finite));
            if sound { Ok(()) } else { Err(format!("{samples:?}")) }
        })
        .await;
    }
}

#[test]
fn the_overview_shows_every_part() {
    let all: String = dashboard_queries(OVERVIEW).into_iter().map(|query| query.expression + "\n").collect();
    for metric in METRICS {
        assert!(all.contains(metric.name), "{} is on no panel", metric.name);
    }
}

/// A metric of the contract.
struct Metric {
    name: &'static str,
    kind: Kind,
    labels: &'static [(&'static str, Values)],
}

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The values of a label: those of an enum, or such as come up.
enum Values {
    These(&'static [&'static str]),
    Enum(fn() -> Vec<&'static str>),
}

const OUTCOMES: Values = Values::These(&["hit_l1", "hit_l2", "stale", "miss", "bypass", "write", "error"]);
const OPERATIONS: Values = Values::These(&["read", "write"]);

const METRICS: [Metric; 15] = [
    counter(
        "transom_requests_total",
        &[
            ("route", Values::These(&["rest"])),
            ("status", Values::These(&["200", "404", "503"])),
            ("outcome", OUTCOMES),
        ],
    ),
    counter(
        "transom_tier_lookups_total",
        &[
            ("tier", Values::Enum(|| Tier::ALL.map(Tier::as_str).to_vec())),
            ("result", Values::Enum(|| TierResult::ALL.map(TierResult::as_str).to_vec())),
        ],
    ),
    histogram("transom_request_duration_seconds", &[("outcome", OUTCOMES)]),
    histogram("transom_origin_duration_seconds", &[("operation", OPERATIONS)]),
    counter("transom_slow_queries_total", &[("operation", OPERATIONS)]),
    gauge("transom_l1_entries", &[]),
    gauge("transom_l1_bytes", &[]),
    gauge("transom_pool_connections", &[("state", Values::These(&["idle", "used"]))]),
    counter("transom_collapsed_total", &[("end", Values::Enum(|| CollapseEnd::ALL.map(CollapseEnd::as_str).to_vec()))]),
    counter("transom_announcements_total", &[("source", Values::Enum(|| Source::ALL.map(Source::as_str).to_vec()))]),
    histogram("transom_announce_delay_seconds", &[]),
    gauge("transom_coherence_watermark", &[]),
    gauge("transom_lease_held", &[]),
    counter(
        "transom_resyncs_total",
        &[("reason", Values::Enum(|| ResyncReason::ALL.map(ResyncReason::as_str).to_vec()))],
    ),
    counter(
        "transom_stale_served_total",
        &[("reason", Values::Enum(|| StaleReason::ALL.map(StaleReason::as_str).to_vec()))],
    ),
];

const fn counter(name: &'static str, labels: &'static [(&'static str, Values)]) -> Metric {
    Metric { name, kind: Kind::Counter, labels }
}

const fn gauge(name: &'static str, labels: &'static [(&'static str, Values)]) -> Metric {
    Metric { name, kind: Kind::Gauge, labels }
}

const fn histogram(name: &'static str, labels: &'static [(&'static str, Values)]) -> Metric {
    Metric { name, kind: Kind::Histogram, labels }
}

/// The page of a node whose every counter grows by one between two scrapes.
fn metrics(scrape: u64) -> String {
    let mut page = String::new();
    for Metric { name, kind, labels } in &METRICS {
        for labels in combinations(labels) {
            let said = match kind {
                Kind::Counter | Kind::Gauge => writeln!(page, "{name}{{{labels}}} {scrape}"),
                Kind::Histogram => writeln!(
                    page,
                    "{name}_bucket{{{labels}le=\"0.1\"}} {scrape}\n{name}_bucket{{{labels}le=\"+Inf\"}} {scrape}\n\
                     {name}_sum{{{labels}}} {scrape}\n{name}_count{{{labels}}} {scrape}"
                ),
            };
            said.expect("a string takes everything");
        }
    }
    page
}

/// Every combination of label values, each as `name="value",`.
fn combinations(labels: &[(&str, Values)]) -> Vec<String> {
    let mut all = vec![String::new()];
    for (name, values) in labels {
        let values = match values {
            Values::These(values) => values.to_vec(),
            Values::Enum(values) => values(),
        };
        all = all
            .iter()
            .flat_map(|before| values.iter().map(move |value| format!("{before}{name}=\"{value}\",")))
            .collect();
    }
    all
}
