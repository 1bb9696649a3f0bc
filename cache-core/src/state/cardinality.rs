//! Cardinality: how many different things there were, over all nodes, in 12 KiB however many there are. A HyperLogLog of Redis'
//! own (Flajolet et al., 2007; Heule et al., 2013): counts are off by 0.81 %, as standard error.

use std::time::Duration;

use bytes::Bytes;
use fred::types::{Value, scripts::Script};
use futures_util::future::try_join_all;

use super::{Keyspace, Name, keyspace::millis};
use crate::error::RedisError;

/// Items that are added at once.
pub const ITEMS_MAX: usize = 1_000;
/// Counters that are counted together or merged at once: each is 12 KiB.
pub const COUNTERS_MAX: usize = 64;

/// The counters of a namespace, under `transom:<namespace>:cardinality:{<name>}`. Cheap to clone.
#[derive(Clone)]
pub struct Cardinality {
    keys: Keyspace,
    kind: &'static str,
    add: Script,
    count: Script,
    take: Script,
    sum: Script,
}

/// Why counters could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CardinalityError {
    /// more than [`ITEMS_MAX`], or none
    #[error("{0} items, but there must be from 1 to {ITEMS_MAX}")]
    Items(usize),
    /// more than [`COUNTERS_MAX`], or none
    #[error("{0} counters, but there must be from 1 to {COUNTERS_MAX}")]
    Counters(usize),
    /// Redis does not answer
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// What becomes of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sum {
    /// it is told
    Told,
    /// it is told, and kept in the first counter
    Kept,
}

impl Cardinality {
    /// The counters of this namespace.
    #[must_use]
    pub fn new(keys: Keyspace) -> Self {
        Self::under(keys, "cardinality")
    }

    /// Counters of somebody's own, under `transom:<namespace>:<kind>:{<name>}`.
    #[must_use]
    pub fn under(keys: Keyspace, kind: &'static str) -> Self {
        Self {
            keys,
            kind,
            add: Script::from_lua(include_str!("cardinality/add.lua")),
            count: Script::from_lua("return redis.call('PFCOUNT', unpack(KEYS))"),
            take: Script::from_lua("return redis.call('GET', KEYS[1]) or ''"),
            sum: Script::from_lua(include_str!("cardinality/sum.lua")),
        }
    }

    /// Adds items; whether the count changed. The counter lives for `ttl` after this; without one, as long as before.
    ///
    /// # Errors
    /// If there are no items, or more than [`ITEMS_MAX`], or Redis does not answer: then they may have been added.
    pub async fn add(
        &self,
        name: &Name,
        items: &[impl AsRef<[u8]>],
        ttl: Option<Duration>,
    ) -> Result<bool, CardinalityError> {
        if !(1..=ITEMS_MAX).contains(&items.len()) {
            return Err(CardinalityError::Items(items.len()));
        }
        let items = items.iter().map(|item| Value::Bytes(Bytes::copy_from_slice(item.as_ref())));
        let args = std::iter::once(millis(ttl)).chain(items).collect();
        Ok(self.keys.run(&self.add, vec![self.key(name)], args).await?)
    }

    /// How many different items were added to these counters, each counted once, also if it is in several. One that is not
    /// there counts as empty.
    ///
    /// # Errors
    /// If there are no counters, or more than [`COUNTERS_MAX`], or Redis does not answer.
    pub async fn count(&self, names: &[Name]) -> Result<u64, CardinalityError> {
        let is_far = names.len() > 1 && self.keys.is_clustered();
        match names {
            // Where one server has all counters, it counts them as they are.
            _ if !is_far && (1..=COUNTERS_MAX).contains(&names.len()) => {
                let keys = names.iter().map(|name| self.key(name)).collect();
                Ok(self.keys.run(&self.count, keys, Vec::new()).await?)
            }
            [first, others @ ..] => self.sum(first, others, Sum::Told, None).await,
            [] => Err(CardinalityError::Counters(0)),
        }
    }

    /// Adds to a counter whatever was added to the others; its count. It lives for `ttl` after this; without one, as long
    /// as before.
    ///
    /// # Errors
    /// If there are no others, or more than [`COUNTERS_MAX`], or Redis does not answer: then they may have been merged.
    pub async fn merge(&self, into: &Name, from: &[Name], ttl: Option<Duration>) -> Result<u64, CardinalityError> {
        if from.is_empty() {
            return Err(CardinalityError::Counters(0));
        }
        self.sum(into, from, Sum::Kept, ttl).await
    }

    /// Deletes a counter; whether there was one.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn delete(&self, name: &Name) -> Result<bool, CardinalityError> {
        Ok(self.keys.delete(self.key(name)).await?)
    }

    /// The counters may lie on different servers of a cluster, so they are brought to the first.
    async fn sum(
        &self,
        first: &Name,
        others: &[Name],
        sum: Sum,
        ttl: Option<Duration>,
    ) -> Result<u64, CardinalityError> {
        if others.len() >= COUNTERS_MAX {
            return Err(CardinalityError::Counters(others.len() + 1));
        }
        let taken = others.iter().map(|name| self.keys.run::<Bytes>(&self.take, vec![self.key(name)], Vec::new()));
        let taken = try_join_all(taken).await?;
        let keep = if sum == Sum::Kept { 1 } else { 0 };
        let counters = taken.into_iter().filter(|counter| !counter.is_empty()).map(Value::Bytes);
        let args = [keep.into(), millis(ttl)].into_iter().chain(counters).collect();
        let key = self.key(first);
        let beside = ["sum", "other"].map(|place| format!("{key}:{place}"));
        let keys = std::iter::once(key).chain(beside).collect();
        Ok(self.keys.run(&self.sum, keys, args).await?)
    }

    fn key(&self, name: &Name) -> String {
        self.keys.key(self.kind, name.as_str())
    }
}
