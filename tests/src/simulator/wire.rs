//! The network between nodes and Redis: connections that are cut and made again, requests, answers, messages.

use std::time::Duration;

use cache_core::clock::Moment;
use cache_core::coherence::{Announcement, Position, Snapshot, Token};
use cache_core::tag::Slots;
use rand::Rng as _;

use super::history::{Asker, Script};
use super::node::{Entry, Health, Purpose};
use super::redis::State;
use super::truth::{AnnouncementId, Key, Life, WriteId};
use super::world::{Delivery, Event, World, lapse};

pub(super) type RequestId = u64;

/// One connection of a node. A cut begins a new generation; what belongs to an older one is lost, or late.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) generation: u64,
    /// when it can carry something again
    pub(super) up_at: Option<Moment>,
    /// when the last request arrives, and the last answer: a connection keeps its order
    last_request: Option<Moment>,
    last_answer: Option<Moment>,
}

impl Link {
    pub(super) fn remade(&self) -> Self {
        Self { generation: self.generation + 1, ..Self::default() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Control,
    Data,
    Subscriber,
}

impl Line {
    pub(super) const ALL: [Self; 3] = [Self::Control, Self::Data, Self::Subscriber];
}

#[derive(Debug, Clone)]
pub(super) enum Request {
    Subscribe,
    Announce { slots: Slots, writes: Vec<WriteId> },
    Poll(Asker),
    Snapshot(Asker),
    Get(Key),
    Put(Entry),
}

#[derive(Debug, Clone)]
pub(super) struct Envelope {
    from: Life,
    line: Line,
    generation: u64,
    id: RequestId,
    request: Request,
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    Subscribed,
    Announced(Token, AnnouncementId),
    Position(Position),
    /// with the moment at which Redis took it
    Snapshot(Snapshot, Moment),
    Found(Option<Entry>),
    Stored,
    /// the connection was lost or refused
    Failed,
}

impl World {
    pub(super) fn link(&mut self, n: usize, line: Line) -> &mut Link {
        let node = &mut self.nodes[n];
        match line {
            Line::Control => &mut node.control,
            Line::Data => &mut node.data,
            Line::Subscriber => &mut node.subscriber,
        }
    }

    /// Sends a request; its answer, its failure, or `patience` comes back to `purpose`.
    pub(super) fn send(&mut self, n: usize, line: Line, request: Request, purpose: Purpose, patience: Duration) {
        self.requests += 1;
        let id = self.requests;
        let life = self.nodes[n].life;
        self.nodes[n].outstanding.insert(id, purpose);
        self.later(patience, Event::AtNode(life, Delivery::Answer(id, Answer::Failed)));
        if self.nodes[n].partitioned || self.redis.state == State::Isolated {
            return;
        }
        if self.redis.state == State::Down {
            // Refused at once, or nobody says so.
            if self.chance(0.5) {
                let soon = self.micros(100..3_000);
                self.later(soon, Event::AtNode(life, Delivery::Answer(id, Answer::Failed)));
            }
            return;
        }
        let arrives = self.now.plus(self.latency());
        let link = self.link(n, line);
        let arrives = arrives.max(link.up_at.unwrap_or(arrives)).max(link.last_request.unwrap_or(arrives));
        link.last_request = Some(arrives);
        let generation = link.generation;
        self.at(arrives, Event::AtRedis(Envelope { from: life, line, generation, id, request }));
    }

    /// A request reaches Redis.
    pub(super) fn arrive(&mut self, envelope: Envelope) {
        let n = envelope.from.node;
        let current =
            self.nodes[n].life == envelope.from && self.link(n, envelope.line).generation == envelope.generation;
        // What was under way when its connection was cut may have been read before the cut.
        if self.nodes[n].partitioned || (!current && self.chance(0.5)) {
            return;
        }
        match self.redis.state {
            State::Down | State::Isolated => {}
            State::Paused => self.redis.inbox.push(envelope),
            State::Up => {
                let answer = self.execute(&envelope);
                self.answer(&envelope, answer);
            }
        }
    }

    fn answer(&mut self, envelope: &Envelope, answer: Answer) {
        let n = envelope.from.node;
        let arrives = self.now.plus(self.latency());
        let life = self.nodes[n].life;
        let link = self.link(n, envelope.line);
        if link.generation != envelope.generation || life != envelope.from {
            return;
        }
        let arrives = arrives.max(link.last_answer.unwrap_or(arrives));
        link.last_answer = Some(arrives);
        let delivery = Delivery::OverLine(envelope.line, envelope.generation, envelope.id, answer);
        self.at(arrives, Event::AtNode(envelope.from, delivery));
    }

    fn execute(&mut self, envelope: &Envelope) -> Answer {
        let n = envelope.from.node;
        match envelope.request.clone() {
            Request::Subscribe => {
                if self.nodes[n].subscriber.generation == envelope.generation {
                    self.redis.subscribers.insert(n, envelope.generation);
                }
                Answer::Subscribed
            }
            Request::Announce { slots, writes } => {
                let token = self.script().announce(&slots);
                let id = self.truth.announce(token, &slots, &writes, self.now);
                self.note(|| format!("redis: announcement {id} = {}:{}", token.epoch, token.seq.0));
                self.publish(id);
                Answer::Announced(token, id)
            }
            Request::Poll(asker) => {
                self.truth.polled_by(n, self.now);
                Answer::Position(self.script().position(asker))
            }
            Request::Snapshot(asker) => {
                self.truth.polled_by(n, self.now);
                Answer::Snapshot(self.script().snapshot(asker), self.now)
            }
            Request::Get(key) => Answer::Found(self.redis.l2.get(&key).cloned()),
            Request::Put(entry) => {
                self.redis.l2.insert(entry.key, entry);
                Answer::Stored
            }
        }
    }

    fn script(&mut self) -> Script<'_> {
        self.epochs += 1;
        Script {
            keys: &mut self.redis.keys,
            replid: self.redis.replid,
            now_ms: self.now.as_nanos() / 1_000_000,
            new_epoch: self.epochs,
            lapse: lapse(self.without),
            without: self.without,
        }
    }

    /// Pub/sub promises nothing: a message may be lost, late, repeated, or overtaken.
    fn publish(&mut self, id: AnnouncementId) {
        for node in &mut self.nodes {
            node.unheard.insert(id, self.now);
        }
        for (n, generation) in self.redis.subscribers.clone() {
            if self.nodes[n].partitioned || self.chance(self.network.loss) {
                continue;
            }
            let copies = if self.chance(self.network.repeat) { 2 } else { 1 };
            for _ in 0..copies {
                let mut arrives = self.now.plus(self.latency());
                if self.network.in_order {
                    let link = &mut self.nodes[n].subscriber;
                    arrives = arrives.max(link.last_answer.unwrap_or(arrives));
                    link.last_answer = Some(arrives);
                }
                let life = self.nodes[n].life;
                self.at(arrives, Event::AtNode(life, Delivery::Message(id, generation)));
            }
        }
    }

    pub(super) fn announcement(&self, id: AnnouncementId) -> Announcement {
        let made = &self.truth.made[id];
        Announcement {
            epoch: made.token.epoch,
            seq: made.token.seq,
            kind: cache_core::coherence::Kind::Change,
            slots: made.slots.clone(),
            writes: Default::default(),
        }
    }

    /// Cuts one connection: what is under way on it is lost, and the node learns of it soon or late.
    pub(super) fn cut(&mut self, n: usize, line: Line) {
        let up_at = self.now.plus(self.micros(1_000..60_000));
        self.note(|| format!("cut: {line:?} of node {n}"));
        let fresh = Link { up_at: Some(up_at), ..self.link(n, line).remade() };
        *self.link(n, line) = fresh;
        match line {
            Line::Subscriber => {
                self.redis.subscribers.remove(&n);
                // A half-open connection is noticed late.
                let late = if self.chance(0.2) { self.micros(300_000..2_000_000) } else { Duration::ZERO };
                let life = self.nodes[n].life;
                let generation = self.nodes[n].subscriber.generation;
                self.at(up_at.plus(late), Event::AtNode(life, Delivery::Reconnected(generation)));
            }
            Line::Control | Line::Data => self.nodes[n].troubles.push((self.now, up_at)),
        }
    }

    /// Cuts every connection of every node.
    pub(super) fn cut_all(&mut self) {
        for n in 0..self.nodes.len() {
            if self.nodes[n].health != Health::Dead {
                Line::ALL.into_iter().for_each(|line| self.cut(n, line));
            }
        }
    }

    fn latency(&mut self) -> Duration {
        let most = if self.chance(self.network.slow) { self.network.slowest } else { 1_500 };
        Duration::from_micros(self.rng.random_range(80..most))
    }
}
