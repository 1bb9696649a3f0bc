//! How nodes keep in step: they announce changes, follow each other's announcements, and know when they cannot.

mod driver;
mod pending;
mod scripts;
mod reliance;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::task::JoinHandle;

pub use self::reliance::Trust;
use self::{driver::Driver, pending::Pending, reliance::Reliance, scripts::Scripts};
use crate::{
    breaker::Breaker,
    clock::{Clock, Moment},
    coherence::{
        Announcement, Break, Coherence, Epoch, Kind, Position, SentAt, Seq, Settled, Snapshot, Stream, Token, Vouched,
        WriteId,
    },
    echo::{Echo, Echoes},
    error::RedisError,
    outcome::ResyncReason,
    redis::RedisLink,
    tag::Slots,
    template::{Edition, Published, RegisterError, Template, Templates},
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
    /// A backplane without peers. Its lease never ends, or as soon as nobody vouches for the change feed.
    #[must_use]
    pub fn alone(coherence: Arc<Coherence>, trust: Trust) -> Self {
        let epoch = coherence.epoch().unwrap_or_else(Epoch::random);
        if trust == Trust::Announcements {
            coherence.grant(epoch, Moment::NEVER);
        }
        Self::Alone(Alone { coherence, last: Mutex::new((epoch, Seq(0))), echoes: Arc::default() })
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
        Self::Shared(Box::new(Shared {
            scripts,
            reliance,
            coherence,
            breaker,
            pending,
            echoes: Arc::default(),
            clock,
            task,
        }))
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

    /// See [`TwoTier::register`](crate::cache::TwoTier::register).
    pub(crate) async fn register(&self, templates: &[Template]) -> Result<Epoch, RegisterError> {
        let coherence = match self {
            Self::Alone(alone) => &alone.coherence,
            Self::Shared(shared) => &shared.coherence,
        };
        if templates.is_empty() { coherence.epoch().ok_or(RegisterError::Full) } else { Err(RegisterError::Full) }
    }

    /// See [`TwoTier::templates`](crate::cache::TwoTier::templates).
    pub(crate) async fn templates(&self) -> Result<Templates, RedisError> {
        let epoch = match self {
            Self::Alone(alone) => alone.last.lock().0,
            Self::Shared(shared) => shared.coherence.epoch().unwrap_or_else(Epoch::random),
        };
        Ok(Templates { edition: Edition { epoch, version: 0 }, known: std::collections::BTreeSet::new() })
    }

    /// See [`TwoTier::publish_knowing`](crate::cache::TwoTier::publish_knowing).
    pub(crate) async fn announce_knowing(
        &self,
        slots: &Slots,
        kind: Kind,
        _edition: Edition,
        writes: &[WriteId],
        now: Moment,
    ) -> Result<Published, RedisError> {
        let token = self.announce(slots, kind, now).await?;
        self.echoes().heard(writes, token);
        Ok(Published::Yes(token))
    }

    /// See [`TwoTier::expect`](crate::cache::TwoTier::expect).
    pub(crate) fn expect(&self, write: WriteId) -> Echo {
        let coherence = match self {
            Self::Alone(alone) => &alone.coherence,
            Self::Shared(shared) => &shared.coherence,
        };
        self.echoes().expect(write, coherence)
    }

    fn echoes(&self) -> &Arc<Echoes> {
        match self {
            Self::Alone(alone) => &alone.echoes,
            Self::Shared(shared) => &shared.echoes,
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
            Self::Shared(shared) => shared.asked(shared.scripts.clock()).await.map(SentAt::Redis),
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
            Self::Shared(shared) => shared.asked(shared.scripts.adopt(stream)).await,
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
                return shared.asked(shared.scripts.vouch(stream, until, settled)).await;
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

/// See [`Backplane::Alone`].
pub struct Alone {
    coherence: Arc<Coherence>,
    /// the epoch and its last announcement
    last: Mutex<(Epoch, Seq)>,
    echoes: Arc<Echoes>,
}

impl Alone {
    fn announce(&self, slots: &Slots, kind: Kind, now: Moment) -> Token {
        // Held while applying, so that announcements are applied in the order of their numbers.
        let mut last = self.last.lock();
        last.1.0 += 1;
        let (epoch, seq) = *last;
        let announcement = Announcement { epoch, seq, kind, slots: slots.clone() };
        self.coherence.apply(&announcement, now);
        Token { epoch, seq }
    }

    fn begin_epoch(&self, now: Moment) {
        let mut last = self.last.lock();
        let (epoch, seq) = (Epoch::random(), Seq(0));
        *last = (epoch, seq);
        let position = Position { epoch, seq, purged: seq, trusted: false };
        self.coherence.adopt(&Snapshot { position, table: vec![0; self.coherence.slot_count()] }, now);
    }

    /// Nobody polls here, so the whole of `max_staleness` is the feed's.
    fn vouch(&self, sent_at: Moment) {
        let last = self.last.lock();
        self.coherence.grant(last.0, sent_at.plus(self.coherence.max_staleness()));
    }
}

/// See [`Backplane::Shared`].
pub struct Shared {
    scripts: Scripts,
    reliance: Reliance,
    coherence: Arc<Coherence>,
    breaker: Arc<Breaker>,
    pending: Arc<Pending>,
    echoes: Arc<Echoes>,
    clock: Clock,
    task: JoinHandle<()>,
}

impl Shared {
    /// Asks Redis unless its breaker is open.
    async fn asked<T>(&self, question: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
        if self.breaker.is_open() {
            return Err(RedisError::BreakerOpen);
        }
        question.await.inspect_err(|error| self.breaker.trip(error))
    }

    /// The feed's half of `max_staleness`; the other one belongs to the poll.
    fn half_bound(&self) -> Duration {
        self.coherence.max_staleness() / 2
    }

    async fn announce(&self, slots: &Slots, kind: Kind) -> Result<Token, RedisError> {
        match self.asked(self.scripts.announce(slots, kind)).await {
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
