//! A lock that renews itself.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Backend, Fence, Grant, Locks, Name, Owner, Released, Renewal};

/// A lock is renewed so often within its TTL: two renewals may fail before it is lost.
const RENEWALS_PER_TTL: u32 = 3;
/// A renewal that failed is tried again so often within the TTL.
const RETRIES_PER_TTL: u32 = 20;
/// How much of a TTL is left unused, as clocks do not run alike: one part in so many.
const DRIFT: u32 = 100;

/// A lock that this process has, and renews until the guard is released or dropped. Dropping gives it back in the background.
///
/// It may be lost all the same: the backend was away for longer than the TTL, or forgot, or this process was frozen.
/// [`is_held`](Self::is_held) and [`lost`](Self::lost) say so by this machine's own clock, counted from before the last
/// renewal was sent, so never later than the backend would give it to somebody else. Still, between asking and acting time
/// passes: show the [`fence`](Self::fence) to what the lock protects.
pub struct Guard<B: Backend> {
    tenure: Arc<Tenure<B>>,
    renewing: JoinHandle<()>,
    release: OnDrop,
}

/// What is left to do when a guard is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    GiveBack,
    Nothing,
}

struct Tenure<B> {
    locks: Locks<B>,
    name: Name,
    owner: Owner,
    fence: Fence,
    ttl: Duration,
    until: Mutex<Instant>,
    lost: CancellationToken,
}

impl<B: Backend> Guard<B> {
    pub(super) fn new(locks: Locks<B>, name: Name, owner: Owner, grant: Grant, asked: Instant) -> Self {
        let Grant { fence, ttl } = grant;
        let until = Mutex::new(asked + trusted(ttl));
        let tenure = Arc::new(Tenure { locks, name, owner, fence, ttl, until, lost: CancellationToken::new() });
        let renewing = tokio::spawn(renew(tenure.clone()));
        Self { tenure, renewing, release: OnDrop::GiveBack }
    }

    /// Its place among all holders of this lock.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.tenure.fence
    }

    /// Whether nobody else can have the lock right now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.tenure.lost.is_cancelled() && Instant::now() < *self.tenure.until.lock()
    }

    /// Waits until somebody else may have the lock; for ever, if all goes well. To be selected against the work.
    pub async fn lost(&self) {
        self.tenure.lost.cancelled().await;
    }

    /// Gives the lock back, and says whether it was still held.
    ///
    /// # Errors
    /// If the backend does not answer: then the lock expires.
    pub async fn release(mut self) -> Result<Released, B::Error> {
        self.release = OnDrop::Nothing;
        self.renewing.abort();
        let Tenure { locks, name, owner, .. } = &*self.tenure;
        locks.release(name, owner).await
    }
}

impl<B: Backend> Drop for Guard<B> {
    fn drop(&mut self) {
        self.renewing.abort();
        // Without a runtime nothing can be sent any more: the lock expires.
        let (OnDrop::GiveBack, Ok(runtime)) = (self.release, Handle::try_current()) else { return };
        let tenure = self.tenure.clone();
        // Ends by the backend's own deadline.
        runtime.spawn(async move { drop(tenure.locks.release(&tenure.name, &tenure.owner).await) });
    }
}

impl<B: Backend> std::fmt::Debug for Guard<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guard({}, fence {})", self.tenure.name, self.tenure.fence)
    }
}

/// How long a lock may be believed in, from before it was asked for.
fn trusted(ttl: Duration) -> Duration {
    ttl - ttl / DRIFT
}

/// Renews until the lock is lost.
async fn renew<B: Backend>(tenure: Arc<Tenure<B>>) {
    let _lost = tenure.lost.clone().drop_guard();
    let mut pause = tenure.ttl / RENEWALS_PER_TTL;
    loop {
        let until = *tenure.until.lock();
        tokio::select! {
            () = sleep(pause) => {}
            () = sleep_until(until) => return,
        }
        let asked = Instant::now();
        let renewed = tenure.locks.renew(&tenure.name, &tenure.owner, tenure.ttl);
        pause = match timeout_at(until, renewed).await {
            Ok(Ok(Renewal::Renewed(_))) => {
                *tenure.until.lock() = asked + trusted(tenure.ttl);
                tenure.ttl / RENEWALS_PER_TTL
            }
            Ok(Ok(Renewal::Lost)) => return,
            Ok(Err(error)) => {
                tracing::debug!(name = %tenure.name, %error, "a lock could not be renewed; trying again");
                tenure.ttl / RETRIES_PER_TTL
            }
            Err(_) => return,
        };
    }
}
