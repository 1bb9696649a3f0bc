//! The world: virtual time, one queue of events, one source of randomness, and everybody who lives by them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use cache_core::clock::Moment;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::Protection;
use super::faults::{Heal, Scenario};
use super::invariants::Violation;
use super::node::{Health, Node};
use super::redis::Redis;
use super::trace::Trace;
use super::truth::{Held, Life, Truth, WriteId};
use super::wire::{Answer, Envelope, Line, RequestId};

/// As by default in the proxy.
pub(super) const MAX_STALENESS: Duration = Duration::from_secs(1);
pub(super) const REDIS_TIMEOUT: Duration = Duration::from_millis(50);
/// The clock of the world begins well after zero: a node may subtract from it.
pub(super) const START: Moment = Moment::from_nanos(3_600_000_000_000);
/// How long a run lasts.
const RUN_FOR: Duration = Duration::from_secs(12);

/// How long Redis must have been away from everybody before it asks for quiet: a quarter of `max_staleness`.
pub(super) fn lapse(without: Option<Protection>) -> Duration {
    if without == Some(Protection::QuietSoon) { MAX_STALENESS / 2 } else { MAX_STALENESS / 4 }
}

#[derive(Debug)]
pub(super) enum Event {
    /// some client does something
    Client,
    /// Redis writes to disk, or its replica catches up
    Copy,
    Fault,
    Heal(Heal),
    AtRedis(Envelope),
    AtNode(Life, Delivery),
}

#[derive(Debug)]
pub(super) enum Delivery {
    Tick,
    /// from the node's own timer
    Answer(RequestId, Answer),
    /// over a connection: lost if it was cut meanwhile
    OverLine(Line, u64, RequestId, Answer),
    Message(usize, u64),
    Reconnected(u64),
    Attempt(WriteId),
    OriginRead(u64),
    FillDone(u64),
}

struct Scheduled(Moment, u64, Event);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// How bad the network is in this run.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) loss: f64,
    pub(super) repeat: f64,
    pub(super) slow: f64,
    /// microseconds
    pub(super) slowest: u64,
    /// how far the replica is behind at most, in microseconds
    pub(super) lag: u64,
    /// whether messages of one connection keep their order, as TCP promises
    pub(super) in_order: bool,
}

/// What a run did: so that nobody takes a run in which nothing happened for a proof.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// answers from L1, by proof
    pub l1_leased: u64,
    /// answers from L1 that were young only
    pub l1_young: u64,
    /// answers from L2
    pub l2: u64,
    /// answers that joined a fill in flight
    pub joined: u64,
    /// reads with a token that the cache could answer
    pub with_token: u64,
    /// answers from the origin
    pub origin: u64,
    /// committed writes
    pub writes: u64,
    /// writes that could not be announced at once
    pub owed: u64,
    /// snapshots adopted
    pub resyncs: u64,
    /// faults
    pub faults: BTreeMap<&'static str, u64>,
    /// answers staler than the bound because the writer alone was cut off or died: the known hole
    pub excused: u64,
    /// the stalest answer served as fresh, the excused ones aside
    pub stalest: Duration,
    /// stands for the whole course of events
    pub digest: u64,
}

impl Tally {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.l1_leased += other.l1_leased;
        self.l1_young += other.l1_young;
        self.l2 += other.l2;
        self.joined += other.joined;
        self.with_token += other.with_token;
        self.origin += other.origin;
        self.writes += other.writes;
        self.owed += other.owed;
        self.resyncs += other.resyncs;
        self.excused += other.excused;
        self.stalest = self.stalest.max(other.stalest);
        self.digest ^= other.digest;
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

/// A run that broke an invariant.
#[derive(Debug)]
pub struct Failure {
    /// replays the run
    pub seed: u64,
    /// which, and how
    pub violation: Violation,
    /// what was played
    pub scenario: String,
    /// the last events
    pub events: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, violation, scenario, events } = self;
        write!(f, "{events}\n{violation}\nscenario: {scenario}\nreplay with TRANSOM_SIM_SEED={seed}")
    }
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) without: Option<Protection>,
    pub(super) now: Moment,
    pub(super) rng: StdRng,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    pub(super) scenario: Scenario,
    pub(super) network: Network,
    /// how many of the clients write; where few do, what is stale stays stale
    pub(super) writers: f64,
    pub(super) nodes: Vec<Node>,
    pub(super) redis: Redis,
    pub(super) truth: Truth,
    pub(super) tokens: Vec<Held>,
    pub(super) requests: u64,
    pub(super) fills: u64,
    pub(super) epochs: u64,
    pub(super) tally: Tally,
    pub(super) violation: Option<Violation>,
    trace: Trace,
}

