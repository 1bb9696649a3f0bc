//! How nodes keep in step: they announce changes, follow each other's announcements, and know when they cannot.

mod alone;
mod driver;
mod vigil;
mod pending;
mod registered;
mod scripts;
mod message;
mod reliance;

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;
use tokio::task::JoinHandle;

pub use self::{alone::Alone, reliance::Trust};
use self::{
    driver::Driver,
    pending::Pending,
    registered::{Belief, Registered},
    reliance::Reliance,
    scripts::{Registration, Scripts},
};
use crate::{
    breaker::Breaker,
    clock::{Clock, Moment},
    coherence::{Announcement, Break, Coherence, Epoch, Kind, SentAt, Settled, Stream, Token, Vouched, WriteId},
    error::RedisError,
    outcome::{LapseReason, ResyncReason, Unreadable},
    redis::RedisLink,
    tag::Slots,
    template::{Edition, Published, RegisterError, Template, Templates},
};

/// Hears what a cache meets on its way to Redis, for metrics and logs.
pub trait Observer: Send + Sync + 'static {
    /// The coherence table was read again.
    fn resynced(&self, reason: ResyncReason);
    /// The lease of freshness is over: this node cannot prove its coherence for now.
    fn lapsed(&self, reason: LapseReason);
    /// A value in Redis is of no use.
    fn unreadable(&self, reason: Unreadable);
}

/// The way to the peers.
pub enum Backplane {
    /// A single node without Redis: its own history, which it always knows to the end.
    Alone(Alone),
    /// Nodes around a Redis.
    Shared(Box<Shared>),
}

impl Backplane {
    /// A backplane without peers. Its lease never ends, or as soon as nobody vouches for the change feed.
    #[must_use]
    pub fn alone(coherence: Arc<Coherence>, trust: Trust) -> Self {
        Self::Alone(Alone::new(coherence, trust))
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
        trust: Trust,
    ) -> Self {
        let reliance = Reliance::on(trust);
        let scripts = Scripts::new(link.control.clone(), link.timeout, namespace, &coherence, reliance.clone());
        let pending = Arc::new(Pending::default());
        let driver =
            Driver::new(link, scripts.clone(), coherence.clone(), breaker.clone(), pending.clone(), clock, observer);
        let task = tokio::spawn(driver.run());
        let registered = Registered::default();
        Self::Shared(Box::new(Shared { scripts, reliance, registered, coherence, breaker, pending, clock, task }))
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

    /// As [`announce`](Self::announce), for slots that were computed from an edition of the templates. It is refused if
    /// there are newer ones: whoever fills by those would not hear of the change.
    ///
    /// What could not be announced is not kept: by the time it is repeated there may be newer templates. Whoever computed
    /// it computes it again, and vouches for nothing meanwhile, so that the leases of all nodes lapse, this one's included.
    /// A part of it may have been announced nevertheless, which does no harm.
    ///
    /// # Errors
    /// If Redis did not take the announcement.
    pub async fn announce_knowing(
        &self,
        slots: &Slots,
        kind: Kind,
        edition: Edition,
        writes: &[WriteId],
        now: Moment,
    ) -> Result<Published, RedisError> {
        match self {
            Self::Alone(alone) => Ok(alone.announce_knowing(slots, kind, edition, writes, now)),
            Self::Shared(shared) => shared.announce_knowing(slots, kind, edition, writes).await,
        }
    }

    /// Makes templates known to whoever announces. Returns the epoch in which they are.
    ///
    /// # Errors
    /// If there is no room for them, or Redis does not answer.
    pub async fn register(&self, templates: &[Template]) -> Result<Epoch, RegisterError> {
        match self {
            Self::Alone(alone) => alone.register(templates),
            Self::Shared(shared) => shared.register(templates).await,
        }
    }

    /// The templates that are registered now.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn templates(&self) -> Result<Templates, RedisError> {
        match self {
            Self::Alone(alone) => Ok(alone.templates()),
            Self::Shared(shared) => shared.breaker.guard(shared.scripts.templates()).await,
        }
    }

    /// Nothing that the change feed vouched for counts any more on this node, until [`cover`](Self::cover) and a poll after it.
    /// To be called before this node judges by another version of the publication: a lease says that it heard of every change
    /// *of what was covered* when it was granted, and must not meet an answer that is covered only now.
    pub fn uncover(&self, clock: Clock) {
        match self {
            Self::Alone(alone) => alone.uncover(clock.now()),
            Self::Shared(shared) => {
                shared.reliance.uncover();
                // By the clock after that: a poll that was sent later asks by no version.
                shared.coherence.revoke(clock.now());
            }
        }
    }

