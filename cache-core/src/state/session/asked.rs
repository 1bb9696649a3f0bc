//! About whom the store is asked, and what the tiers keep of the answer: sessions by their tokens, standings by their users.

use std::time::Duration;

use super::{
    Session, Store, TokenHash, memory,
    shared::{Read, Shared},
    standing::{Standing, User},
};
use crate::{cache::TwoTier, collapse::Collapse, entry::Value, key::CacheKey, tag::Tags};

/// What is asked of the store, and where the answer is kept.
pub(super) trait Asked<S: Store>: Clone + Send + Sync + 'static {
    /// the answer
    type Kept: Value;

    /// The key of the answer in its cache.
    fn key(&self) -> CacheKey;

    /// What the answer depends on.
    fn tags(&self, kept: &Self::Kept) -> Tags;

    /// Where answers are kept.
    fn cache(shared: &Shared<S>) -> &TwoTier<Self::Kept>;

    /// Questions to the store that are under way.
    fn reads(shared: &Shared<S>) -> &Collapse<Read<Self::Kept, S::Error>>;

    /// Asks the store.
    fn read(&self, store: &S) -> impl Future<Output = Result<Option<KeptBy<Self::Kept>>, S::Error>> + Send;

    /// An answer of this age is shown.
    fn shown(&self, shared: &Shared<S>, kept: &Self::Kept, age: Duration);
}

/// An answer, and how long it may be kept at most.
pub(super) struct KeptBy<V> {
    pub(super) kept: V,
    pub(super) left: Duration,
}

impl<S: Store> Asked<S> for TokenHash {
    type Kept = Session;

    fn key(&self) -> CacheKey {
        memory::key(self)
    }

    fn tags(&self, session: &Session) -> Tags {
        memory::tags(session)
    }

    fn cache(shared: &Shared<S>) -> &TwoTier<Session> {
        &shared.cache
    }

    fn reads(shared: &Shared<S>) -> &Collapse<Read<Session, S::Error>> {
        &shared.reads
    }

    async fn read(&self, store: &S) -> Result<Option<KeptBy<Session>>, S::Error> {
        let session = store.read(self).await?;
        Ok(session.map(|kept| KeptBy { left: kept.left, kept }))
    }

    /// A session that is shown was active; that is written down if it was not a while ago.
    fn shown(&self, shared: &Shared<S>, session: &Session, age: Duration) {
        if session.deserves_touch(age) {
            shared.touching.want(session.hash);
        }
    }
}

impl<S: Store> Asked<S> for User {
    type Kept = Standing;

    fn key(&self) -> CacheKey {
        User::key(self).clone()
    }

    fn tags(&self, _: &Standing) -> Tags {
        memory::tags_of_standing(self.hash())
    }

    fn cache(shared: &Shared<S>) -> &TwoTier<Standing> {
        &shared.standings
    }

    fn reads(shared: &Shared<S>) -> &Collapse<Read<Standing, S::Error>> {
        &shared.standing_reads
    }

    async fn read(&self, store: &S) -> Result<Option<KeptBy<Standing>>, S::Error> {
        // Also that nothing is held against somebody: it is asked for with each token.
        let kept = store.standing(self.name()).await?;
        Ok(Some(KeptBy { kept, left: Duration::MAX }))
    }

    fn shown(&self, _: &Shared<S>, _: &Standing, _: Duration) {}
}
