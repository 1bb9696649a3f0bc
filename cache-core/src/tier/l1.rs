//! L1: this node's memory, bounded in bytes.

use std::sync::Arc;

use moka::sync::Cache;

use crate::{
    entry::{Entry, Value},
    key::{CacheKey, DigestHasher},
};

/// Entries by key, weighed in bytes; moka decides who stays (`TinyLFU`).
pub struct L1<V: Value>(Cache<CacheKey, Arc<Entry<V>>, DigestHasher>);

impl<V: Value> L1<V> {
    /// An empty tier for that many bytes of bodies, keys and bookkeeping.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|key: &CacheKey, entry: &Arc<Entry<V>>| u32::try_from(entry.weight(key)).unwrap_or(u32::MAX))
            .build_with_hasher(DigestHasher::default());
        Self(cache)
    }

    /// The entry under this key, whatever it is worth by now.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Arc<Entry<V>>> {
        self.0.get(key)
    }

    /// Stores or replaces.
    pub fn put(&self, key: CacheKey, entry: Arc<Entry<V>>) {
        self.0.insert(key, entry);
    }

    /// Drops one entry.
    pub fn remove(&self, key: &CacheKey) {
        self.0.invalidate(key);
    }

    /// How many entries there are and how many bytes they weigh. Does moka's pending bookkeeping first: for a scrape, not
    /// for a request.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        self.0.run_pending_tasks();
        (self.0.entry_count(), self.0.weighted_size())
    }
}
