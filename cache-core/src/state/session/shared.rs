//! What callers and tasks share: the way of a question down the tiers, and of a revocation to the peers.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

use super::{
    Session, SessionError, SessionSettings, Store, TokenHash, Which,
    asked::{Asked, KeptBy},
    judge::{Judge, Store as StoreSeen},
    memory,
    standing::{Change, Changed, Ends, Standing, User},
    touch::Touching,
};
use crate::{
    cache::{FillTicket, Found, Lookup, TwoTier},
    clock::Moment,
    coherence::{Kind, Proof},
    collapse::{Collapse, Joined, Wait},
    entry::{Entry, Lifetimes, Value},
    freshness::{Directives, Right},
    key::CacheKey,
    outcome::Tier,
    tag::{Tag, Tags},
};

/// What the store says of whom it was asked about.
pub(super) type Read<V, E> = Result<Option<Arc<Entry<V>>>, SessionError<E>>;

/// What is known, and the tier that said so; `None`: the store.
pub(super) type Known<V> = (Arc<Entry<V>>, Option<Tier>);

pub(super) struct Shared<S: Store> {
    pub(super) store: S,
    pub(super) cache: TwoTier<Session>,
    pub(super) judge: Judge,
    /// somebody needs what the watch reads
    pub(super) wanted: Notify,
    pub(super) touching: Touching,
    pub(super) settings: SessionSettings,
    pub(super) reads: Collapse<Read<Session, S::Error>>,
    pub(super) standings: TwoTier<Standing>,
    pub(super) standing_reads: Collapse<Read<Standing, S::Error>>,
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
        let standings = cache.beside("standing", settings.standings_bytes_max);
        let (wanted, reads, standing_reads) = (Notify::new(), Collapse::new(bound), Collapse::new(bound));
        (Self { store, cache, judge, wanted, touching, settings, reads, standings, standing_reads }, touches)
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
        let (hash, left) = (session.hash, session.left);
        let tags = Asked::<S>::tags(&hash, &session);
        self.keep_in(&self.cache, ticket.depending_on(tags), session, left)
    }

    fn keep_in<V: Value>(&self, cache: &TwoTier<V>, ticket: FillTicket, kept: V, left: Duration) -> Arc<Entry<V>> {
        let lifetimes = Lifetimes::never_stale(self.settings.cached_for.min(left));
        cache.store(ticket, kept, lifetimes).0
    }

    /// What L1 has, if it may be shown.
    pub(super) fn in_l1<A: Asked<S>>(&self, asked: &A) -> Option<Known<A::Kept>> {
        let now = self.now();
        if self.judge.want(now) {
            self.wanted.notify_one();
        }
        let found = self.fresh_in_l1(asked, now)?;
        (self.judge.is_young(found.entry.began, found.entry.filled(), now)
            || self.judge.has_heard(found.entry.began, now))
        .then(|| self.show(asked, found, now))
    }

    /// What there is to know, by L2, the store, or what there is while the store is away.
    pub(super) async fn below_l1<A: Asked<S>>(
        self: &Arc<Self>,
        asked: &A,
    ) -> Result<Option<Known<A::Kept>>, SessionError<S::Error>> {
        if self.judge.store(self.now()) == StoreSeen::Away
            && let Some(known) = self.without_store(asked).await
        {
            return Ok(Some(known));
        }
        if let Some(known) = self.in_l2(asked).await {
            return Ok(Some(known));
        }
        let mut read = self.read(asked).await;
        if matches!(read, (Ok(None), Part::Waiter)) {
            // The question that it joined may have been asked before there was a session.
            read.0 = self.read_alone(asked, self.begin(&asked.key())).await;
        }
        match read.0 {
            Ok(entry) => Ok(entry.map(|entry| (entry, None))),
            Err(error) if is_away::<S>(&error) => self.without_store(asked).await.map(Some).ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn in_l2<A: Asked<S>>(&self, asked: &A) -> Option<Known<A::Kept>> {
        if !self.judge.has_heard(self.now(), self.now()) {
            return None;
        }
        let found = fresh(A::cache(self).lookup_l2(&asked.key(), &Directives::default(), self.now()).await?)?;
        let now = self.now();
        self.judge.has_heard(found.entry.began, now).then(|| self.show(asked, found, now))
    }

    /// What may be shown while the store is away: what this node can prove to be coherent by what it heard of its peers.
    async fn without_store<A: Asked<S>>(&self, asked: &A) -> Option<Known<A::Kept>> {
        // Without peers, announcements prove nothing: whoever else changes the store is heard by the store alone.
        self.cache.l2_available()?;
        let found = match self.fresh_in_l1(asked, self.now()) {
            Some(found) => Some(found),
            None => fresh(A::cache(self).lookup_l2(&asked.key(), &Directives::default(), self.now()).await?),
        }?;
        let now = self.now();
        let proof = self.cache.coherence().judge(&found.entry.stamp, found.entry.filled(), now);
        (proof == Proof::Leased && self.judge.is_unswept(found.entry.began)).then(|| self.show(asked, found, now))
    }

    fn fresh_in_l1<A: Asked<S>>(&self, asked: &A, now: Moment) -> Option<Found<A::Kept>> {
        fresh(A::cache(self).lookup_l1(&asked.key(), &Directives::default(), now))
    }

    fn show<A: Asked<S>>(&self, asked: &A, Found { entry, tier, .. }: Found<A::Kept>, now: Moment) -> Known<A::Kept> {
        asked.shown(self, &entry.value, entry.age(now));
        (entry, Some(tier))
    }

    /// Reads from the store, together with whoever asks at the same time. Goes on if the caller does not wait.
    async fn read<A: Asked<S>>(self: &Arc<Self>, asked: &A) -> (Read<A::Kept, S::Error>, Part) {
        let key = asked.key();
        let ticket = self.begin(&key);
        let (began, bound, joinable) = (ticket.began(), self.bound(), self.cache.joinable(&ticket));
        match A::reads(self).join(&key, began, move |now| now.since(began) <= bound && joinable(now)) {
            Joined::Leader(leader) => {
                let (shared, asked) = (self.clone(), asked.clone());
                let reading = tokio::spawn(async move {
                    let read = shared.read_alone(&asked, ticket).await;
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

    async fn read_alone<A: Asked<S>>(&self, asked: &A, ticket: FillTicket) -> Read<A::Kept, S::Error> {
        let Some(KeptBy { kept, left }) = self.within(asked.read(&self.store)).await? else { return Ok(None) };
        let ticket = ticket.depending_on(asked.tags(&kept));
        let entry = self.keep_in(A::cache(self), ticket, kept, left);
        asked.shown(self, &entry.value, entry.age(self.now()));
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
        self.settle(deleted, tag, &revoked.noted).await;
        Ok(revoked.count)
    }

    /// See [`Sessions::change`](super::Sessions::change).
    pub(super) async fn change(&self, change: &Change, besides: &[Tag]) -> Result<Changed, SessionError<S::Error>> {
        let mut changed = self.within(self.store.change(change)).await?;
        let done = self.now();
        let ended = match &change.ends {
            Ends::Nothing => None,
            Ends::One(hash) => Some(memory::tag(hash)),
            Ends::AllBut(_) => Some(memory::tag_of_user(&change.user)),
        };
        let tags = ended.into_iter().chain([User::new(change.user.clone()).tag()]).chain(besides.iter().copied());
        changed.announced = self.settle(done, tags, &changed.noted).await;
        Ok(changed)
    }

    /// Announces what the store did, and waits until no node goes by what was before: see the argument at the head of
    /// [`session`](super). Says whether the peers were told.
    async fn settle(&self, done: Moment, tags: impl IntoIterator<Item = Tag>, noted: &[i64]) -> bool {
        let mut tags = tags.into_iter().peekable();
        let mut over = done.plus(self.bound());
        let announced = tags.peek().is_some() && self.cache.publish(tags, Kind::Change).await.is_ok();
        if announced {
            over = over.max(self.now().plus(self.bound() / 2));
            // If nobody is told that it was announced it is announced again, which does no harm.
            drop(self.within(self.store.tell(&self.settings.namespace, noted)).await);
        }
        // The clocks of nodes do not run alike to the microsecond.
        sleep(over.since(self.now()) + self.bound() / 64).await;
        announced
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

fn fresh<V>(lookup: Lookup<V>) -> Option<Found<V>> {
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
