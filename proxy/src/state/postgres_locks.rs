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
        let millis = signed(as_millis(ttl));
        let row = self.origin.ask_own(ACQUIRE_SQL, &[&name.as_str(), &owner.expose(), &millis]).await?;
        let (granted, fence, remaining) = (row.get(0), Fence(unsigned(row.get(1))), unsigned(row.get(2)));
        Ok(if granted {
            Attempt::Granted(Grant { fence, ttl })
        } else {
            Attempt::Held(Held { fence, remaining: Duration::from_millis(remaining) })
        })
    }

    async fn renew(&self, name: &Name, owner: &Owner, ttl: Duration) -> Result<Renewal, Error> {
        let millis = signed(as_millis(ttl));
        let row = self.origin.ask_own(RENEW_SQL, &[&name.as_str(), &owner.expose(), &millis]).await?;
        let fence: Option<i64> = row.get(0);
        Ok(fence.map_or(Renewal::Lost, |fence| Renewal::Renewed(Grant { fence: Fence(unsigned(fence)), ttl })))
    }

    async fn release(&self, name: &Name, owner: &Owner) -> Result<Released, Error> {
        let row = self.origin.ask_own(RELEASE_SQL, &[&name.as_str(), &owner.expose()]).await?;
        Ok(if row.get(0) { Released::Yes } else { Released::NotHeld })
    }

    async fn look(&self, name: &Name) -> Result<Option<Held>, Error> {
        let row = self.origin.ask_own(LOOK_SQL, &[&name.as_str()]).await?;
        let (fence, remaining): (Option<i64>, Option<i64>) = (row.get(0), row.get(1));
        Ok(fence.map(|fence| Held {
            fence: Fence(unsigned(fence)),
            remaining: Duration::from_millis(unsigned(remaining.unwrap_or_default())),
        }))
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
