//! Families of metrics whose handles are all resolved when a node starts, so that counting on the hot path is an
//! array index and an atomic add, and every series exists (as zero) before `rate()` first asks for it.

use std::sync::OnceLock;

use http::StatusCode;
use prometheus::local::LocalHistogram;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::labels::{RequestOutcome, Route};

/// From a hit in memory to the default deadline of a request, in seconds.
const BUCKETS: [f64; 17] =
    [50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counters by the value of one label.
pub(super) struct Counters<const N: usize>([IntCounter; N]);

impl<const N: usize> Counters<N> {
    pub(super) fn new(registry: &Registry, name: &str, help: &str, label: &str, values: [&str; N]) -> Self {
        let family = counters(registry, name, help, &[label]);
        Self(values.map(|value| family.with_label_values(&[value])))
    }

    pub(super) fn count(&self, index: usize) {
        self.0[index].inc();
    }
}

/// A counter without labels.
pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let counter = IntCounter::new(name, help).expect("our own names are well formed");
    registry.register(Box::new(counter.clone())).expect("each family is registered once");
    counter
}

/// Counters by the values of two labels.
pub(super) struct Grid<const N: usize, const M: usize>([[IntCounter; M]; N]);

impl<const N: usize, const M: usize> Grid<N, M> {
    pub(super) fn new(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: [&str; 2],
        rows: [&str; N],
        columns: [&str; M],
    ) -> Self {
        let family = counters(registry, name, help, &labels);
        Self(rows.map(|row| columns.map(|column| family.with_label_values(&[row, column]))))
    }

    pub(super) fn count(&self, row: usize, column: usize) {
        self.add(row, column, 1);
    }

    pub(super) fn add(&self, row: usize, column: usize, count: u64) {
        self.0[row][column].inc_by(count);
    }
}

/// Histograms of seconds by the value of one label.
pub(super) struct Histograms<const N: usize>([Histogram; N]);

impl<const N: usize> Histograms<N> {
    pub(super) fn new(registry: &Registry, name: &str, help: &str, label: &str, values: [&str; N]) -> Self {
        let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        let family = HistogramVec::new(options, &[label]).expect("our own names are well formed");
        registry.register(Box::new(family.clone())).expect("each family is registered once");
        Self(values.map(|value| family.with_label_values(&[value])))
    }

    pub(super) fn observe(&self, index: usize, seconds: f64) {
        self.0[index].observe(seconds);
    }

    pub(super) fn local(&self, index: usize) -> LocalHistogram {
        self.0[index].local()
    }
}

/// A histogram of seconds.
pub(super) fn histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
    let histogram = Histogram::with_opts(options).expect("our own names are well formed");
    registry.register(Box::new(histogram.clone())).expect("each family is registered once");
    histogram
}

/// Statuses that are worth a zero from the start, by outcome.
const EXPECTED: [(RequestOutcome, &[u16]); 7] = [
    (RequestOutcome::HitL1, &[200, 206, 304]),
    (RequestOutcome::HitL2, &[200, 206, 304]),
    (RequestOutcome::Stale, &[200, 206, 304]),
    (RequestOutcome::Miss, &[200, 206, 304]),
    (RequestOutcome::Bypass, &[200, 206, 304]),
    (RequestOutcome::Write, &[200, 201, 204]),
    (RequestOutcome::Error, &[400, 401, 403, 404, 405, 406, 409, 413, 416, 429, 500, 503, 504]),
];

/// One past the largest status with a place of its own; HTTP defines none beyond.
const STATUSES: usize = 600;

/// Requests by route, status and outcome. The status is open in principle, so handles are kept as they turn up.
pub(super) struct Requests {
    family: IntCounterVec,
    /// by route, outcome and status
    cells: Vec<OnceLock<IntCounter>>,
}

impl Requests {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "Requests by route, status and outcome";
        let family = counters(registry, "transom_requests_total", help, &["route", "status", "outcome"]);
        let size = Route::ALL.len() * RequestOutcome::ALL.len() * STATUSES;
        let requests = Self { family, cells: (0..size).map(|_| OnceLock::new()).collect() };
        for (outcome, statuses) in EXPECTED {
            for status in statuses.iter().filter_map(|status| StatusCode::from_u16(*status).ok()) {
                requests.counter(Route::Rest, status, outcome, |counter| counter.inc_by(0));
            }
        }
        requests
    }

    pub(super) fn count(&self, route: Route, status: StatusCode, outcome: RequestOutcome) {
        self.add(route, status, outcome, 1);
    }

    pub(super) fn add(&self, route: Route, status: StatusCode, outcome: RequestOutcome, count: u64) {
        self.counter(route, status, outcome, |counter| counter.inc_by(count));
    }

    fn counter(&self, route: Route, status: StatusCode, outcome: RequestOutcome, then: impl FnOnce(&IntCounter)) {
        let resolve = || self.family.with_label_values(&[route.as_str(), status.as_str(), outcome.as_str()]);
        let code = usize::from(status.as_u16());
        if code >= STATUSES {
            return then(&resolve());
        }
        let index = (route as usize * RequestOutcome::ALL.len() + outcome as usize) * STATUSES + code;
        then(self.cells[index].get_or_init(resolve));
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let family = IntCounterVec::new(Opts::new(name, help), labels).expect("our own names are well formed");
    registry.register(Box::new(family.clone())).expect("each family is registered once");
    family
}
