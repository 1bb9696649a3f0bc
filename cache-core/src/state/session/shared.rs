//! What callers and tasks share: the way of a question down the tiers, and of a revocation to the peers.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

use super::{
    Session, SessionError, SessionSettings, Store, TokenHash, Valid, Which,
    judge::{Judge, Store as StoreSeen},
    memory,
    touch::Touching,
};
use crate::{
    cache::{FillTicket, Found, Lookup, TwoTier},
    clock::Moment,
    coherence::{Kind, Proof},
    collapse::{Collapse, Joined, Wait},
    entry::{Entry, Lifetimes},
    freshness::{Directives, Right},
    key::CacheKey,
    tag::Tags,
};

/// What the store says of a token.
type Read<E> = Result<Option<Arc<Entry<Session>>>, SessionError<E>>;

pub(super) struct Shared<S: Store> {
    pub(super) store: S,
    pub(super) cache: TwoTier<Session>,
    pub(super) judge: Judge,
    /// somebody needs what the watch reads
    pub(super) wanted: Notify,
    pub(super) touching: Touching,
    pub(super) settings: SessionSettings,
    reads: Collapse<Read<S::Error>>,
}

impl<S: Store> Shared<S> {
    pub(super) fn new(
        store: S,
        cache: TwoTier<Session>,
        settings: SessionSettings,
    ) -> (Self, mpsc::Receiver<TokenHash>) {
        let bound = cache.coherence().max_staleness();
        let (touching, touches) = Touching::new();
        let judge = Judge::new(bound);
        let reads = Collapse::new(bound);
        (Self { store, cache, judge, wanted: Notify::new(), touching, settings, reads }, touches)
    }

    pub(super) fn now(&self) -> Moment {
        self.cache.clock().now()
    }

    /// The bound on staleness.
    pub(super) fn bound(&self) -> Duration {
        self.cache.coherence().max_staleness()
    }

