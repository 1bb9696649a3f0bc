//! Locks in Postgres: a row each, changed by the functions of `transom setup --state`.

use std::{sync::Arc, time::Duration};

use cache_core::state::{
    Name,
    lock::{Attempt, Backend, Fence, Grant, Held, Owner, Released, Renewal},
};

use super::said::as_millis;
use crate::{error::Error, origin::Origin};

/// Locks in the table `transom.locks`.
///
/// **Strict**: at most one owner has a lock at a time, by the server's clock, and a fence is higher than all before it. Every
/// grant is on disk before it is answered, whatever `synchronous_commit` says, so a crash of the server takes none back. After
/// a failover it holds if the standby was synchronous; else what was not replicated yet is lost, and what holds for Redis
/// after a failover holds here.
pub(super) struct PostgresLocks {
    origin: Arc<Origin>,
}

impl PostgresLocks {
    pub(super) fn new(origin: Arc<Origin>) -> Self {
        Self { origin }
    }
}

const ACQUIRE_SQL: &str = "SELECT granted, fence, remaining_ms FROM transom.acquire_lock($1, $2, $3)";
const RENEW_SQL: &str = "SELECT transom.renew_lock($1, $2, $3)";
const RELEASE_SQL: &str = "SELECT transom.release_lock($1, $2)";
const LOOK_SQL: &str = "SELECT fence, remaining_ms FROM transom.look_at_lock($1)";

impl Backend for PostgresLocks {
    type Error = Error;

    async fn acquire(&self, name: &Name, owner: &Owner, ttl: Duration) -> Result<Attempt, Error> {
        let row = self.origin.ask_own(ACQUIRE_SQL, &[name.as_str(), owner.expose(), &millis(ttl)]).await?;
        let fence = Fence(unsigned(row.number(1)?));
        Ok(if row.truth(0)? {
            Attempt::Granted(Grant { fence, ttl })
        } else {
            Attempt::Held(Held { fence, remaining: Duration::from_millis(unsigned(row.number(2)?)) })
        })
    }

    async fn renew(&self, name: &Name, owner: &Owner, ttl: Duration) -> Result<Renewal, Error> {
        let row = self.origin.ask_own(RENEW_SQL, &[name.as_str(), owner.expose(), &millis(ttl)]).await?;
        let granted = |fence| Renewal::Renewed(Grant { fence: Fence(unsigned(Some(fence))), ttl });
        Ok(row.number(0)?.map_or(Renewal::Lost, granted))
    }

    async fn release(&self, name: &Name, owner: &Owner) -> Result<Released, Error> {
        let row = self.origin.ask_own(RELEASE_SQL, &[name.as_str(), owner.expose()]).await?;
        Ok(if row.truth(0)? { Released::Yes } else { Released::NotHeld })
    }

    async fn look(&self, name: &Name) -> Result<Option<Held>, Error> {
        let row = self.origin.ask_own(LOOK_SQL, &[name.as_str()]).await?;
        let remaining = Duration::from_millis(unsigned(row.number(1)?));
        Ok(row.number(0)?.map(|fence| Held { fence: Fence(unsigned(Some(fence))), remaining }))
    }
}

/// As a `bigint` in text.
fn millis(ttl: Duration) -> String {
    as_millis(ttl).min(i64::MAX as u64).to_string()
}

fn unsigned(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}
