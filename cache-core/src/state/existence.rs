//! Existence: "certainly absent", or perhaps not, over all nodes. A Bloom filter in Redis, in one string: a header that says
//! what the filter is made for, then its bits. So all nodes agree, and nothing can lose the one without the other.
//!
//! Whatever was added is never said to be absent, as long as the filter is there; what was not added is said to be there at the
//! error rate at most, until more was added than the filter is made for. One that expired, was evicted or deleted is not an empty
//! one: it is [`ExistenceError::NoFilter`], and whoever keeps it fills it again.

mod shape;

use std::time::Duration;

use bytes::Bytes;
use fred::types::{Value, scripts::Script};
use xxhash_rust::xxh3::xxh3_128;

pub use self::shape::{BYTES_MAX, CAPACITY_MAX, ERROR_RATE_MAX, ERROR_RATE_MIN, InvalidShape, Shape};
use self::shape::{HEADER_BYTES, Header};
use super::{Keyspace, Name, keyspace::millis};
use crate::error::RedisError;

/// Items that are added or checked at once: Redis does nothing else meanwhile, for a few milliseconds at most.
pub const ITEMS_MAX: usize = 1_000;
/// Bytes of an item's hash, as scripts take it: two numbers of 48 bits, which are exact in Lua.
const HASH_BYTES: usize = 12;

/// A filter as it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filter {
    /// what it is made for
    pub shape: Shape,
    /// how many items were added that were certainly absent before
    pub added: u64,
    /// when it is gone, unless it lives until it is deleted
    pub expires_in: Option<Duration>,
}

/// Whether a filter was there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reserved {
    /// it was not, and is now empty
    Created(Filter),
    /// it was, made for the same, and keeps what was added
    Kept(Filter),
}

/// What adding came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// of each item, whether it was certainly absent before
    pub were_absent: Vec<bool>,
    /// whether the filter has all that it is made for, so that its error rate grows
    pub is_full: bool,
}

/// Why a filter could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ExistenceError {
    /// it was never made, or is gone: that says nothing of any item
    #[error("there is no filter of this name: it was never made, expired, was deleted or evicted")]
    NoFilter,
    /// it is made for something else
    #[error("the filter is made for {} items at an error rate of {}", .0.capacity(), .0.error_rate())]
    Differs(Shape),
    /// more than [`ITEMS_MAX`]
    #[error("{0} items, but {ITEMS_MAX} at once are the most")]
    TooManyItems(usize),
    /// Redis does not answer
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// The filters of a namespace, under `transom:<namespace>:existence:{<name>}`. Cheap to clone.
#[derive(Clone)]
pub struct Existence {
    keys: Keyspace,
    reserve: Script,
    look: Script,
    add: Script,
    check: Script,
}

impl Filter {
    /// Whether as much was added as it is made for. More can be: then its error rate grows.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.added >= self.shape.capacity()
    }

    /// How often something that was not added is said to be there, as far as it is filled.
    #[must_use]
    pub fn error_rate_now(&self) -> f64 {
        self.shape.error_rate_with(self.added)
    }
}

impl Existence {
    /// The filters of this namespace.
    #[must_use]
    pub fn new(keys: Keyspace) -> Self {
        let script = |last: &str| Script::from_lua([include_str!("existence/header.lua"), last].concat());
        Self {
            keys,
            reserve: script(include_str!("existence/reserve.lua")),
            look: script(include_str!("existence/look.lua")),
            add: script(include_str!("existence/add.lua")),
            check: script(include_str!("existence/check.lua")),
        }
    }

    /// Makes a filter, with all of its memory, or finds it. It is gone after `ttl`, counted from the last time that it was reserved;
    /// without one, it stays until it is deleted.
    ///
    /// # Errors
    /// If there is one that is made for something else, or Redis does not answer.
    pub async fn reserve(&self, name: &Name, shape: Shape, ttl: Option<Duration>) -> Result<Reserved, ExistenceError> {
        let header = Value::Bytes(Header::of(shape).to_bytes().to_vec().into());
        let args = vec![header, Value::from(shape.bytes().to_string()), millis(ttl)];
        let (created, header): (bool, Bytes) = self.keys.run(&self.reserve, self.names(name), args).await?;
        let filter = Header::read(&header)?.filter(ttl);
        match created {
            true => Ok(Reserved::Created(filter)),
            false if filter.shape == shape => Ok(Reserved::Kept(filter)),
            false => Err(ExistenceError::Differs(filter.shape)),
        }
    }

    /// A filter as it stands.
    ///
    /// # Errors
    /// If there is none, or Redis does not answer.
    pub async fn look(&self, name: &Name) -> Result<Filter, ExistenceError> {
        let (header, left): (Bytes, i64) = self.keys.run(&self.look, self.names(name), Vec::new()).await?;
        let expires_in = u64::try_from(left).ok().map(Duration::from_millis);
        Ok(found(&header)?.filter(expires_in))
    }

    /// Adds items, in their order, in one round trip.
    ///
    /// # Errors
    /// If there is no filter, there are more than [`ITEMS_MAX`] items, or Redis does not answer: then some may have been added.
    pub async fn add(&self, name: &Name, items: &[impl AsRef<[u8]>]) -> Result<Added, ExistenceError> {
        let (header, flags) = self.ask(&self.add, name, items).await?;
        Ok(Added { were_absent: flags, is_full: header.filter(None).is_full() })
    }

    /// Of each item, whether it is certainly absent, in one round trip.
    ///
    /// # Errors
    /// If there is no filter, there are more than [`ITEMS_MAX`] items, or Redis does not answer.
    pub async fn absent(&self, name: &Name, items: &[impl AsRef<[u8]>]) -> Result<Vec<bool>, ExistenceError> {
        self.ask(&self.check, name, items).await.map(|(_, flags)| flags)
    }

    /// Deletes a filter; whether there was one.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn delete(&self, name: &Name) -> Result<bool, ExistenceError> {
        Ok(self.keys.delete(self.names(name).swap_remove(0)).await?)
    }

    async fn ask(
        &self,
        script: &Script,
        name: &Name,
        items: &[impl AsRef<[u8]>],
    ) -> Result<(Header, Vec<bool>), ExistenceError> {
        if items.len() > ITEMS_MAX {
            return Err(ExistenceError::TooManyItems(items.len()));
        }
        let mut hashes = Vec::with_capacity(items.len() * HASH_BYTES);
        for item in items {
            hashes.extend_from_slice(&xxh3_128(item.as_ref()).to_le_bytes()[..HASH_BYTES]);
        }
        let args = vec![Value::Bytes(hashes.into())];
        let (header, flags): (Bytes, Bytes) = self.keys.run(script, self.names(name), args).await?;
        let header = found(&header)?;
        if flags.len() != items.len() {
            let answer = format!("{} answers to {} items", flags.len(), items.len());
            return Err(RedisError::Protocol(answer).into());
        }
        Ok((header, flags.iter().map(|flag| *flag == b'1').collect()))
    }

    fn names(&self, name: &Name) -> Vec<String> {
        vec![self.keys.key("existence", name.as_str())]
    }
}

/// Scripts answer with no header if there is no filter.
fn found(header: &Bytes) -> Result<Header, ExistenceError> {
    if header.is_empty() { Err(ExistenceError::NoFilter) } else { Ok(Header::read(header)?) }
}

const _: () = assert!(HEADER_BYTES == 40, "the scripts know it");
