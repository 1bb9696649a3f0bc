//! The two-tier cache: look up, fill, store, announce.
//!
//! ```text
//! lookup -> Found (fresh, or stale by leave) | Missing(what, why)
//! seek   -> Found | Missing(FillTicket)   (the leader of a fill looks into L2, and takes the fill lease)
//! begin  -> FillTicket   (before the origin is asked)
//! store  <- FillTicket   (the only way to store, C1)
//! ```

mod fill;
mod seek;

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

pub use self::{
    fill::{FillTicket, Stored},
    seek::{Sought, Wanted},
};
use crate::{
    backplane::{Backplane, ECHO_PATIENCE, Observer, Trust},
    breaker::Breaker,
    clock::{Clock, Moment},
    coherence::{Coherence, Echo, Kind, Proof, Reached, Token, WriteId},
    entry::{Entry, Value},
    error::RedisError,
    freshness::{self, Directives, Right, Verdict},
    key::CacheKey,
    lease::Leases,
    limits::Limits,
    outcome::{Tier, TierResult},
    redis::RedisLink,
    tag::{Slots, Tag},
    template::{Edition, Published, Templates},
    tier::{L1, L2, L2Answer, Revision},
};

/// A two-tier cache that is coherent with its peers.
pub struct TwoTier<V: Value> {
    l1: L1<V>,
    l2: Option<Arc<L2>>,
    /// `None` if nodes do not ask each other before they fill
    leases: Option<Arc<Leases>>,
    coherence: Arc<Coherence>,
    backplane: Arc<Backplane>,
    breaker: Arc<Breaker>,
    link: Option<RedisLink>,
    clock: Clock,
    limits: Limits,
    /// stores on their way to L2
    stores: TaskTracker,
}

/// What a lookup found.
#[derive(Debug)]
pub enum Lookup<V> {
    /// an entry that may answer
    Found(Found<V>),
    /// none that may
    Missing(Missing<V>),
}

/// An entry that may answer, and by which right.
#[derive(Debug)]
pub struct Found<V> {
    /// the entry
    pub entry: Arc<Entry<V>>,
    /// where it was
    pub tier: Tier,
    /// fresh, or stale by somebody's leave
    pub right: Right,
}

/// Why nothing may answer, and what might if the origin fails.
#[derive(Debug)]
pub struct Missing<V> {
    /// the answer of the tier that decided
    pub because: TierResult,
    /// an entry that may answer if the origin fails, and for how long it has not been fresh
    pub if_error: Option<(Arc<Entry<V>>, Duration)>,
}

impl<V: Value> TwoTier<V> {
    /// A cache of a single node, without Redis and without a change feed.
    #[must_use]
    pub fn alone(limits: Limits, clock: Clock) -> Self {
        Self::alone_trusting(Trust::Announcements, limits, clock)
    }

    /// A cache of a single node, without Redis.
    #[must_use]
    pub fn alone_trusting(trust: Trust, limits: Limits, clock: Clock) -> Self {
        let coherence = Arc::new(Coherence::new(limits.slots, limits.max_staleness));
        let backplane = Backplane::alone(coherence.clone(), trust);
        Self::new(limits, clock, coherence, backplane, None, Arc::default())
    }

    /// A cache that shares a Redis with its peers, without a change feed. To be called within a tokio runtime; never
    /// waits for Redis.
    #[must_use]
    pub fn shared(limits: Limits, clock: Clock, link: RedisLink, namespace: &str, observer: Arc<dyn Observer>) -> Self {
        Self::shared_trusting(Trust::Announcements, limits, clock, link, namespace, observer)
    }

    /// A cache that shares a Redis with its peers. To be called within a tokio runtime; never waits for Redis.
    #[must_use]
    pub fn shared_trusting(
        trust: Trust,
        limits: Limits,
        clock: Clock,
        link: RedisLink,
        namespace: &str,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let coherence = Arc::new(Coherence::new(limits.slots, limits.max_staleness));
        let breaker = Arc::new(Breaker::default());
        let backplane = Backplane::shared(
            link.clone(),
            namespace,
            coherence.clone(),
            breaker.clone(),
            clock,
            observer.clone(),
            trust,
        );
        let l2 = L2::new(link.clone(), breaker.clone(), clock, namespace, observer);
        Self::new(limits, clock, coherence, backplane, Some((link, l2)), breaker)
    }

