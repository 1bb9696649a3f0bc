//! Sessions: who shows a token is a user, until the session expires or is revoked.
//!
//! ```text
//! validate ── L1, if it may ─────────────────────────────> the session
//!          ── else L2, if that may ──────────────────────> the session
//!          ── else the store ── there ── stored, shown ──> the session
//!                             ── not there ──────────────> unknown (never stored)
//!                             ── away ── stored, leased ─> the session; else an error
//! revoke   ── deleted in the store ── announced ── waited until no node may ──> revoked
//! watch    ── several times a bound: what ended, as the store tells ── invalidated here, announced, told
//! ```
//!
//! What is held against a user ([`Standing`]) is kept and judged in the same way, for tokens that were issued elsewhere: read
//! "it is not there" below as "it is held against the user".
//!
//! The truth is a [`Store`]; what is stored in the tiers is a copy that may be lost at any time.
//!
//! # Why no node accepts a session after its revocation returned
//!
//! Let `B` be `max_staleness`, and let the deletion be visible to whoever reads the store from the moment `c` on. A node takes a
//! session from a tier at the moment `t` only if nothing it heard speaks against it, and by one of three rights:
//!
//! 1. **Young**: this node itself began to read it from the store at most `B` ago. What was read before `c` is not young after
//!    `c + B`, and what is read after `c` is not there.
//! 2. **Heard**: this node read *what ended* from the store, by a question that it sent at most `B / 2` before `t`, and had
//!    invalidated all of it before that reading counts. A question that is sent after `c` is told of the deletion, so no reading
//!    that counts after `c + B / 2` misses it. An entry also has to be leased (see [`crate::coherence`]), or it came of the wrong
//!    history; and not be older than the last time at which this node had not read for so long that something may have been swept.
//! 3. **Leased, while the store is away** from this node: then it heard of all announcements up to a poll that it sent at most
//!    `B / 2` ago. A lease that does not know of an announcement made at `a` is over at `a + B / 2`.
//!
//! [`Sessions::revoke`] returns after `c + B` and, if Redis took the announcement, after `a + B / 2`. By then 1 and 2 have ended
//! on every node, whether anybody reached Redis or not, and so has 3, if Redis took the announcement.
//!
//! What remains is two faults at the same time: a node that revokes is cut from Redis, *and* another, which has Redis, is cut
//! from the store. The first notes the deletion in the store (in the same transaction), so any third node that has both
//! announces it within `B / 2`, and so does the first as soon as it can.
//!
//! Nothing revives a session: the end of one is moved by an UPDATE of a row that is there and has not expired, and what it brings
//! back is stored by a ticket that was taken before, so an announcement in between outdates it.

mod shared;
mod asked;
mod watch;
mod touch;
mod judge;
mod memory;
mod store;
mod standing;
mod token;

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use self::shared::{Known, Shared};
pub use self::{
    standing::{Change, Changed, Ends, Standing, Tokens, User},
    store::{Created, Gone, Mark, NewSession, News, Revoked, Session, Store, Which},
    token::{InvalidToken, NoRandomness, SessionToken, TokenHash},
    watch::NOTES_MAX,
};
use crate::{cache::TwoTier, coherence::Kind, entry::Entry, outcome::Tier, tag::Tag};

/// What holds for all sessions of a node.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// how long a copy is kept in the tiers
    pub cached_for: Duration,
    /// separates clusters that share one store
    pub namespace: String,
    /// one wait for the store
    pub patience: Duration,
    /// bytes of standings of users in L1
    pub standings_bytes_max: u64,
}

/// Sessions of users by token. Cheap to clone; ends with the last clone.
pub struct Sessions<S: Store> {
    inner: Arc<Inner<S>>,
}

struct Inner<S: Store> {
    shared: Arc<Shared<S>>,
    tasks: [JoinHandle<()>; 2],
}

/// A session that was found, and where.
#[derive(Debug, Clone)]
pub struct Valid {
    entry: Arc<Entry<Session>>,
    tier: Option<Tier>,
}

impl Valid {
    /// What is known of it.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.entry.value
    }

    /// The tier that said so; `None`: the store.
    #[must_use]
    pub fn tier(&self) -> Option<Tier> {
        self.tier
    }
}

impl From<Known<Session>> for Valid {
    fn from((entry, tier): Known<Session>) -> Self {
        Self { entry, tier }
    }
}

