//! Clients: they read, read with a token, and write, through any node that listens.

use rand::Rng as _;

use super::node::{Health, Read};
use super::truth::KEYS;
use super::world::{Event, World, pick};

impl World {
    pub(super) fn client(&mut self) {
        let next = self.pause_between_clients();
        self.later(next, Event::Client);
        let n = self.rng.random_range(0..self.nodes.len());
        let key = self.rng.random_range(0..KEYS);
        if self.nodes[n].health != Health::Running {
            return;
        }
        if self.chance(0.04) {
            // Often more than one at a time: announcements must also overtake a Redis that fell back.
            for _ in 0..self.rng.random_range(1..4) {
                self.write(n, key);
            }
            return;
        }
        let token = if self.chance(0.2) && !self.tokens.is_empty() {
            Some(*pick(&mut self.rng, &self.tokens))
        } else {
            None
        };
        self.read(n, Read { key, began: self.now, token });
    }
}
