//! Where locks are kept.

use std::{fmt, time::Duration};

use super::{Name, Owner};

/// Keeps locks. Each method is one atomic step, judged by the backend's own clock, and has a deadline of its own.
pub trait Backend: Send + Sync + 'static {
    /// Why it did not answer.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes the lock if it is free, expired, or this owner's already.
    fn acquire(
        &self,
        name: &Name,
        owner: &Owner,
        ttl: Duration,
    ) -> impl Future<Output = Result<Attempt, Self::Error>> + Send;

    /// Lets the lock last for `ttl` from now, if it is this owner's.
    fn renew(
        &self,
        name: &Name,
        owner: &Owner,
        ttl: Duration,
    ) -> impl Future<Output = Result<Renewal, Self::Error>> + Send;

    /// Frees the lock, if it is this owner's.
    fn release(&self, name: &Name, owner: &Owner) -> impl Future<Output = Result<Released, Self::Error>> + Send;

    /// Who has the lock.
    fn look(&self, name: &Name) -> impl Future<Output = Result<Option<Held>, Self::Error>> + Send;
}

/// Numbers the holders of a lock: each gets a higher one than all before it. Below 2^53, so that JSON and Lua keep it whole.
///
/// It is the time of the acquisition in microseconds since 1970 by the backend's clock, or one more than the last, whichever
/// is higher. So it grows also where the last one was forgotten, as long as clocks are closer together than acquisitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// the owner has the lock
    Granted(Grant),
    /// somebody else has it
    Held(Held),
}

/// A lock that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// to be shown to what the lock protects
    pub fence: Fence,
    /// for how long, from before the answer
    pub ttl: Duration,
}

/// A lock that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// that of the holder
    pub fence: Fence,
    /// until it expires, unless it is renewed
    pub remaining: Duration,
}

/// Whether a lock was renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// it lasts on
    Renewed(Grant),
    /// it expired, or is somebody else's by now
    Lost,
}

/// Whether a lock was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// by this call
    Yes,
    /// it was not this owner's: it expired before
    NotHeld,
}
