//! L1: this node's memory, bounded in bytes.

use std::sync::{
    Arc,
    atomic::{
        AtomicU32,
        Ordering::{Acquire, Release},
    },
};

use moka::sync::Cache;

use crate::{
    entry::{Entry, Value},
    key::{CacheKey, DigestHasher},
};

/// Entries by key, weighed in bytes; moka decides who stays (`TinyLFU`).
pub struct L1<V: Value> {
    entries: Cache<CacheKey, Arc<Entry<V>>, DigestHasher>,
    /// how often anything was stored or dropped under the keys that share a place here
    revisions: Box<[AtomicU32]>,
}

/// A state of what is stored under a key, and under some others: who keeps a copy of an entry may use it as long as the
/// revision stays what it was **before** the entry was looked up. Eviction does not count: what is evicted is not wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision(u32);

/// Places for revisions: a power of two. Keys that share one only make each other's copies be fetched again.
const REVISIONS: usize = 4_096;

impl<V: Value> L1<V> {
    /// An empty tier for that many bytes of bodies, keys and bookkeeping.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|key: &CacheKey, entry: &Arc<Entry<V>>| u32::try_from(entry.weight(key)).unwrap_or(u32::MAX))
            .build_with_hasher(DigestHasher::default());
        Self { entries: cache, revisions: (0..REVISIONS).map(|_| AtomicU32::new(0)).collect() }
    }

    /// The entry under this key, whatever it is worth by now.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Arc<Entry<V>>> {
        self.entries.get(key)
    }

    /// See [`Revision`].
    #[must_use]
    pub fn revision(&self, key: &CacheKey) -> Revision {
        Revision(self.place(key).load(Acquire))
    }

    /// Stores or replaces.
    pub fn put(&self, key: CacheKey, entry: Arc<Entry<V>>) {
        self.entries.insert(key.clone(), entry);
        // After the change: whoever reads the new revision finds the new entry.
        self.place(&key).fetch_add(1, Release);
    }

    /// Drops one entry.
    pub fn remove(&self, key: &CacheKey) {
        self.entries.invalidate(key);
        self.place(key).fetch_add(1, Release);
    }

    /// How many entries there are and how many bytes they weigh. Does moka's pending bookkeeping first: for a scrape, not
    /// for a request.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    fn place(&self, key: &CacheKey) -> &AtomicU32 {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a digest are as good as others")]
        let place = (key.digest() >> 64) as usize % REVISIONS;
        &self.revisions[place]
    }
}
