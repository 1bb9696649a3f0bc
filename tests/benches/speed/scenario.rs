//! What is asked.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::peers::Peer;

/// A kind of load, and whom to compare under it.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) targets: Targets,
    pub(super) asking: Asking,
    pub(super) protocol: Protocol,
    /// connections that are open beside the load and say nothing
    pub(super) idle: usize,
    pub(super) peers: &'static [Peer],
}

/// What the targets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Targets {
    /// always the same
    One(&'static str),
    /// so many rows, one after the other
    Evenly(u32),
    /// so many rows, the n-th of which is asked for in proportion to 1/n
    Zipf(u32),
}

/// How a request is dressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    Plainly,
    /// with the validator of the answer
    IfNoneMatch,
    /// with a token that says who asks
    WithToken,
    /// on a connection that ends with the answer
    Once,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// All that answer HTTP/1.1.
const EVERYBODY: &[Peer] =
    &[Peer::Hyper, Peer::NginxReturn, Peer::HaProxy, Peer::NginxCache, Peer::TrafficServer, Peer::Varnish];
/// What nginx returns by itself has to fit on a line of its configuration.
const CACHES: &[Peer] = &[Peer::Hyper, Peer::HaProxy, Peer::NginxCache, Peer::TrafficServer, Peer::Varnish];
/// The ceiling alone: the others do not do the same thing.
const CEILING: &[Peer] = &[Peer::Hyper];

const SMALL: Targets = Targets::One("/rest/v1/item?id=eq.1");

/// What a scenario is unless it says otherwise.
pub(super) const PLAIN: Scenario = Scenario {
    name: "hot",
    about: "one hot key, 1 KiB",
    targets: SMALL,
    asking: Asking::Plainly,
    protocol: Protocol::Http1,
    idle: 0,
    peers: EVERYBODY,
};

/// Every scenario, in the order in which they run.
pub(super) const ALL: [Scenario; 8] = [
    PLAIN,
    Scenario { name: "zipf", about: "10 000 keys (Zipf), 1 KiB", targets: Targets::Zipf(10_000), ..PLAIN },
    Scenario {
        name: "large",
        about: "one hot key, 10 KiB",
        targets: Targets::One("/rest/v1/large?id=eq.1"),
        peers: CACHES,
        ..PLAIN
    },
    Scenario { name: "not-modified", about: "a 304 for one hot key", asking: Asking::IfNoneMatch, ..PLAIN },
    Scenario {
        name: "jwt",
        about: "one hot key, a JWT on every request",
        asking: Asking::WithToken,
        peers: CEILING,
        ..PLAIN
    },
    Scenario { name: "once", about: "one hot key, a new connection per request", asking: Asking::Once, ..PLAIN },
    Scenario { name: "idle", about: "one hot key, 1 000 idle connections beside the load", idle: 1_000, ..PLAIN },
    Scenario {
        name: "h2c",
        about: "one hot key, HTTP/2 without TLS",
        protocol: Protocol::Http2,
        peers: CEILING,
        ..PLAIN
    },
];

impl Targets {
    /// So many of them in a random order, the same in each run.
    pub(super) fn some(self, count: usize) -> Vec<String> {
        let Self::Zipf(rows) = self else { return self.each() };
        let (zipf, mut random, each) = (Zipf::new(rows.into()), StdRng::seed_from_u64(1), self.each());
        let row = |_| usize::try_from(zipf.row(random.random())).expect("a row");
        (0..count).map(row).map(|row| each[row].clone()).collect()
    }

    /// Each of them once.
    pub(super) fn each(self) -> Vec<String> {
        match self {
            Self::One(target) => vec![target.to_owned()],
            Self::Zipf(rows) | Self::Evenly(rows) => {
                (1..=rows).map(|row| format!("/rest/v1/item?id=eq.{row}")).collect()
            }
        }
    }
}

/// Rows by how much they are asked for: the n-th in proportion to 1/n.
pub(super) struct Zipf(Vec<f64>);

impl Zipf {
    pub(super) fn new(rows: u64) -> Self {
        let mut total = 0.0;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let sums = (1..=rows).map(|row| {
            total += 1.0 / row as f64;
            total
        });
        Self(sums.collect())
    }

    /// The row, from 0, for a number between 0 and 1.
    pub(super) fn row(&self, chance: f64) -> u64 {
        let total = self.0.last().copied().unwrap_or_default();
        self.0.partition_point(|sum| *sum < chance * total) as u64
    }
}