impl World {
    pub(super) fn new(seed: u64, without: Option<Protection>, scenario: Option<Scenario>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let network = Network {
            loss: *pick(&mut rng, &[0.0, 0.0, 0.02, 0.3]),
            repeat: *pick(&mut rng, &[0.0, 0.05, 0.3]),
            slow: *pick(&mut rng, &[0.0, 0.01, 0.1]),
            slowest: *pick(&mut rng, &[20_000, 45_000]),
            lag: *pick(&mut rng, &[20_000, 80_000, 1_000_000]),
            in_order: rng.random_bool(0.7),
        };
        let nodes = (0..rng.random_range(3..=5))
            .map(|id| Node::new(id, Duration::from_millis(rng.random_range(0..1_000_000))))
            .collect();
        Self {
            seed,
            without,
            now: START,
            scenario: scenario.unwrap_or(Scenario::pick(&mut rng)),
            network,
            writers: *pick(&mut rng, &[0.001, 0.004, 0.015, 0.06]),
            nodes,
            rng,
            queue: BinaryHeap::new(),
            scheduled: 0,
            redis: Redis::new(),
            truth: Truth::default(),
            tokens: Vec::new(),
            requests: 0,
            fills: 0,
            epochs: 0,
            tally: Tally::default(),
            violation: None,
            trace: Trace::default(),
        }
    }

    pub(super) fn play(mut self) -> Result<Tally, Box<Failure>> {
        for n in 0..self.nodes.len() {
            self.boot(n);
        }
        self.later(Duration::from_millis(1), Event::Client);
        self.later(Duration::from_millis(20), Event::Copy);
        self.later(Duration::from_millis(400), Event::Fault);
        while let Some(Reverse(Scheduled(at, _, event))) = self.queue.pop() {
            if at > START.plus(RUN_FOR) {
                break;
            }
            self.now = at;
            self.happen(event);
            if let Some(violation) = self.violation.take() {
                let scenario = format!("{:?}, {} nodes, {:?}", self.scenario, self.nodes.len(), self.network);
                return Err(Box::new(Failure { seed: self.seed, violation, scenario, events: self.trace.text() }));
            }
        }
        self.tally.digest = self.trace.digest();
        Ok(self.tally)
    }

    /// A node comes to life.
    pub(super) fn boot(&mut self, n: usize) {
        self.nodes[n].health = Health::Running;
        let first = self.micros(0..125_000);
        let life = self.nodes[n].life;
        self.later(first, Event::AtNode(life, Delivery::Tick));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Client => self.client(),
            Event::Copy => self.copy(),
            Event::Fault => self.fault(),
            Event::Heal(heal) => self.heal(heal),
            Event::AtRedis(envelope) => self.arrive(envelope),
            Event::AtNode(life, delivery) => self.deliver(life, delivery),
        }
    }

    fn deliver(&mut self, life: Life, delivery: Delivery) {
        let n = life.node;
        let node = &mut self.nodes[n];
        if node.life != life || node.health == Health::Dead {
            return;
        }
        if node.health == Health::Paused {
            node.deferred.push(Event::AtNode(life, delivery));
            return;
        }
        match delivery {
            Delivery::Tick => self.tick(n),
            Delivery::Answer(id, answer) => self.answered(n, id, answer),
            Delivery::OverLine(line, generation, id, answer) => {
                if self.link(n, line).generation == generation && !self.nodes[n].partitioned {
                    self.answered(n, id, answer);
                }
            }
            Delivery::Message(id, generation) => self.heard(n, id, generation),
            Delivery::Reconnected(generation) => self.reconnected(n, generation),
            Delivery::Attempt(write) => self.attempt(n, write),
            Delivery::OriginRead(fill) => self.origin_read(n, fill),
            Delivery::FillDone(fill) => self.fill_done(n, fill),
        }
    }

    pub(super) fn at(&mut self, at: Moment, event: Event) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled(at.max(self.now), self.scheduled, event)));
    }

    pub(super) fn later(&mut self, after: Duration, event: Event) {
        self.at(self.now.plus(after), event);
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    pub(super) fn micros(&mut self, range: Range<u64>) -> Duration {
        Duration::from_micros(self.rng.random_range(range))
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        self.trace.add(self.now, &what());
    }

    /// What the node's own clock shows: no two nodes agree.
    pub(super) fn clock(&self, n: usize) -> Moment {
        self.now.plus(self.nodes[n].skew)
    }
}

pub(super) fn pick<'a, T>(rng: &mut StdRng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}
