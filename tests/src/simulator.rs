//! A deterministic simulation of several nodes around one Redis and one database.
//!
//! Real: [`Coherence`](cache_core::coherence::Coherence), [`Follower`](cache_core::coherence::Follower) and the freshness
//! rule of every node. Played: time, the network, Redis with its Lua scripts, the database, and what `backplane` and
//! `cache` do around the real parts. One seed decides everything, so a seed replays its run.
//!
//! Every answer that a node serves as fresh is checked against the [invariants]. That the simulator can fail is proven by
//! taking away one [`Protection`] at a time. Templates and the change feed are played apart, in [interleaving], without a
//! network: there the order of events is all that matters.

pub mod interleaving;
mod protection;
mod world;
mod faults;
mod client;
mod serve;
mod write;
mod round;
mod node;
mod wire;
mod redis;
mod history;
pub mod invariants;
mod truth;
mod trace;

pub use self::faults::Scenario;
pub use self::protection::Protection;
pub use self::world::{Failure, Tally};

/// Plays one run.
///
/// # Errors
/// The first violation, with the events that led to it.
pub fn run(seed: u64) -> Result<Tally, Box<Failure>> {
    world::World::new(seed, None, None).play()
}

/// Plays one run of this scenario without one protection.
///
/// # Errors
/// The first violation, with the events that led to it.
pub fn run_without(seed: u64, without: Protection, scenario: Scenario) -> Result<Tally, Box<Failure>> {
    world::World::new(seed, Some(without), Some(scenario)).play()
}