    /// Waits for the store, but not for ever.
    pub(super) async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, S::Error>>,
    ) -> Result<T, SessionError<S::Error>> {
        bounded(self.settings.patience, answer).await
    }

    /// The same, for what is of no use later.
    pub(super) async fn within_bound<T>(
        &self,
        answer: impl Future<Output = Result<T, S::Error>>,
    ) -> Result<T, SessionError<S::Error>> {
        bounded(self.bound(), answer).await
    }

    /// The right to store what the store says from now on. Of whom it is, it will say itself.
    pub(super) fn begin(&self, key: &CacheKey) -> FillTicket {
        self.cache.begin(key.clone(), Tags::default())
    }

    /// Stores a copy, for as long as the session has to live.
    pub(super) fn keep(&self, ticket: FillTicket, session: Session) -> Arc<Entry<Session>> {
        let lifetimes = Lifetimes {
            fresh_for: self.settings.cached_for.min(session.left),
            stale_while_revalidate_for: Duration::ZERO,
            stale_if_error_for: Duration::ZERO,
        };
        self.cache.store(ticket.depending_on(memory::tags(&session)), session, lifetimes).0
    }

    /// The session in L1, if it may be shown.
    pub(super) fn in_l1(&self, hash: &TokenHash) -> Option<Valid> {
        let now = self.now();
        if self.judge.want(now) {
            self.wanted.notify_one();
        }
        let found = self.fresh_in_l1(&memory::key(hash), now)?;
        (self.judge.is_young(found.entry.began, found.entry.filled, now)
            || self.judge.has_heard(found.entry.began, now))
        .then(|| self.show(found, now))
    }

    /// The session, by L2, the store, or what there is while the store is away.
    pub(super) async fn below_l1(self: &Arc<Self>, hash: &TokenHash) -> Result<Option<Valid>, SessionError<S::Error>> {
        let key = memory::key(hash);
        if self.judge.store(self.now()) == StoreSeen::Away
            && let Some(valid) = self.without_store(&key).await
        {
            return Ok(Some(valid));
        }
        if let Some(valid) = self.in_l2(&key).await {
            return Ok(Some(valid));
        }
        let mut read = self.read(hash, &key).await;
        if matches!(read, (Ok(None), Part::Waiter)) {
            // The question that it joined may have been asked before there was a session.
            read.0 = self.read_alone(hash, self.begin(&key)).await;
        }
        match read.0 {
            Ok(entry) => Ok(entry.map(|entry| Valid { entry, tier: None })),
            Err(error) if is_away::<S>(&error) => self.without_store(&key).await.map(Some).ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn in_l2(&self, key: &CacheKey) -> Option<Valid> {
        if !self.judge.has_heard(self.now(), self.now()) {
            return None;
        }
        let found = fresh(self.cache.lookup_l2(key, &Directives::default(), self.now()).await?)?;
        let now = self.now();
        self.judge.has_heard(found.entry.began, now).then(|| self.show(found, now))
    }

    /// What may be shown while the store is away: what this node can prove to be coherent by what it heard of its peers.
    async fn without_store(&self, key: &CacheKey) -> Option<Valid> {
        // Without peers, announcements prove nothing: whoever else changes the store is heard by the store alone.
        self.cache.l2_available()?;
        let found = match self.fresh_in_l1(key, self.now()) {
            Some(found) => Some(found),
            None => fresh(self.cache.lookup_l2(key, &Directives::default(), self.now()).await?),
        }?;
        let now = self.now();
        let proof = self.cache.coherence().judge(&found.entry.stamp, found.entry.filled, now);
        (proof == Proof::Leased && self.judge.is_unswept(found.entry.began)).then(|| self.show(found, now))
    }

    fn fresh_in_l1(&self, key: &CacheKey, now: Moment) -> Option<Found<Session>> {
        fresh(self.cache.lookup_l1(key, &Directives::default(), now))
    }

    /// A session that is shown was active; that is written down if it was not a while ago.
    fn show(&self, Found { entry, tier, .. }: Found<Session>, now: Moment) -> Valid {
        if entry.value.deserves_touch(entry.age(now)) {
            self.touching.want(entry.value.hash);
        }
        Valid { entry, tier: Some(tier) }
    }

    /// Reads from the store, together with whoever asks at the same time. Goes on if the caller does not wait.
    async fn read(self: &Arc<Self>, hash: &TokenHash, key: &CacheKey) -> (Read<S::Error>, Part) {
        let ticket = self.begin(key);
        let (began, bound, joinable) = (ticket.began(), self.bound(), self.cache.joinable(&ticket));
        match self.reads.join(key, began, move |now| now.since(began) <= bound && joinable(now)) {
            Joined::Leader(leader) => {
                let (shared, hash) = (self.clone(), *hash);
                let reading = tokio::spawn(async move {
                    let read = shared.read_alone(&hash, ticket).await;
                    leader.end(read.clone());
                    read
                });
                (reading.await.unwrap_or(Err(SessionError::Abandoned)), Part::Leader)
            }
            Joined::Waiter(waiter) => match waiter.wait(self.settings.patience).await {
                Wait::Ended(read) => (read, Part::Waiter),
                Wait::Abandoned => (Err(SessionError::Abandoned), Part::Waiter),
                Wait::Impatient => (Err(SessionError::Timeout(self.settings.patience)), Part::Waiter),
            },
        }
    }

    async fn read_alone(&self, hash: &TokenHash, ticket: FillTicket) -> Read<S::Error> {
        let session = self.within(self.store.read(hash)).await?;
        let Some(session) = session else { return Ok(None) };
        let entry = self.keep(ticket, session);
        if entry.value.deserves_touch(entry.age(self.now())) {
            self.touching.want(entry.value.hash);
        }
        Ok(Some(entry))
    }

    /// See [`Sessions::revoke`](super::Sessions::revoke).
    pub(super) async fn revoke(&self, which: &Which) -> Result<u64, SessionError<S::Error>> {
        let revoked = self.within(self.store.revoke(which)).await?;
        let deleted = self.now();
        let tag = match (which, revoked.hash) {
            (_, Some(hash)) => Some(memory::tag(&hash)),
            (Which::AllOf { user, .. }, None) => Some(memory::tag_of_user(user)),
            // Whichever it was, it is not there.
            _ => None,
        };
        let mut over = deleted.plus(self.bound());
        if let Some(tag) = tag
            && self.cache.publish([tag], Kind::Change).await.is_ok()
        {
            over = over.max(self.now().plus(self.bound() / 2));
            // If nobody is told that it was announced it is announced again, which does no harm.
            drop(self.within(self.store.tell(&self.settings.namespace, &revoked.noted)).await);
        }
        // The clocks of nodes do not run alike to the microsecond.
        sleep(over.since(self.now()) + self.bound() / 64).await;
        Ok(revoked.count)
    }
}

async fn bounded<T, E>(patience: Duration, answer: impl Future<Output = Result<T, E>>) -> Result<T, SessionError<E>> {
    match timeout(patience, answer).await {
        Ok(answer) => answer.map_err(SessionError::Store),
        Err(_) => Err(SessionError::Timeout(patience)),
    }
}

/// Which part a caller had in a read.
enum Part {
    Leader,
    Waiter,
}

fn fresh(lookup: Lookup<Session>) -> Option<Found<Session>> {
    match lookup {
        Lookup::Found(found) if matches!(found.right, Right::Fresh { .. }) => Some(found),
        _ => None,
    }
}

pub(super) fn is_away<S: Store>(error: &SessionError<S::Error>) -> bool {
    match error {
        SessionError::Store(error) => S::is_away(error),
        SessionError::Timeout(_) => true,
        SessionError::Abandoned | SessionError::NoRandomness(_) => false,
    }
}