    /// This node judges what the change feed covers by this version of the publication; no other counts from now on.
    pub fn cover(&self, version: &str) {
        match self {
            Self::Alone(_) => {}
            Self::Shared(shared) => shared.reliance.cover(version),
        }
    }

    /// The present, by the clock that will judge the age of a heartbeat that is sent after this returns.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn sent_at(&self, now: Moment) -> Result<SentAt, RedisError> {
        match self {
            Self::Alone(_) => Ok(SentAt::Here(now)),
            Self::Shared(shared) => shared.breaker.guard(shared.scripts.clock()).await.map(SentAt::Redis),
        }
    }

    /// Takes the lead of the change feed: this stream is what announces from now on. Says why a new epoch had to begin,
    /// if it had to. To be called after the stream began and before anything from it is announced.
    ///
    /// # Errors
    /// If Redis does not answer. May be repeated.
    pub async fn adopt(&self, stream: &Stream, now: Moment) -> Result<Option<Break>, RedisError> {
        match self {
            Self::Alone(alone) => {
                alone.begin_epoch(now);
                Ok(Some(Break::Unknown))
            }
            Self::Shared(shared) => shared.breaker.guard(shared.scripts.adopt(stream)).await,
        }
    }

    /// Vouches that everything was announced that anybody could see when a heartbeat was sent, and that everything before
    /// the stream's position was.
    ///
    /// # Errors
    /// If Redis does not answer. May be repeated.
    pub async fn vouch(&self, stream: &Stream, beat: SentAt, settled: Settled) -> Result<Vouched, RedisError> {
        match (self, beat) {
            (Self::Alone(alone), SentAt::Here(sent_at)) => alone.vouch(sent_at),
            (Self::Shared(shared), SentAt::Redis(millis)) => {
                let until = millis + u64::try_from(shared.half_bound().as_millis()).unwrap_or(u64::MAX / 2);
                return shared.breaker.guard(shared.scripts.vouch(stream, until, settled)).await;
            }
            // A heartbeat of another backplane proves nothing here.
            (Self::Alone(_), SentAt::Redis(_)) | (Self::Shared(_), SentAt::Here(_)) => {}
        }
        Ok(Vouched::Yes)
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

/// See [`Backplane::Shared`].
pub struct Shared {
    scripts: Scripts,
    reliance: Reliance,
    registered: Registered,
    coherence: Arc<Coherence>,
    breaker: Arc<Breaker>,
    pending: Arc<Pending>,
    clock: Clock,
    task: JoinHandle<()>,
}

impl Shared {
    /// The feed's half of `max_staleness`; the other one belongs to the poll.
    fn half_bound(&self) -> Duration {
        self.coherence.max_staleness() / 2
    }

    async fn announce(&self, slots: &Slots, kind: Kind) -> Result<Token, RedisError> {
        match self.breaker.guard(self.scripts.announce(slots, kind)).await {
            Ok(token) => {
                self.apply_own(token, slots, kind, &[]);
                Ok(token)
            }
            Err(error) => {
                self.coherence.apply_unannounced(slots, kind, self.clock.now());
                self.pending.add(slots, kind);
                Err(error)
            }
        }
    }

    async fn announce_knowing(
        &self,
        slots: &Slots,
        kind: Kind,
        edition: Edition,
        writes: &[WriteId],
    ) -> Result<Published, RedisError> {
        let published = self.breaker.guard(self.scripts.announce_knowing(slots, kind, edition, writes)).await?;
        if let Published::Yes(token) = published {
            self.apply_own(token, slots, kind, writes);
        }
        Ok(published)
    }

    fn apply_own(&self, Token { epoch, seq }: Token, slots: &Slots, kind: Kind, writes: &[WriteId]) {
        let announcement =
            Announcement { epoch, seq, kind, slots: slots.clone(), writes: SmallVec::from_slice(writes) };
        self.coherence.apply_own(&announcement, self.clock.now());
    }

    async fn register(&self, templates: &[Template]) -> Result<Epoch, RegisterError> {
        if let Some(epoch) = self.coherence.epoch() {
            match self.registered.believe(templates, epoch) {
                Belief::Registered => return Ok(epoch),
                Belief::Full => return Err(RegisterError::Full),
                Belief::Unknown => {}
            }
        }
        match self.breaker.guard(self.scripts.register(templates)).await? {
            Registration::Done(epoch) => {
                self.registered.learn(templates, epoch);
                Ok(epoch)
            }
            Registration::Full => {
                // Whatever is registered by now is all there will be in this epoch: nobody need be asked again.
                self.registered.learn_all(self.breaker.guard(self.scripts.templates()).await?);
                Err(RegisterError::Full)
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long a writer waits for its own announcement to come back before it answers, or looks whether to wait on.
pub const ECHO_PATIENCE: Duration = Duration::from_millis(100);
