//! Locks over HTTP.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::state::{
    Keyspace, Name,
    lock::{Held, LockError, Locks, Owner, RedisLocks, Released, Renewal, TTL_MAX, TTL_MIN},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    postgres_locks::PostgresLocks,
    said::{as_millis, away, invalid, millis, read},
};
use crate::{
    error::{Error, StateRefusal},
    origin::Origin,
    telemetry::{LockOperation, LockResult, Metrics},
};

/// Where a lock is kept: the words of `backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Keeper {
    #[default]
    Redis,
    Postgres,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acquire {
    ttl_ms: u64,
    #[serde(default)]
    wait_ms: u64,
    owner: Option<String>,
    #[serde(default)]
    backend: Keeper,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renew {
    owner: String,
    ttl_ms: u64,
    #[serde(default)]
    backend: Keeper,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    owner: String,
    #[serde(default)]
    backend: Keeper,
}

/// Answers requests for locks.
pub(super) struct LockDesk {
    redis: Option<Locks<RedisLocks>>,
    postgres: Locks<PostgresLocks>,
    metrics: Arc<Metrics>,
    patience_max: Duration,
}

impl LockDesk {
    pub(super) fn new(
        keys: Option<Keyspace>,
        origin: Arc<Origin>,
        metrics: Arc<Metrics>,
        patience_max: Duration,
    ) -> Self {
        let redis = keys.map(|keys| Locks::new(RedisLocks::new(keys)));
        Self { redis, postgres: Locks::new(PostgresLocks::new(origin)), metrics, patience_max }
    }

    /// Who has the lock.
    pub(super) async fn look(&self, name: &Name, query: Option<&str>) -> Result<Value, Error> {
        let keeper = match query {
            None | Some("backend=redis") => Keeper::Redis,
            Some("backend=postgres") => Keeper::Postgres,
            Some(other) => return Err(invalid(format!("{other:?} is neither backend=redis nor backend=postgres"))),
        };
        let held = match keeper {
            Keeper::Redis => self.redis()?.look(name).await.map_err(away)?,
            Keeper::Postgres => self.postgres.look(name).await?,
        };
        Ok(match held {
            Some(Held { fence, remaining }) => {
                json!({ "name": name.as_str(), "held": true, "fence": fence.0, "remaining_ms": as_millis(remaining) })
            }
            None => json!({ "name": name.as_str(), "held": false }),
        })
    }

    /// Acquires, renews or releases.
    pub(super) async fn operate(&self, operation: &str, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let (operation, answer) = match operation {
            "acquire" => (LockOperation::Acquire, self.acquire(name, body).await),
            "renew" => (LockOperation::Renew, self.renew(name, body).await),
            _ => (LockOperation::Release, self.release(name, body).await),
        };
        let result = match &answer {
            Ok(_) => LockResult::Done,
            Err(Error::State(StateRefusal::LockHeld { .. } | StateRefusal::LockLost)) => LockResult::Refused,
            Err(_) => LockResult::Failed,
        };
        self.metrics.state().lock(operation, result);
        answer
    }

    async fn acquire(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Acquire { ttl_ms, wait_ms, owner, backend } = read(body)?;
        let ttl = millis("ttl_ms", ttl_ms, [TTL_MIN, TTL_MAX])?;
        let patience = Duration::from_millis(wait_ms).min(self.patience_max);
        let owner = owner.as_deref().map_or_else(|| Ok(Owner::random()), owner_of)?;
        let grant = match backend {
            Keeper::Redis => taken(self.redis()?.acquire(name, &owner, ttl, patience).await, away)?,
            Keeper::Postgres => taken(self.postgres.acquire(name, &owner, ttl, patience).await, |error| error)?,
        };
        Ok(json!({
            "name": name.as_str(), "owner": owner.expose(), "fence": grant.fence.0, "ttl_ms": as_millis(grant.ttl),
        }))
    }

    async fn renew(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Renew { owner, ttl_ms, backend } = read(body)?;
        let (owner, ttl) = (owner_of(&owner)?, millis("ttl_ms", ttl_ms, [TTL_MIN, TTL_MAX])?);
        let renewal = match backend {
            Keeper::Redis => self.redis()?.renew(name, &owner, ttl).await.map_err(away)?,
            Keeper::Postgres => self.postgres.renew(name, &owner, ttl).await?,
        };
        match renewal {
            Renewal::Renewed(grant) => {
                Ok(json!({ "name": name.as_str(), "fence": grant.fence.0, "ttl_ms": as_millis(grant.ttl) }))
            }
            Renewal::Lost => Err(StateRefusal::LockLost.into()),
        }
    }

    async fn release(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Release { owner, backend } = read(body)?;
        let owner = owner_of(&owner)?;
        let released = match backend {
            Keeper::Redis => self.redis()?.release(name, &owner).await.map_err(away)?,
            Keeper::Postgres => self.postgres.release(name, &owner).await?,
        };
        match released {
            Released::Yes => Ok(json!({ "name": name.as_str(), "released": true })),
            Released::NotHeld => Err(StateRefusal::LockLost.into()),
        }
    }

    fn redis(&self) -> Result<&Locks<RedisLocks>, Error> {
        self.redis.as_ref().ok_or_else(|| StateRefusal::NoRedis.into())
    }
}

fn taken<T, E: std::error::Error>(
    answer: Result<T, LockError<E>>,
    failed: impl FnOnce(E) -> Error,
) -> Result<T, Error> {
    answer.map_err(|error| match error {
        LockError::Held(Held { remaining, .. }) => StateRefusal::LockHeld { remaining }.into(),
        LockError::Backend(error) => failed(error),
    })
}

fn owner_of(text: &str) -> Result<Owner, Error> {
    Owner::new(text).map_err(|error| invalid(error.to_string()))
}
