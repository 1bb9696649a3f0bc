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

/// For how long an entry may be used, counted from the beginning of its fill.
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

/// A stored answer. Immutable: an entry is replaced, never changed.
#[derive(Debug, Clone)]
pub struct Entry<V> {
    /// the answer
    pub value: V,
    /// what its coherence is judged by
    pub stamp: Stamp,
    /// when its fill began, on this node's clock; for an entry of a peer by the peer's word
    pub began: Moment,
    /// who filled it
    pub filled: Filled,
    /// for how long it may be used
    pub lifetimes: Lifetimes,
}

/// Bytes of bookkeeping per entry in L1: the entry, its counts, moka's nodes and its share of moka's table. As measured.
const OVERHEAD_BYTES: usize = 544;
/// Allocators hand out sizes in steps: of so many bytes one is lost, on average.
const ROUNDED_ONE_IN: usize = 8;

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
