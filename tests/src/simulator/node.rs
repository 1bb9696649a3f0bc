//! The state of one node: the real coherence and follower, and what is played around them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::clock::Moment;
use cache_core::coherence::{Coherence, Epoch, Filled, Follower, Seq, Stamp};
use cache_core::outcome::ResyncReason;
use cache_core::tag::Slots;

use super::history::slot_count;
use super::invariants::Judged;
use super::truth::{AnnouncementId, Held, Key, Life, WriteId};
use super::wire::{Link, RequestId};
use super::world::{Event, MAX_STALENESS};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Running,
    /// SIGSTOP: what happens to it happens when it goes on
    Paused,
    Dead,
}

/// A stored answer, with what really happened when it was filled.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) version: usize,
    pub(super) stamp: Stamp,
    pub(super) filled: Filled,
    /// when its fill began, by the filling node's clock
    pub(super) began: Moment,
}

/// The proof of a fill that its stamp was honest, for C1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimed {
    pub(super) epoch: Option<Epoch>,
    pub(super) as_of: Seq,
    pub(super) at: Moment,
}

/// Somebody who wants to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) key: Key,
    pub(super) began: Moment,
    pub(super) token: Option<Held>,
}

/// A fill in flight, and who waits for it.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) key: Key,
    pub(super) stamp: Stamp,
    pub(super) claimed: Claimed,
    pub(super) began: Moment,
    pub(super) version: Option<usize>,
    pub(super) waiters: Vec<(Read, Option<Judged>)>,
}

/// Why a node waits for an answer.
#[derive(Debug)]
pub(super) enum Purpose {
    Round,
    Announce(WriteId),
    Lookup(Read),
    Store,
}

/// What a node owes its peers.
#[derive(Debug, Clone, Default)]
pub(super) struct Owed {
    pub(super) slots: Slots,
    pub(super) writes: Vec<WriteId>,
}

/// One round of the driver; see `backplane/driver.rs`.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) step: Step,
    pub(super) subscribe: Option<u64>,
    pub(super) subscribed_on: Option<u64>,
    pub(super) resync: Option<ResyncReason>,
    /// on the node's clock
    pub(super) sent_at: Moment,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Subscribing,
    Flushing(Owed),
    Asking,
}

pub(super) struct Node {
    pub(super) life: Life,
    pub(super) health: Health,
    pub(super) partitioned: bool,
    pub(super) coherence: Arc<Coherence>,
    pub(super) follower: Follower,
    /// how far its clock is ahead of the world's
    pub(super) skew: Duration,
    /// what happened while it was paused
    pub(super) deferred: Vec<Event>,
    pub(super) control: Link,
    pub(super) data: Link,
    pub(super) subscriber: Link,
    /// counts the subscriber connections that the node noticed
    pub(super) connection: u64,
    pub(super) subscribed_on: Option<u64>,
    pub(super) breaker_open: bool,
    pub(super) pending: Option<Owed>,
    pub(super) round: Option<Round>,
    pub(super) l1: BTreeMap<Key, Entry>,
    pub(super) fills: BTreeMap<u64, Fill>,
    /// the fill that may be joined
    pub(super) in_flight: BTreeMap<Key, u64>,
    pub(super) outstanding: BTreeMap<RequestId, Purpose>,
    /// what Redis announced and this node has not heard
    pub(super) unheard: BTreeMap<AnnouncementId, Moment>,
    /// when it could not do as it should: paused, dead, cut off
    pub(super) troubles: Vec<(Moment, Moment)>,
}

impl Node {
    pub(super) fn new(id: usize, skew: Duration) -> Self {
        let coherence = Arc::new(Coherence::new(slot_count(), MAX_STALENESS));
        Self {
            life: Life { node: id, number: 1 },
            health: Health::Running,
            partitioned: false,
            follower: Follower::new(coherence.clone()),
            coherence,
            skew,
            deferred: Vec::new(),
            control: Link::default(),
            data: Link::default(),
            subscriber: Link::default(),
            connection: 0,
            subscribed_on: None,
            breaker_open: false,
            pending: None,
            round: None,
            l1: BTreeMap::new(),
            fills: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            unheard: BTreeMap::new(),
            troubles: Vec::new(),
        }
    }

    /// The same node after a restart: it remembers nothing, and its old connections are gone.
    pub(super) fn restarted(&self, skew: Duration) -> Self {
        let mut fresh = Self::new(self.life.node, skew);
        fresh.life.number = self.life.number + 1;
        fresh.health = Health::Dead;
        fresh.partitioned = self.partitioned;
        fresh.control = self.control.remade();
        fresh.data = self.data.remade();
        fresh.subscriber = self.subscriber.remade();
        fresh.connection = fresh.subscriber.generation;
        fresh.troubles.clone_from(&self.troubles);
        fresh
    }

    /// Whether an announcement has not reached Redis yet: one that waits, or one that is being flushed.
    pub(super) fn owes(&self) -> bool {
        self.pending.is_some() || matches!(&self.round, Some(Round { step: Step::Flushing(_), .. }))
    }

    /// Whether something that keeps a node from announcing happened to it between the two.
    pub(super) fn was_in_trouble(&self, from: Moment, until: Moment) -> bool {
        self.troubles.iter().any(|(began, ended)| *began <= until && *ended >= from)
    }
}

impl Owed {
    pub(super) fn add(&mut self, slots: &Slots, writes: &[WriteId]) {
        self.slots = self.slots.union(slots);
        self.writes.extend(writes);
    }
}
