//! Filling: the right to store is taken before the origin is asked (C1), and used up by the store.

use std::{sync::Arc, time::Duration};

use super::TwoTier;
use crate::{
    clock::Moment,
    coherence::{Epoch, Filled, Proof, Stamp},
    dependence::Dependence,
    entry::{Entry, Lifetimes, Value},
    freshness::{self, Directives, Right, Verdict},
    key::CacheKey,
    lease::FillLease,
    sabotage::{self, Protection},
    tag::{Tag, Tags},
    template::{RegisterError, Template},
};

/// Registrations of a fill's templates at most: more than one only if a new epoch begins meanwhile.
const REGISTRATIONS_MAX: usize = 3;

/// The right to store what an origin read that begins now brings back. Taken before the read (C1), used up by the store.
#[derive(Debug)]
pub struct FillTicket {
    key: CacheKey,
    pub(super) stamp: Stamp,
    pub(super) began: Moment,
    /// the tags that the answer carries whatever it is, if it will tell the others itself
    certain: Option<Box<Tags>>,
    /// kept from the peers until the ticket is used or dropped
    pub(super) lease: Option<FillLease>,
}

impl FillTicket {
    /// When the fill began.
    #[must_use]
    pub fn began(&self) -> Moment {
        self.began
    }

    /// With these tags, for an answer that itself says what it depends on. Its place in the history was taken before the read
    /// all the same (C1), so an announcement of any of them since then counts.
    #[must_use]
    pub fn depending_on(mut self, tags: Tags) -> Self {
        self.stamp.tags = tags;
        self
    }

    /// With the certain tags of the [`Dependence`] and these, for an answer that told on what else it depends. As it was if
    /// it had no certain ones, or their templates could not be registered.
    #[must_use]
    pub fn narrowed(mut self, told: impl IntoIterator<Item = Tag>) -> Self {
        if let Some(certain) = self.certain.take() {
            self.stamp.tags = certain.iter().chain(told).collect();
        }
        self
    }

    /// The tags of which an announcement outdates the fill whatever the answer will be.
    pub(super) fn certain_tags(&self) -> &Tags {
        self.certain.as_deref().unwrap_or(&self.stamp.tags)
    }
}

/// Whether a store was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// in L1, and on its way to L2 if there is one
    Yes,
    /// larger than `entry_bytes_max`
    TooLarge,
    /// invalidated while it was filled: it would never be served
    Outdated,
}

impl<V: Value> TwoTier<V> {
    /// The right to store what is read from now on.
    #[must_use]
    pub fn begin(&self, key: CacheKey, tags: Tags) -> FillTicket {
        let began = self.clock.now();
        FillTicket { key, stamp: self.coherence.stamp(tags), began, certain: None, lease: None }
    }

    /// Makes sure that whoever announces knows these templates, and returns the epoch in which that holds: the one for
    /// [`begin_in`](Self::begin_in). Asks nobody if this node knows that they are registered.
    ///
    /// # Errors
    /// If there is no room for more templates, or Redis does not answer. The answer has to carry the tag of any row then.
    pub async fn register(&self, templates: &[Template]) -> Result<Epoch, RegisterError> {
        self.backplane.register(templates).await
    }

    /// As [`begin`](Self::begin), for an answer that carries tags of templates that were registered in this epoch. `None`
    /// if the epoch is another one by now: they are to be registered again.
    #[must_use]
    pub fn begin_in(&self, epoch: Epoch, key: CacheKey, tags: Tags) -> Option<FillTicket> {
        Some(self.begin(key, tags)).filter(|ticket| ticket.stamp.epoch == epoch.as_u64())
    }

