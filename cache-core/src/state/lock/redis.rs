//! Locks in Redis.

use std::time::Duration;

use fred::types::{Value, scripts::Script};

use super::{Attempt, Backend, Fence, Grant, Held, Name, Owner, Released, Renewal};
use crate::{error::RedisError, state::Keyspace};

/// How long the last fence is remembered after its lock: only needed should the clock be set back, by less than this.
const FENCE_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Locks under `transom:<namespace>:lock:{<name>}`, with the last fence beside them.
///
/// **While one Redis lives**, at most one owner has a lock at a time, by Redis' clock, and fences only grow.
///
/// **After a failover, or a restart without its data**, a lock that the new Redis never heard of may be granted while its
/// holder still believes in it, for at most the rest of the TTL (replication is asynchronous, so no client can rule this
/// out). The new holder's fence is higher all the same, unless the clock of the new Redis is behind that of the old one by
/// more than the time since the old grant: so what checks fences stays safe. Where that is not enough, keep locks in Postgres.
pub struct RedisLocks {
    keys: Keyspace,
    acquire: Script,
    renew: Script,
    release: Script,
    look: Script,
}

impl RedisLocks {
    /// The locks of this namespace.
    #[must_use]
    pub fn new(keys: Keyspace) -> Self {
        Self {
            keys,
            acquire: Script::from_lua(include_str!("acquire.lua")),
            renew: Script::from_lua(include_str!("renew.lua")),
            release: Script::from_lua(include_str!("release.lua")),
            look: Script::from_lua(include_str!("look.lua")),
        }
    }

    fn names(&self, name: &Name) -> Vec<String> {
        let lock = self.keys.key("lock", name.as_str());
        let fence = format!("{lock}:fence");
        vec![lock, fence]
    }

    /// What all scripts answer: a word, the fence, and milliseconds.
    async fn ask(&self, script: &Script, name: &Name, args: Vec<Value>) -> Result<(String, Fence, u64), RedisError> {
        let (word, fence, millis): (String, u64, i64) = self.keys.run(script, self.names(name), args).await?;
        Ok((word, Fence(fence), u64::try_from(millis).unwrap_or_default()))
    }
}

impl Backend for RedisLocks {
    type Error = RedisError;

    async fn acquire(&self, name: &Name, owner: &Owner, ttl: Duration) -> Result<Attempt, RedisError> {
        let (word, fence, millis) = self.ask(&self.acquire, name, timed(owner, ttl)).await?;
        match word.as_str() {
            "granted" => Ok(Attempt::Granted(Grant { fence, ttl })),
            "held" => Ok(Attempt::Held(Held { fence, remaining: Duration::from_millis(millis) })),
            _ => Err(unknown(&word)),
        }
    }

    async fn renew(&self, name: &Name, owner: &Owner, ttl: Duration) -> Result<Renewal, RedisError> {
        let (word, fence, _) = self.ask(&self.renew, name, timed(owner, ttl)).await?;
        match word.as_str() {
            "renewed" => Ok(Renewal::Renewed(Grant { fence, ttl })),
            "lost" => Ok(Renewal::Lost),
            _ => Err(unknown(&word)),
        }
    }

    async fn release(&self, name: &Name, owner: &Owner) -> Result<Released, RedisError> {
        let (word, ..) = self.ask(&self.release, name, vec![owner.expose().into()]).await?;
        match word.as_str() {
            "released" => Ok(Released::Yes),
            "lost" => Ok(Released::NotHeld),
            _ => Err(unknown(&word)),
        }
    }

    async fn look(&self, name: &Name) -> Result<Option<Held>, RedisError> {
        let (word, fence, millis) = self.ask(&self.look, name, Vec::new()).await?;
        match word.as_str() {
            "held" => Ok(Some(Held { fence, remaining: Duration::from_millis(millis) })),
            "free" => Ok(None),
            _ => Err(unknown(&word)),
        }
    }
}

fn timed(owner: &Owner, ttl: Duration) -> Vec<Value> {
    let millis = |duration: Duration| Value::from(duration.as_millis().max(1).to_string());
    vec![owner.expose().into(), millis(ttl), millis(ttl + FENCE_KEPT_FOR)]
}

fn unknown(word: &str) -> RedisError {
    RedisError::Protocol(format!("{word:?} of a lock"))
}
