//! How nodes keep in step: they announce changes, follow each other's announcements, and know when they cannot.

mod driver;
mod pending;
mod scripts;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use self::{driver::Driver, pending::Pending, scripts::Scripts};
use crate::{
    breaker::Breaker,
    clock::{Clock, Moment},
    coherence::{Announcement, Coherence, Epoch, Kind, Seq, Token},
    error::RedisError,
    outcome::ResyncReason,
    redis::RedisLink,
    tag::Slots,
};

/// Hears what the backplane does, for metrics.
pub trait Observer: Send + Sync + 'static {
    /// The coherence table was read again.
    fn resynced(&self, reason: ResyncReason);
}

/// The way to the peers.
pub enum Backplane {
    /// A single node without Redis: its own history, which it always knows to the end.
    Alone(Alone),
    /// Nodes around a Redis.
    Shared(Box<Shared>),
}

impl Backplane {
    /// A backplane without peers.
    #[must_use]
    pub fn alone(coherence: Arc<Coherence>) -> Self {
        let epoch = coherence.epoch().unwrap_or_else(Epoch::random);
        coherence.grant(epoch, Moment::NEVER);
        Self::Alone(Alone { coherence, epoch, last: Mutex::new(Seq(0)) })
    }

    /// A backplane over Redis, and the task that follows it.
    #[must_use]
    pub fn shared(
        link: RedisLink,
        namespace: &str,
        coherence: Arc<Coherence>,
        breaker: Arc<Breaker>,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let scripts = Scripts::new(link.control.clone(), link.timeout, namespace, &coherence);
        let pending = Arc::new(Pending::default());
        let driver =
            Driver::new(link, scripts.clone(), coherence.clone(), breaker.clone(), pending.clone(), clock, observer);
        let task = tokio::spawn(driver.run());
        Self::Shared(Box::new(Shared { scripts, coherence, breaker, pending, clock, task }))
    }

    /// Announces that these slots changed. On return, nothing from before is fresh on this node any more, whether the
    /// peers could be told or not.
    ///
    /// Peers serve nothing from before as fresh once `max_staleness` has passed since the call, also if Redis is away
    /// from everybody meanwhile. One hole is left to whoever does without a change feed: a node that **alone** cannot
    /// reach Redis (longer than a quarter of `max_staleness` after its peers can), or that dies before the announcement
    /// is made, owes what nobody else knows of, and the peers' leases go on.
    ///
    /// # Errors
    /// If Redis did not take the announcement. It is kept and announced as soon as Redis answers, before this node
    /// trusts Redis again; until then the peers' leases lapse, which bounds their staleness.
    pub async fn announce(&self, slots: &Slots, kind: Kind, now: Moment) -> Result<Token, RedisError> {
        match self {
            Self::Alone(alone) => Ok(alone.announce(slots, kind, now)),
            Self::Shared(shared) => shared.announce(slots, kind).await,
        }
    }

    /// Whether an announcement of this node has not reached Redis yet. Until it has, what peers stored in L2 may be
    /// older than this node's own writes, and nothing but this node knows.
    #[must_use]
    pub fn owes(&self) -> bool {
        match self {
            Self::Alone(_) => false,
            Self::Shared(shared) => !shared.pending.is_empty(),
        }
    }
}

/// See [`Backplane::Alone`].
pub struct Alone {
    coherence: Arc<Coherence>,
    epoch: Epoch,
    last: Mutex<Seq>,
}

impl Alone {
    fn announce(&self, slots: &Slots, kind: Kind, now: Moment) -> Token {
        // Held while applying, so that announcements are applied in the order of their numbers.
        let mut last = self.last.lock();
        last.0 += 1;
        let announcement = Announcement { epoch: self.epoch, seq: *last, kind, slots: slots.clone() };
        self.coherence.apply(&announcement, now);
        Token { epoch: self.epoch, seq: *last }
    }
}

/// See [`Backplane::Shared`].
pub struct Shared {
    scripts: Scripts,
    coherence: Arc<Coherence>,
    breaker: Arc<Breaker>,
    pending: Arc<Pending>,
    clock: Clock,
    task: JoinHandle<()>,
}

impl Shared {
    async fn announce(&self, slots: &Slots, kind: Kind) -> Result<Token, RedisError> {
        let announced = if self.breaker.is_open() {
            Err(RedisError::BreakerOpen)
        } else {
            self.scripts.announce(slots, kind).await.inspect_err(|error| self.breaker.trip(error))
        };
        match announced {
            Ok(token) => {
                let announcement = Announcement { epoch: token.epoch, seq: token.seq, kind, slots: slots.clone() };
                self.coherence.apply_own(&announcement, self.clock.now());
                Ok(token)
            }
            Err(error) => {
                self.coherence.apply_unannounced(slots, kind, self.clock.now());
                self.pending.add(slots, kind);
                Err(error)
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long a writer waits for its own announcement to come back before it answers.
pub const ECHO_PATIENCE: Duration = Duration::from_millis(100);
