//! What goes wrong, and for how long.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::node::Health;
use super::redis::{Copy, State};
use super::wire::Line;
use super::world::{Event, World, pick};

/// The theme of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// only what the network does by itself
    Calm,
    /// subscriber connections are cut
    Pubsub,
    /// all connections are cut
    Connections,
    /// Redis is away, and comes back as it was
    Outages,
    /// Redis is out of reach for just too short to be noticed by a lapsed lease, and then a node is cut off
    Relapses,
    /// Redis forgets
    Amnesia,
    /// nodes are cut off, paused, restarted
    Nodes,
    /// all of it
    Everything,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut(Line),
    CutAllSubscribers,
    PauseRedis,
    IsolateRedis,
    StopRedis(Keeps),
    FailOver,
    EvictTable,
    EvictHistory,
    FlushAll,
    Partition,
    PauseNode,
    RestartNode,
}

/// What Redis has when it starts again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keeps {
    Nothing,
    /// what it last wrote to disk
    Disk,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Heal {
    RedisGoesOn,
    RedisReturns,
    RedisStarts(Keeps),
    /// no healing at all: what hits a node that has just begun to trust Redis again
    Relapse(usize),
    Reunite(usize),
    NodeGoesOn(usize),
    NodeStarts(usize),
}

const PUBSUB: &[Fault] = &[Fault::Cut(Line::Subscriber), Fault::CutAllSubscribers];
const CONNECTIONS: &[Fault] = &[Fault::Cut(Line::Subscriber), Fault::Cut(Line::Control), Fault::Cut(Line::Data)];
const OUTAGES: &[Fault] = &[Fault::PauseRedis, Fault::IsolateRedis, Fault::IsolateRedis];
const AMNESIA: &[Fault] = &[
    Fault::StopRedis(Keeps::Nothing),
    Fault::StopRedis(Keeps::Disk),
    Fault::FailOver,
    Fault::FailOver,
    Fault::EvictTable,
    Fault::EvictHistory,
    Fault::FlushAll,
];
const NODES: &[Fault] = &[Fault::Partition, Fault::PauseNode, Fault::RestartNode];

impl Scenario {
    /// Every theme.
    pub const ALL: [Self; 8] = [
        Self::Calm,
        Self::Pubsub,
        Self::Connections,
        Self::Outages,
        Self::Relapses,
        Self::Amnesia,
        Self::Nodes,
        Self::Everything,
    ];

    pub(super) fn pick(rng: &mut StdRng) -> Self {
        use Scenario::{Amnesia, Calm, Connections, Everything, Nodes, Outages, Pubsub, Relapses};
        *pick(rng, &[Calm, Pubsub, Connections, Outages, Relapses, Amnesia, Amnesia, Nodes, Everything, Everything])
    }

    fn faults(self) -> &'static [&'static [Fault]] {
        match self {
            Self::Calm => &[],
            Self::Pubsub => &[PUBSUB],
            Self::Connections => &[CONNECTIONS],
            Self::Outages => &[OUTAGES],
            Self::Relapses => &[&[Fault::IsolateRedis]],
            Self::Amnesia => &[AMNESIA],
            Self::Nodes => &[NODES],
            Self::Everything => &[PUBSUB, CONNECTIONS, OUTAGES, AMNESIA, NODES],
        }
    }
}

