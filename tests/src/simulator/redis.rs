//! The one Redis: what it holds, what it has on disk, what its replica has, and whether it answers.

use std::collections::BTreeMap;

use cache_core::clock::Moment;

use super::history::Keys;
use super::node::Entry;
use super::truth::Key;
use super::wire::Envelope;
use super::world::START;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// SIGSTOP: what arrives waits
    Paused,
    /// out of reach of every node
    Isolated,
    Down,
}

/// What a restart or a failover may bring back.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) taken: Moment,
    pub(super) keys: Keys,
    pub(super) l2: BTreeMap<Key, Entry>,
}

impl Default for Copy {
    fn default() -> Self {
        Self { taken: START, keys: Keys::default(), l2: BTreeMap::new() }
    }
}

#[derive(Debug)]
pub(super) struct Redis {
    pub(super) state: State,
    pub(super) keys: Keys,
    pub(super) l2: BTreeMap<Key, Entry>,
    pub(super) replid: u64,
    pub(super) on_disk: Copy,
    pub(super) on_replica: Copy,
    /// what arrived while it was paused
    pub(super) inbox: Vec<Envelope>,
    /// the subscriber connection of each node that subscribed
    pub(super) subscribers: BTreeMap<usize, u64>,
}

impl Redis {
    pub(super) fn new() -> Self {
        Self {
            state: State::Up,
            keys: Keys::default(),
            l2: BTreeMap::new(),
            replid: 1,
            on_disk: Copy::default(),
            on_replica: Copy::default(),
            inbox: Vec::new(),
            subscribers: BTreeMap::new(),
        }
    }

    pub(super) fn copy(&self, now: Moment) -> Copy {
        Copy { taken: now, keys: self.keys.clone(), l2: self.l2.clone() }
    }

    /// Starts with what is left; every start and every promotion has a replication id of its own.
    pub(super) fn come_back_with(&mut self, copy: Copy) {
        self.state = State::Up;
        self.keys = copy.keys;
        self.l2 = copy.l2;
        self.replid += 1;
    }
}
