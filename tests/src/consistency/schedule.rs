//! Which fault comes next: every kind once, in an order that the seed decides, and again in another order.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::fault::Fault;
use super::stage::Topology;

/// An endless series of faults.
#[derive(Debug)]
pub struct Schedule {
    kinds: Vec<Fault>,
    deck: Vec<Fault>,
}

impl Schedule {
    /// Of those of these kinds that can happen there.
    #[must_use]
    pub fn of(kinds: &[Fault], topology: Topology) -> Self {
        Self { kinds: kinds.iter().copied().filter(|fault| fault.fits(topology)).collect(), deck: Vec::new() }
    }

    /// The next; `None` if nothing can happen.
    pub fn next(&mut self, random: &mut StdRng) -> Option<Fault> {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.kinds);
            self.deck.shuffle(random);
        }
        self.deck.pop()
    }
}