impl Fault {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cut(_) => "connection cut",
            Self::CutAllSubscribers => "all subscribers cut",
            Self::PauseRedis => "redis paused",
            Self::IsolateRedis => "redis isolated",
            Self::StopRedis(Keeps::Nothing) => "redis restarted empty",
            Self::StopRedis(Keeps::Disk) => "redis restarted from disk",
            Self::FailOver => "failover to a lagging replica",
            Self::EvictTable => "table evicted",
            Self::EvictHistory => "history evicted",
            Self::FlushAll => "everything flushed",
            Self::Partition => "node partitioned",
            Self::PauseNode => "node paused",
            Self::RestartNode => "node restarted",
        }
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        let next = self.micros(120_000..1_200_000);
        self.later(next, Event::Fault);
        let menus = self.scenario.faults();
        if menus.is_empty() {
            return;
        }
        let menu = *pick(&mut self.rng, menus);
        let fault = *pick(&mut self.rng, menu);
        let n = self.rng.random_range(0..self.nodes.len());
        let concerns_redis = !matches!(
            fault,
            Fault::Cut(_) | Fault::CutAllSubscribers | Fault::Partition | Fault::PauseNode | Fault::RestartNode
        );
        let possible = if concerns_redis {
            self.redis.state == State::Up
        } else {
            self.nodes[n].health == Health::Running && !self.nodes[n].partitioned
        };
        if possible {
            *self.tally.faults.entry(fault.as_str()).or_default() += 1;
            self.note(|| format!("FAULT {} (node {n})", fault.as_str()));
            self.strike(fault, n);
        }
    }

    fn strike(&mut self, fault: Fault, n: usize) {
        let lasts = self.duration();
        match fault {
            Fault::Cut(line) => self.cut(n, line),
            Fault::CutAllSubscribers => {
                for n in 0..self.nodes.len() {
                    self.cut(n, Line::Subscriber);
                }
            }
            Fault::PauseRedis => {
                self.redis.state = State::Paused;
                self.later(lasts, Event::Heal(Heal::RedisGoesOn));
            }
            Fault::IsolateRedis => {
                self.redis.state = State::Isolated;
                if self.scenario == Scenario::Relapses && self.nodes[n].health == Health::Running {
                    let key = self.rng.random_range(0..super::truth::KEYS);
                    self.write(n, key);
                }
                self.later(lasts, Event::Heal(Heal::RedisReturns));
            }
            Fault::StopRedis(keeps) => {
                self.redis.state = State::Down;
                // What it was asked and has not read dies with it.
                self.redis.inbox.clear();
                self.later(lasts, Event::Heal(Heal::RedisStarts(keeps)));
            }
            Fault::FailOver => self.redis_starts(self.redis.on_replica.clone()),
            Fault::EvictTable => self.forget(|world| world.redis.keys.table = None),
            Fault::EvictHistory => self.forget(|world| world.redis.keys.history = None),
            Fault::FlushAll => self.forget(|world| {
                world.redis.keys = super::history::Keys::default();
                world.redis.l2.clear();
            }),
            Fault::Partition => {
                self.nodes[n].partitioned = true;
                self.trouble(n, lasts);
                self.later(lasts, Event::Heal(Heal::Reunite(n)));
            }
            Fault::PauseNode => {
                self.nodes[n].health = Health::Paused;
                self.trouble(n, lasts);
                self.later(lasts, Event::Heal(Heal::NodeGoesOn(n)));
            }
            Fault::RestartNode => {
                self.trouble(n, lasts);
                self.redis.subscribers.remove(&n);
                let skew = Duration::from_millis(self.rng.random_range(0..1_000_000));
                self.nodes[n] = self.nodes[n].restarted(skew);
                self.later(lasts, Event::Heal(Heal::NodeStarts(n)));
            }
        }
    }

    /// Around the times that the protocol knows: a timeout, the quiet period, a lease, and beyond.
    fn duration(&mut self) -> Duration {
        if self.scenario == Scenario::Relapses {
            return self.micros(380_000..460_000);
        }
        let (least, most) =
            *pick(&mut self.rng, &[(5_000, 60_000), (5_000, 300_000), (5_000, 1_200_000), (1_000_000, 3_000_000)]);
        self.micros(least..most)
    }

    fn trouble(&mut self, n: usize, lasts: Duration) {
        self.nodes[n].troubles.push((self.now, self.now.plus(lasts)));
    }

    fn forget(&mut self, how: impl FnOnce(&mut Self)) {
        how(self);
        self.truth.lose(super::world::START, self.now);
    }

    fn redis_starts(&mut self, with: Copy) {
        self.truth.lose(with.taken, self.now);
        self.redis.come_back_with(with);
        // The replica follows from here, and the disk keeps what it had.
        self.redis.on_replica = self.redis.copy(self.now);
        self.cut_all();
    }

    pub(super) fn heal(&mut self, heal: Heal) {
        self.note(|| format!("HEAL {heal:?}"));
        match heal {
            Heal::RedisGoesOn => {
                self.redis.state = State::Up;
                for envelope in std::mem::take(&mut self.redis.inbox) {
                    self.arrive(envelope);
                }
            }
            Heal::RedisReturns => {
                self.redis.state = State::Up;
                self.cut_all();
                let (n, soon) = (self.rng.random_range(0..self.nodes.len()), self.micros(60_000..200_000));
                if self.scenario == Scenario::Relapses || self.chance(0.5) {
                    self.later(soon, Event::Heal(Heal::Relapse(n)));
                }
            }
            Heal::Relapse(n) => {
                if self.nodes[n].health == Health::Running && !self.nodes[n].partitioned {
                    self.strike(Fault::Partition, n);
                }
            }
            Heal::RedisStarts(Keeps::Nothing) => self.redis_starts(Copy::default()),
            Heal::RedisStarts(Keeps::Disk) => self.redis_starts(self.redis.on_disk.clone()),
            Heal::Reunite(n) => {
                self.nodes[n].partitioned = false;
                Line::ALL.into_iter().for_each(|line| self.cut(n, line));
            }
            Heal::NodeGoesOn(n) => {
                self.nodes[n].health = Health::Running;
                for event in std::mem::take(&mut self.nodes[n].deferred) {
                    self.at(self.now, event);
                }
            }
            Heal::NodeStarts(n) => self.boot(n),
        }
    }

    /// The replica lags behind, and the disk more so.
    pub(super) fn copy(&mut self) {
        let next = self.micros(2_000..self.network.lag);
        self.later(next, Event::Copy);
        if self.redis.state == State::Up {
            self.redis.on_replica = self.redis.copy(self.now);
            if self.chance(0.1) {
                self.redis.on_disk = self.redis.on_replica.clone();
            }
        }
    }
}
