//! A stored answer and what must be known to judge it.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    clock::Moment,
    coherence::{Filled, Stamp},
    error::CodecError,
    key::CacheKey,
};

/// What is stored: the proxy stores finished responses, other users of this library what they like.
pub trait Value: Clone + Send + Sync + Sized + 'static {
    /// Bytes that the value holds in memory, for the bound on L1.
    fn weight(&self) -> usize;
    /// Appends the value to `out`, for L2.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// If the bytes are not such a value. They come from the network: anything may be in them.
    fn decode(bytes: Bytes) -> Result<Self, CodecError>;
}

/// For how long an entry may be used, counted from the beginning of its fill. An entry keeps whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// the freshness lifetime (RFC 9111, section 4.2)
    pub fresh_for: Duration,
    /// beyond it, while a revalidation runs (RFC 5861, section 3)
    pub stale_while_revalidate_for: Duration,
    /// beyond it, while the origin fails (RFC 5861, section 4)
    pub stale_if_error_for: Duration,
}

impl Lifetimes {
    /// Fresh for so long, and of no use after that.
    #[must_use]
    pub fn never_stale(fresh_for: Duration) -> Self {
        Self { fresh_for, stale_while_revalidate_for: Duration::ZERO, stale_if_error_for: Duration::ZERO }
    }

    /// How long it makes sense to keep the entry at all.
    #[must_use]
    pub fn keep_for(&self) -> Duration {
        self.fresh_for.saturating_add(self.stale_while_revalidate_for.max(self.stale_if_error_for))
    }
}

/// A stored answer. Immutable: an entry is replaced, never changed. There are many: nothing in it takes more room than it has
/// to say.
#[derive(Debug, Clone)]
pub struct Entry<V> {
    /// the answer
    pub value: V,
    /// what its coherence is judged by
    pub stamp: Stamp,
    /// when its fill began, on this node's clock; for an entry of a peer by the peer's word
    pub began: Moment,
    fresh_for: Millis,
    stale_while_revalidate_for: Millis,
    stale_if_error_for: Millis,
    by_peer: bool,
}

/// A lifetime in milliseconds, never longer than it was meant, and 34 years at most; little-endian.
#[derive(Debug, Clone, Copy)]
struct Millis([u8; 5]);

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        let [a, b, c, d, e, beyond @ ..] = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).to_le_bytes();
        Self(if beyond == [0; 3] { [a, b, c, d, e] } else { [u8::MAX; 5] })
    }
}

impl From<Millis> for Duration {
    fn from(Millis([a, b, c, d, e]): Millis) -> Self {
        Self::from_millis(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }
}

/// Bytes of bookkeeping per entry in L1: the entry, its counts, moka's nodes and its share of moka's table. As measured.
const OVERHEAD_BYTES: usize = 480;
/// Allocators hand out sizes in steps: of so many bytes one is lost, on average.
const ROUNDED_ONE_IN: usize = 8;

impl<V> Entry<V> {
    /// What this node began to fill at that moment of its own clock.
    pub fn filled_here(value: V, stamp: Stamp, began: Moment, lifetimes: Lifetimes) -> Self {
        Self {
            value,
            stamp,
            began,
            fresh_for: lifetimes.fresh_for.into(),
            stale_while_revalidate_for: lifetimes.stale_while_revalidate_for.into(),
            stale_if_error_for: lifetimes.stale_if_error_for.into(),
            by_peer: false,
        }
    }

    /// What a peer did.
    pub fn filled_by_peer(value: V, stamp: Stamp, began: Moment, lifetimes: Lifetimes) -> Self {
        Self { by_peer: true, ..Self::filled_here(value, stamp, began, lifetimes) }
    }

    /// Who filled it.
    #[must_use]
    pub fn filled(&self) -> Filled {
        if self.by_peer { Filled::ByPeer } else { Filled::Here(self.began) }
    }

    /// For how long it may be used.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            fresh_for: self.fresh_for.into(),
            stale_while_revalidate_for: self.stale_while_revalidate_for.into(),
            stale_if_error_for: self.stale_if_error_for.into(),
        }
    }
}

impl<V: Value> Entry<V> {
    /// The age, for `Age` and for freshness. It counts from the beginning of the fill, so it is never understated.
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        now.since(self.began)
    }

    /// What the entry weighs in L1, with its key: the memory that it takes, and not only its bytes.
    #[must_use]
    pub fn weight(&self, key: &CacheKey) -> usize {
        let bytes = self.value.weight() + key.weight();
        bytes + bytes / ROUNDED_ONE_IN + OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_kept_to_the_millisecond_and_never_longer() {
        let kept = |duration: Duration| Duration::from(Millis::from(duration));
        let year = Duration::from_secs(365 * 24 * 3_600);
        for whole in [Duration::ZERO, Duration::from_millis(1), year, year + Duration::from_millis(7)] {
            assert_eq!(kept(whole), whole);
        }
        assert_eq!(kept(Duration::from_micros(1_999)), Duration::from_millis(1));
        assert_eq!(kept(Duration::MAX), Duration::from_millis((1 << 40) - 1));
    }
}