    /// The right to store what is read from now on, with as exact a dependence as is to be had: the templates are registered
    /// first, and where that fails the entry carries the coarse tags.
    pub async fn begin_on(&self, key: &CacheKey, dependence: &Dependence) -> FillTicket {
        if dependence.templates().is_empty() {
            return self.begin(key.clone(), dependence.exact().clone());
        }
        for _ in 0..REGISTRATIONS_MAX {
            let Ok(epoch) = self.register(dependence.templates()).await else { break };
            if let Some(ticket) = self.begin_in(epoch, key.clone(), dependence.exact().clone()) {
                return FillTicket { certain: dependence.certain(), ..ticket };
            }
        }
        self.begin(key.clone(), dependence.coarse().clone())
    }

    /// A question that outlives the ticket: may a request that arrives at that moment be answered by this fill? By the
    /// same rule as by an entry that it stored (C3): a slow fill is no fresher than its beginning.
    pub fn joinable(&self, ticket: &FillTicket) -> impl Fn(Moment) -> bool + Send + Sync + 'static {
        let (coherence, stamp, began) = (self.coherence.clone(), ticket.stamp.clone(), ticket.began);
        move |now| matches!(coherence.judge(&stamp, Filled::Here(began), now), Proof::Leased | Proof::Young)
    }

    /// Makes an entry of what was read, and stores it if it is worth it. The store to L2 goes on in the background.
    pub fn store(&self, ticket: FillTicket, value: V, lifetimes: Lifetimes) -> (Arc<Entry<V>>, Stored) {
        let FillTicket { key, mut stamp, began, lease, .. } = ticket;
        if sabotage::is_off(Protection::Ticket) {
            stamp = self.coherence.stamp(stamp.tags);
        }
        let entry = Arc::new(Entry::filled_here(value, stamp, began, lifetimes));
        if entry.weight(&key) > self.limits.entry_bytes_max {
            // An older answer under the key must not outlive a newer one that cannot be stored.
            self.l1.remove(&key);
            return (entry, Stored::TooLarge);
        }
        if !self.coherence.is_current(&entry.stamp) {
            return (entry, Stored::Outdated);
        }
        self.l1.put(&key, entry.clone());
        if let Some(l2) = self.l2.as_ref().filter(|_| self.coherence.lease_held(self.clock.now())) {
            let (l2, entry) = (l2.clone(), entry.clone());
            self.stores.spawn(async move {
                match lease {
                    Some(lease) => lease.store(&entry).await,
                    None => l2.put(&key, &entry).await,
                }
            });
        }
        (entry, Stored::Yes)
    }

    /// How long a part of what was read under this ticket stays fresh, if it is: the part that carries these tags. By the same rule
    /// as an entry that the ticket would have stored with them. The templates of the tags must have been registered in the
    /// epoch of the ticket, see [`begin_in`](Self::begin_in).
    #[must_use]
    pub fn fresh_for(&self, ticket: &FillTicket, tags: &Tags, lifetimes: &Lifetimes, now: Moment) -> Option<Duration> {
        let FillTicket { stamp, began, .. } = ticket;
        let stamp = Stamp { tags: tags.clone(), ..*stamp };
        let proof = self.coherence.judge(&stamp, Filled::Here(*began), now);
        match freshness::judge(now.since(*began), lifetimes, proof, false, &Directives::default()) {
            Verdict::Serve(Right::Fresh { ttl }) => Some(ttl),
            Verdict::Serve(Right::Stale { .. }) | Verdict::Refuse { .. } => None,
        }
    }

    /// Makes an entry of that part, without storing it.
    #[must_use]
    pub fn share(&self, ticket: &FillTicket, tags: Tags, value: V, lifetimes: Lifetimes) -> Arc<Entry<V>> {
        let FillTicket { stamp, began, .. } = ticket;
        let stamp = Stamp { tags, ..*stamp };
        Arc::new(Entry::filled_here(value, stamp, *began, lifetimes))
    }

    /// Makes an entry of what was read without storing it.
    #[must_use]
    pub fn pass(&self, ticket: FillTicket, value: V) -> Arc<Entry<V>> {
        let lifetimes = Lifetimes::never_stale(Duration::ZERO);
        let FillTicket { stamp, began, .. } = ticket;
        Arc::new(Entry::filled_here(value, stamp, began, lifetimes))
    }
}
