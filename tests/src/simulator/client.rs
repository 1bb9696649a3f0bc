//! Clients: they read, read with a token, and write, through any node that listens.

use std::hash::{Hash as _, Hasher as _};

use rand::Rng as _;

use super::node::{Health, Read};
use super::truth::{KEYS, Key};
use super::world::{Event, START, World, pick};

/// For how long a key stays popular, in milliseconds.
const FASHION: u128 = 700;

impl World {
    pub(super) fn client(&mut self) {
        let next = self.pause_between_clients();
        self.later(next, Event::Client);
        let n = self.rng.random_range(0..self.nodes.len());
        let key = self.rng.random_range(0..KEYS);
        if self.nodes[n].health != Health::Running {
            return;
        }
        if self.chance(self.writers) {
            // Often more than one at a time: announcements must also overtake a Redis that fell back.
            for _ in 0..self.rng.random_range(1..4) {
                self.write(n, key);
            }
            return;
        }
        if !self.is_popular(n, key) {
            return;
        }
        let token =
            if self.chance(0.2) && !self.tokens.is_empty() { Some(*pick(&mut self.rng, &self.tokens)) } else { None };
        self.read(n, Read { key, began: self.now, token });
    }

    /// Whether anybody asks this node for this key at present. Who is asked all the time reads anew all the time: harm
    /// comes from what lay untouched while something was missed.
    fn is_popular(&self, n: usize, key: Key) -> bool {
        let window = self.now.since(START).as_millis() / FASHION;
        let mut hasher = std::hash::DefaultHasher::new();
        (self.seed, window, n, key).hash(&mut hasher);
        hasher.finish().is_multiple_of(3)
    }
}
