//! Writes: commit, then announce, as `Backplane::announce` does.

use std::time::Duration;

use cache_core::coherence::{Announcement, Kind};

use super::node::Purpose;
use super::truth::{self, Held, Key, WriteId};
use super::wire::{Answer, Line, Request};
use super::world::{Delivery, Event, REDIS_TIMEOUT, World};

/// Tokens that clients remember.
const TOKENS_MAX: usize = 16;

impl World {
    pub(super) fn write(&mut self, n: usize, key: Key) {
        let life = self.nodes[n].life;
        let write = self.truth.commit(key, life, self.now);
        let version = self.truth.version(key);
        self.tally.writes += 1;
        self.note(|| format!("node {n} commits write {write}: key {key} is at version {version}"));
        let soon = if self.chance(0.02) { self.micros(1_000..80_000) } else { self.micros(50..500) };
        self.later(soon, Event::AtNode(life, Delivery::Attempt(write)));
    }

    pub(super) fn attempt(&mut self, n: usize, write: WriteId) {
        self.truth.attempt(write, self.now);
        if self.nodes[n].breaker_open {
            self.unannounced(n, write);
            return;
        }
        let slots = truth::write_slots(self.truth.writes[write].key);
        let request = Request::Announce { slots, writes: vec![write] };
        self.send(n, Line::Control, request, Purpose::Announce(write), REDIS_TIMEOUT);
    }

    pub(super) fn announce_answered(&mut self, n: usize, write: WriteId, answer: &Answer) {
        let Answer::Announced(token, id) = *answer else {
            self.nodes[n].breaker_open = true;
            self.unannounced(n, write);
            return;
        };
        let slots = truth::write_slots(self.truth.writes[write].key);
        let announcement =
            Announcement { epoch: token.epoch, seq: token.seq, kind: Kind::Change, slots, writes: Default::default() };
        self.apply_own(n, &announcement, id);
        self.truth.writes[write].returned.get_or_insert(self.now);
        if self.tokens.len() == TOKENS_MAX {
            self.tokens.remove(0);
        }
        self.tokens.push(Held { token, at: self.truth.made[id].at });
        self.note(|| format!("node {n} announced write {write} as {}:{}", token.epoch, token.seq.0));
    }

    fn unannounced(&mut self, n: usize, write: WriteId) {
        let now = self.clock(n);
        let slots = truth::write_slots(self.truth.writes[write].key);
        let node = &mut self.nodes[n];
        node.coherence.apply_unannounced(&slots, Kind::Change, now);
        node.pending.get_or_insert_default().add(&slots, &[write]);
        self.truth.writes[write].returned.get_or_insert(self.now);
        self.tally.owed += 1;
        self.note(|| format!("node {n} owes the announcement of write {write}"));
    }

    /// How long until a client does something again.
    pub(super) fn pause_between_clients(&mut self) -> Duration {
        self.micros(100..4_000)
    }
}