/// Why nobody knows whether a session is valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError<E> {
    /// the store did not say
    #[error(transparent)]
    Store(E),
    /// the store took too long
    #[error("the store did not answer within {0:?}")]
    Timeout(Duration),
    /// the question was lost, which is a fault of this program
    #[error("the question was abandoned")]
    Abandoned,
    /// no token can be made
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl<S: Store> Clone for Sessions<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<S: Store> Sessions<S> {
    /// Sessions that are kept there, with copies in this cache: one [beside](TwoTier::beside) another, of the kind `session`.
    /// To be called within a tokio runtime.
    #[must_use]
    pub fn new(store: S, cache: TwoTier<Session>, settings: SessionSettings) -> Self {
        let (shared, touches) = Shared::new(store, cache, settings);
        let shared = Arc::new(shared);
        let tasks = [tokio::spawn(watch::run(shared.clone())), tokio::spawn(touch::run(shared.clone(), touches))];
        Self { inner: Arc::new(Inner { shared, tasks }) }
    }

    /// A new session of a user. Of those that are one too many, the oldest leave at once, and are accepted nowhere after
    /// `max_staleness`.
    ///
    /// # Errors
    /// If the store does not take it; then it may be there all the same, and nobody has its token.
    pub async fn create(&self, new: NewSession) -> Result<(SessionToken, Arc<Session>), SessionError<S::Error>> {
        let token = SessionToken::random()?;
        let (shared, hash) = (self.shared(), token.hash());
        let ticket = shared.begin(&memory::key(&hash));
        let Created { session, evicted } = shared.within(shared.store.create(&hash, &new)).await?;
        if !evicted.is_empty() {
            // What comes of it is known to the watch: it is noted in the store.
            drop(shared.cache.publish(evicted.iter().map(memory::tag), Kind::Change).await);
        }
        Ok((token, Arc::new(shared.keep(ticket, session).value.clone())))
    }

    /// The session of a token; `None` if there is none, or not any more. An answer from L1 waits for nothing.
    ///
    /// # Errors
    /// If nobody knows. Never taken for "there is none".
    pub async fn validate(&self, hash: &TokenHash) -> Result<Option<Valid>, SessionError<S::Error>> {
        match self.validate_at_once(hash) {
            Some(valid) => Ok(Some(valid)),
            None => Ok(self.shared().below_l1(hash).await?.map(Valid::from)),
        }
    }

    /// The session of a token, if L1 has it and may say so.
    #[must_use]
    pub fn validate_at_once(&self, hash: &TokenHash) -> Option<Valid> {
        self.shared().in_l1(hash).map(Valid::from)
    }

    /// What is held against a user, and so against tokens that others issued to it. An answer from L1 waits for nothing. It is
    /// judged as a session is: once a [change](Self::change) has returned no node goes by what was before.
    ///
    /// # Errors
    /// If nobody knows. Never to be taken for "nothing".
    pub async fn standing(&self, user: &User) -> Result<Standing, SessionError<S::Error>> {
        match self.standing_at_once(user) {
            Some(standing) => Ok(standing),
            None => {
                let known = self.shared().below_l1(user).await?;
                Ok(known.map_or_else(Standing::default, |(entry, _)| entry.value))
            }
        }
    }

    /// The same, if L1 has it and may say so.
    #[must_use]
    pub fn standing_at_once(&self, user: &User) -> Option<Standing> {
        self.shared().in_l1(user).map(|(entry, _)| entry.value)
    }

    /// Ends sessions of a user and changes what is held against it, all or nothing. On return no node goes by what was before,
    /// as after [`revoke`](Self::revoke). `besides` are tags of what else stops to be true, in caches beside this one: these are
    /// heard by announcement alone, so not by peers that a node cannot reach which is cut from Redis.
    ///
    /// Goes on if the caller does not wait.
    ///
    /// # Errors
    /// If the store does not answer: then nobody knows, and it is to be repeated.
    pub async fn change(&self, change: Change, besides: Vec<Tag>) -> Result<Changed, SessionError<S::Error>> {
        let shared = self.shared().clone();
        let changing = tokio::spawn(async move { shared.change(&change, &besides).await });
        changing.await.unwrap_or(Err(SessionError::Abandoned))
    }

    /// Moves the end of a session to its idle time from now, at most to its last end. `None` if there is none.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn refresh(&self, hash: &TokenHash) -> Result<Option<Arc<Session>>, SessionError<S::Error>> {
        let shared = self.shared();
        let ticket = shared.begin(&memory::key(hash));
        let refreshed = shared.within(shared.store.refresh(hash)).await?;
        Ok(refreshed.map(|session| Arc::new(shared.keep(ticket, session).value.clone())))
    }

    /// Ends sessions. On return no node accepts them: see the argument at the head of this module. So it takes at least
    /// `max_staleness`, also if there was none to end, because who ended it may not have returned yet.
    ///
    /// Goes on if the caller does not wait.
    ///
    /// # Errors
    /// If the store does not answer: then nobody knows, and it is to be repeated.
    pub async fn revoke(&self, which: Which) -> Result<u64, SessionError<S::Error>> {
        let shared = self.shared().clone();
        let revoking = tokio::spawn(async move { shared.revoke(&which).await });
        revoking.await.unwrap_or(Err(SessionError::Abandoned))
    }

    /// The sessions of a user that have not expired, the last active first, by the store. Activity is known to a tenth of the
    /// idle time.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn list(&self, user: &str, most: u32) -> Result<Vec<Session>, SessionError<S::Error>> {
        let shared = self.shared();
        shared.within(shared.store.list(user, most)).await
    }

    fn shared(&self) -> &Arc<Shared<S>> {
        &self.inner.shared
    }
}

impl<S: Store> Drop for Inner<S> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
