//! The bounds of a cache, in one place.

use std::time::Duration;

use crate::tag::SlotCount;

/// What a cache may use and how long it may wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// bytes that L1 may hold: bodies, keys and bookkeeping
    pub l1_bytes_max: u64,
    /// bytes of one stored entry, in either tier; what is larger is served and not stored
    pub entry_bytes_max: usize,
    /// slots of the coherence table
    pub slots: SlotCount,
    /// the bound on staleness while coherence cannot be proven
    pub max_staleness: Duration,
    /// one wait for Redis
    pub redis_timeout: Duration,
    /// how long the fill of one node keeps its peers from filling the same key; zero: nodes do not ask each other
    pub fill_lease_for: Duration,
}
