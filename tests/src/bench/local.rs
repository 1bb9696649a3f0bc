//! A cache in the process of the benchmark.

use std::time::Duration;

use cache_core::cache::TwoTier;
use cache_core::clock::Clock;
use cache_core::entry::{Lifetimes, Value};
use cache_core::limits::Limits;
use cache_core::tag::SlotCount;

/// Longer than any benchmark.
pub const LIFETIMES: Lifetimes = Lifetimes {
    fresh_for: Duration::from_secs(3_600),
    stale_while_revalidate_for: Duration::ZERO,
    stale_if_error_for: Duration::ZERO,
};

/// A cache without peers, with room for so many bytes.
#[must_use]
pub fn cache<V: Value>(l1_bytes_max: u64) -> TwoTier<V> {
    let limits = Limits {
        l1_bytes_max,
        entry_bytes_max: 4 << 20,
        slots: SlotCount::DEFAULT,
        max_staleness: Duration::from_secs(1),
        redis_timeout: Duration::from_millis(100),
        fill_lease_for: Duration::from_secs(2),
    };
    TwoTier::alone(limits, Clock::start())
}