    fn new(
        limits: Limits,
        clock: Clock,
        coherence: Arc<Coherence>,
        backplane: Backplane,
        redis: Option<(RedisLink, L2)>,
        breaker: Arc<Breaker>,
    ) -> Self {
        let (link, l2) = redis.unzip();
        let l1 = L1::new(limits.l1_bytes_max);
        let l2 = l2.map(Arc::new);
        let stores = TaskTracker::new();
        let lease_for = limits.fill_lease_for;
        let leases = l2.clone().filter(|_| !lease_for.is_zero());
        let leases = leases.map(|l2| Arc::new(Leases::new(l2, lease_for, stores.clone())));
        let backplane = Arc::new(backplane);
        Self { l1, l2, leases, coherence, backplane, breaker, link, clock, limits, stores }
    }

    /// A cache of other values that shares the history of announcements, the lease and the connections of this one: what it
    /// stores is as coherent, and nothing is polled twice. It has an L1 of its own, and lies in Redis under
    /// `transom:<namespace>:<kind>:{<canonical bytes of the key>}`, which have to be a text without braces. Nodes do not
    /// wait for each other's fills. It is closed with this one.
    #[must_use]
    pub fn beside<W: Value>(&self, kind: &str, l1_bytes_max: u64) -> TwoTier<W> {
        let limits = Limits { l1_bytes_max, fill_lease_for: Duration::ZERO, ..self.limits };
        TwoTier {
            l1: L1::new(l1_bytes_max),
            l2: self.l2.as_ref().map(|l2| Arc::new(l2.beside(kind))),
            leases: None,
            coherence: self.coherence.clone(),
            backplane: self.backplane.clone(),
            breaker: self.breaker.clone(),
            link: self.link.clone(),
            clock: self.clock,
            limits,
            stores: self.stores.clone(),
        }
    }

    /// Looks in L1 alone: takes no lock, waits for nothing.
    #[must_use]
    pub fn lookup_l1(&self, key: &CacheKey, directives: &Directives, now: Moment) -> Lookup<V> {
        match self.l1.get(key) {
            Some(entry) => self.judge(entry, Tier::L1, directives, now),
            None => Lookup::Missing(Missing { because: TierResult::Absent, if_error: None }),
        }
    }

    /// Looks in L2, and promotes to L1 what may answer. `None` if there is no L2. Without a lease Redis is not asked:
    /// an entry of a peer counts only while coherence can be proven; nor while this node owes an announcement, because an
    /// entry of a peer may be older than what was written here. A caller whose origin failed asks with
    /// [`rescue_l2`](Self::rescue_l2) instead.
    pub async fn lookup_l2(&self, key: &CacheKey, directives: &Directives, now: Moment) -> Option<Lookup<V>> {
        let l2 = self.l2.as_ref()?;
        let unavailable = Lookup::Missing(Missing { because: TierResult::Unavailable, if_error: None });
        if !self.may_trust_peers(now) {
            return Some(unavailable);
        }
        Some(match l2.get(key).await {
            L2Answer::Unavailable => unavailable,
            L2Answer::Absent => Lookup::Missing(Missing { because: TierResult::Absent, if_error: None }),
            // Asked again after the wait: an announcement may have failed while Redis was slow.
            L2Answer::Found(_) if !self.may_trust_peers(self.clock.now()) => unavailable,
            L2Answer::Found(entry) => {
                let found = self.judge(Arc::new(entry), Tier::L2, directives, self.clock.now());
                if let Lookup::Found(Found { entry, .. }) = &found {
                    self.l1.put(key, entry.clone());
                }
                found
            }
        })
    }

    /// Looks in L2 for anything that may answer now that the origin failed.
    pub async fn rescue_l2(&self, key: &CacheKey) -> Option<(Arc<Entry<V>>, Duration)> {
        let L2Answer::Found(entry) = self.l2.as_ref()?.get(key).await else { return None };
        match self.judge(Arc::new(entry), Tier::L2, &Directives::default(), self.clock.now()) {
            Lookup::Found(found) => Some((found.entry, Duration::ZERO)),
            Lookup::Missing(missing) => missing.if_error,
        }
    }

