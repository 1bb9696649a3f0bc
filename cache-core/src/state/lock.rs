//! Locks across processes: at most one holder per name and time, as far as time can be trusted, and a **fencing token** for
//! when it cannot.
//!
//! ```text
//! acquire ── free, expired, or the same owner's ─> granted: a fence, higher than any before it
//!         ── somebody else's ────────────────────> again in a moment, until the patience is over
//! guard   ── renews every third of the TTL ──────> released, or lost
//! ```
//!
//! A lock lasts for its TTL unless it is renewed, so a holder that dies is survived. But no lock with a TTL can stop a holder
//! that was frozen and believes that it still has it: what the lock protects has to refuse a fence lower than one it has seen.
//! [`Gate`] does that for a resource in this process; `transom.admit_fence`, which `transom setup --state` makes, for one in
//! Postgres.
//!
//! What a [`Backend`] promises beyond that is its own to say: see [`RedisLocks`].

mod backend;
mod gate;
mod guard;
mod owner;
mod redis;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

pub use self::{
    backend::{Attempt, Backend, Fence, Grant, Held, Released, Renewal},
    gate::{Gate, Outdated},
    guard::Guard,
    owner::{InvalidOwner, Owner},
    redis::RedisLocks,
};
use super::Name;

/// Shortest TTL: a round trip has to fit into a third of it, or nobody could renew.
pub const TTL_MIN: Duration = Duration::from_millis(100);
/// Longest TTL: so long a dead holder can keep everybody waiting.
pub const TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// Pauses between attempts at a lock that somebody has: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// Locks by name. Cheap to clone.
pub struct Locks<B> {
    backend: Arc<B>,
}

/// Why a lock was not acquired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError<E> {
    /// somebody has it, and the patience is over
    #[error("the lock is held for another {:?} unless it is renewed", .0.remaining)]
    Held(Held),
    /// the backend did not answer
    #[error(transparent)]
    Backend(E),
}

impl<B> Clone for Locks<B> {
    fn clone(&self) -> Self {
        Self { backend: self.backend.clone() }
    }
}

impl<B: Backend> Locks<B> {
    /// Locks that are kept there.
    #[must_use]
    pub fn new(backend: B) -> Self {
        Self { backend: Arc::new(backend) }
    }

    /// Takes the lock, waiting up to `patience` for whoever has it. To be given back, or renewed, by the owner's name: for
    /// those who cannot keep a [`Guard`], such as clients of an API. An owner that has the lock gets it again, with the same
    /// fence and a new TTL, so a request whose answer was lost can be repeated.
    ///
    /// There is no queue: whoever asks first after the release has it. Backends that fail for a moment are asked again too.
    /// `ttl` is kept within [`TTL_MIN`] and [`TTL_MAX`].
    ///
    /// # Errors
    /// If somebody has it until the end, or the backend fails at the end. Then the lock may have been taken all the same; it
    /// expires.
    ///
    /// # Cancel safety
    /// Dropped halfway, it may leave the lock taken until it expires.
    pub async fn acquire(
        &self,
        name: &Name,
        owner: &Owner,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Grant, LockError<B::Error>> {
        self.take(name, owner, ttl, patience).await.map(|(grant, _)| grant)
    }

    /// Takes the lock under a name of its own, and keeps it until the guard is dropped or released: see [`Guard`]. To be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn guard(&self, name: &Name, ttl: Duration, patience: Duration) -> Result<Guard<B>, LockError<B::Error>> {
        let owner = Owner::random();
        let (grant, asked) = self.take(name, &owner, ttl, patience).await?;
        Ok(Guard::new(self.clone(), name.clone(), owner, grant, asked))
    }

    /// Extends the lock to `ttl` from now, if the owner still has it.
    ///
    /// # Errors
    /// If the backend does not answer: then nobody knows.
    pub async fn renew(&self, name: &Name, owner: &Owner, ttl: Duration) -> Result<Renewal, B::Error> {
        self.backend.renew(name, owner, bounded(ttl)).await
    }

    /// Gives the lock back, if the owner still has it.
    ///
    /// # Errors
    /// If the backend does not answer: then it is given back, or expires.
    pub async fn release(&self, name: &Name, owner: &Owner) -> Result<Released, B::Error> {
        self.backend.release(name, owner).await
    }

    /// Who has the lock, by the fence; `None`: nobody.
    ///
    /// # Errors
    /// If the backend does not answer.
    pub async fn look(&self, name: &Name) -> Result<Option<Held>, B::Error> {
        self.backend.look(name).await
    }

    /// The grant, and the moment before it was asked for.
    async fn take(
        &self,
        name: &Name,
        owner: &Owner,
        ttl: Duration,
        patience: Duration,
    ) -> Result<(Grant, Instant), LockError<B::Error>> {
        let (ttl, deadline) = (bounded(ttl), Instant::now() + patience);
        let mut pause = PAUSES[0];
        loop {
            let asked = Instant::now();
            let refusal = match self.backend.acquire(name, owner, ttl).await {
                Ok(Attempt::Granted(grant)) => return Ok((grant, asked)),
                Ok(Attempt::Held(held)) => LockError::Held(held),
                Err(error) => LockError::Backend(error),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(refusal);
            }
            // Those who wait must not come all at once.
            sleep(pause.mul_f64(rand::random_range(0.5..1.0)).min(left)).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }
}

fn bounded(ttl: Duration) -> Duration {
    ttl.clamp(TTL_MIN, TTL_MAX)
}

#[cfg(test)]
mod tests;