    /// The templates that are registered now: for who computes tags of changed rows.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn templates(&self) -> Result<Templates, RedisError> {
        self.backplane.templates().await
    }

    /// Drops what L1 has under this key.
    pub fn forget(&self, key: &CacheKey) {
        self.l1.remove(key);
    }

    /// Announces that what carries these tags changed, and waits a moment for the announcement to come back, so that
    /// what is read here next can be stored again.
    ///
    /// # Errors
    /// See [`Backplane::announce`]: this node is right already, and the peers are told as soon as Redis answers.
    pub async fn announce(&self, tags: impl IntoIterator<Item = Tag>, kind: Kind) -> Result<Token, RedisError> {
        let token = self.publish(tags, kind).await?;
        self.coherence.wait_for(token, ECHO_PATIENCE).await;
        Ok(token)
    }

    /// As [`announce`](Self::announce), without the wait: for who announces much and reads nothing.
    ///
    /// # Errors
    /// See [`Backplane::announce`].
    pub async fn publish(&self, tags: impl IntoIterator<Item = Tag>, kind: Kind) -> Result<Token, RedisError> {
        let slots = Slots::of(tags, self.limits.slots);
        self.backplane.announce(&slots, kind, self.clock.now()).await
    }

    /// Invalidates on this node alone what carries these tags: for who heard of a change by another way than announcements.
    pub fn invalidate_here(&self, tags: impl IntoIterator<Item = Tag>) {
        let slots = Slots::of(tags, self.limits.slots);
        self.coherence.apply_unannounced(&slots, Kind::Change, self.clock.now());
    }

    /// As [`publish`](Self::publish), for tags that were computed from an edition of the templates, and on behalf of these
    /// writes. What is refused or fails had no effect here or anywhere, or only that of a part of it, and is not kept: the
    /// caller makes it again from newer templates.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn publish_knowing(
        &self,
        tags: impl IntoIterator<Item = Tag>,
        kind: Kind,
        edition: Edition,
        writes: &[WriteId],
    ) -> Result<Published, RedisError> {
        let slots = Slots::of(tags, self.limits.slots);
        self.backplane.announce_knowing(&slots, kind, edition, writes, self.clock.now()).await
    }

    /// Listens from now on for the announcement that covers this write.
    #[must_use]
    pub fn expect(&self, write: WriteId) -> Echo {
        self.coherence.expect(write)
    }

    /// The change feed's side of the backplane.
    #[must_use]
    pub fn backplane(&self) -> &Backplane {
        &self.backplane
    }

    /// Waits until this node has applied everything up to the token.
    pub async fn wait_for(&self, token: Token, patience: Duration) -> Reached {
        self.coherence.wait_for(token, patience).await
    }

    /// The coherence state, for metrics and health.
    #[must_use]
    pub fn coherence(&self) -> &Coherence {
        &self.coherence
    }

    /// The clock by which this cache judges.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Entries and bytes in L1.
    #[must_use]
    pub fn l1_size(&self) -> (u64, u64) {
        self.l1.size()
    }

    /// Whether there is an L2, and if so whether its breaker is closed.
    #[must_use]
    pub fn l2_available(&self) -> Option<bool> {
        self.l2.as_ref().map(|_| !self.breaker.is_open())
    }

    /// How many fills of this node wait for a peer's, because that has the fill lease.
    #[must_use]
    pub fn fills_waiting(&self) -> u32 {
        self.leases.as_ref().map_or(0, |leases| leases.waiting())
    }

    /// Whether an announcement has not reached Redis yet.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.backplane.owes()
    }

    /// Finishes the stores that are under way and closes the connections, within a moment.
    pub async fn close(&self) {
        self.stores.close();
        // Whatever is not stored by then is a miss for a peer, and nothing else.
        drop(tokio::time::timeout(self.limits.redis_timeout * 2, self.stores.wait()).await);
        if let Some(link) = &self.link {
            link.close().await;
        }
    }

    fn may_trust_peers(&self, now: Moment) -> bool {
        self.coherence.lease_held(now) && !self.backplane.owes()
    }

    /// Whether an entry that was found in this tier may answer a request with these directives.
    #[must_use]
    pub fn judge(&self, entry: Arc<Entry<V>>, tier: Tier, directives: &Directives, now: Moment) -> Lookup<V> {
        match self.verdict(&entry, directives, now) {
            Verdict::Refuse { because, if_error, expired_for } => {
                Lookup::Missing(Missing { because, if_error: if_error.then_some((entry, expired_for)) })
            }
            Verdict::Serve(right) => Lookup::Found(Found { entry, tier, right }),
        }
    }

    /// The same, for who keeps the entry.
    #[must_use]
    pub fn verdict(&self, entry: &Entry<V>, directives: &Directives, now: Moment) -> Verdict {
        let proof = self.coherence.judge(&entry.stamp, entry.filled(), now);
        let purged = proof == Proof::Incoherent && self.coherence.was_purged(entry.began);
        freshness::judge(entry.age(now), &entry.lifetimes(), proof, purged, directives)
    }

    /// See [`Revision`].
    #[must_use]
    pub fn revision(&self, key: &CacheKey) -> Revision {
        self.l1.revision(key)
    }
}
