//! The fill lease: at most one node of a cluster asks the origin for a key (C7).
//!
//! ```text
//! claim ── entry in L2 ──────────> it answers
//!       ── nothing ──────────────> granted: ask the origin, store, give back (one script, in this order)
//!       ── a peer has the lease ─> taken: come again in a moment, and claim again
//!       ── ..outdated by then ───> voided: granted over its head
//! ```
//!
//! A claim is a look into L2 and an attempt at the lease in one round trip, so a miss costs no more than before, and
//! whoever waits needs no message that could be lost. While nearly all claims meet an entry, a plain `GET` goes first: it
//! costs Redis a fraction of a script, and the few that find nothing claim after it. Claims that wait at the same time go
//! together, and so do stores.
//!
//! The lease says when its fill began (epoch and `as_of`, as in an entry): a node that knows of a later announcement of the
//! key's tags neither waits for that fill nor is held up by it. A holder that dies is survived by its lease for `fill_lease_for`.
//!
//! Nothing here is needed for coherence: a lease that is lost, or given twice, costs one more query.

mod scripts;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};
use fred::types::{Value as RedisValue, scripts::Script};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use self::scripts::{Claim, Claims, Store, Stores};
use crate::{
    codec,
    coherence::{Seq, Stamp},
    entry::{Entry, Value},
    error::RedisError,
    key::CacheKey,
    outcome::TierResult,
    redis::Gatherer,
    tag::Tags,
    tier::{L2, L2Answer},
};

/// The leases of a namespace, each under `transom:<namespace>:l:{<digest>}`.
pub(crate) struct Leases {
    l2: Arc<L2>,
    claims: Arc<Gatherer<Claims>>,
    stores: Arc<Gatherer<Stores>>,
    release: Script,
    lease_for: Duration,
    prevalence: Prevalence,
    /// fills of this node that wait for a peer's
    waiting: AtomicU32,
    /// leases on their way back
    tasks: TaskTracker,
}

/// What came of a claim.
pub(crate) enum Claimed<V> {
    /// there is an entry that was not refused before
    Entry(Entry<V>, Checksum),
    /// this node fills
    Granted {
        /// to be kept until the fill is over
        lease: FillLease,
        /// why what is in L2 does not answer
        l2: TierResult,
        /// whether a peer had it, whose fill is outdated
        over: Over,
    },
    /// a peer fills
    Taken(Holder),
}

/// Whether a lease was granted over the head of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Nobody,
    OutdatedPeer,
}

/// Names one stored entry.
pub(crate) type Checksum = [u8; 8];

/// Who has a lease, and since when in the history of announcements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder(Bytes);

impl Holder {
    /// By what the holder's fill is judged: it is worth waiting for as long as its entry would be coherent.
    pub(crate) fn stamp(&self, tags: &Tags) -> Stamp {
        let mut text = self.0.clone();
        let (epoch, as_of) = (text.try_get_u64_le().unwrap_or_default(), text.try_get_u64_le().unwrap_or_default());
        Stamp::from_parts(epoch, Seq(as_of), tags.clone())
    }
}

impl Leases {
    pub(crate) fn new(l2: Arc<L2>, lease_for: Duration, tasks: TaskTracker) -> Self {
        Self {
            claims: l2.gatherer(Claims::new(l2.head(), lease_for)),
            stores: l2.gatherer(Stores::default()),
            l2,
            release: Script::from_lua(include_str!("lease/release.lua")),
            lease_for,
            prevalence: Prevalence::default(),
            waiting: AtomicU32::new(0),
            tasks,
        }
    }

    /// How many fills of this node wait for a peer's.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// Counts a fill among those that wait, until this is dropped.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(self.clone())
    }

    /// How long a lease lasts; so long does anybody wait for one.
    pub(crate) fn lease_for(&self) -> Duration {
        self.lease_for
    }

    /// Looks into L2, and takes the lease if there is no entry worth reading. `newest` is the last announcement of
    /// one of the key's tags as far as this node knows; `refused` an entry that it need not be shown again.
    ///
    /// # Errors
    /// If Redis does not answer; the breaker knows by then.
    pub(crate) async fn claim<V: Value>(
        self: &Arc<Self>,
        key: &CacheKey,
        stamp: &Stamp,
        newest: Seq,
        refused: Option<Checksum>,
    ) -> Result<Claimed<V>, RedisError> {
        if refused.is_none()
            && self.prevalence.is_high()
            && let Some(found) = self.get(key).await?
        {
            self.prevalence.met();
            return Ok(found);
        }
        let claimed = self.claim_by_script(key, stamp, newest, refused).await?;
        match claimed {
            Claimed::Entry(..) => self.prevalence.met(),
            Claimed::Granted { .. } | Claimed::Taken(_) => self.prevalence.missed(),
        }
        Ok(claimed)
    }

    /// What is stored, whatever it is worth by now: who refuses it claims, and says so.
    async fn get<V: Value>(&self, key: &CacheKey) -> Result<Option<Claimed<V>>, RedisError> {
        let stored = self.l2.stored(key).await?.filter(|bytes| bytes.starts_with(&self.l2.head()));
        Ok(stored.and_then(|bytes| match (codec::checksum(&bytes), self.l2.read(key, bytes)) {
            (Some(checksum), L2Answer::Found(entry)) => Some(Claimed::Entry(entry, checksum)),
            _ => None,
        }))
    }

    async fn claim_by_script<V: Value>(
        self: &Arc<Self>,
        key: &CacheKey,
        stamp: &Stamp,
        newest: Seq,
        refused: Option<Checksum>,
    ) -> Result<Claimed<V>, RedisError> {
        let written = lease_text(stamp);
        let names = self.l2.names(key);
        let claim = Claim { names, epoch: stamp.epoch, newest, refused, written: written.clone() };
        let (word, what) = self.claims.ask(claim).await?;
        let granted = |over| {
            let lease = FillLease { leases: self.clone(), key: key.clone(), written, held: Held::Yes };
            let l2 = match &*what {
                b"outdated" => TierResult::Incoherent,
                b"absent" => TierResult::Absent,
                begin => {
                    self.l2.met(begin);
                    TierResult::Absent
                }
            };
            Claimed::Granted { lease, l2, over }
        };
        match &*word {
            b"granted" => Ok(granted(Over::Nobody)),
            b"voided" => Ok(granted(Over::OutdatedPeer)),
            b"taken" => Ok(Claimed::Taken(Holder(what))),
            b"entry" => match (codec::checksum(&what), self.l2.read(key, what)) {
                (Some(checksum), L2Answer::Found(entry)) => Ok(Claimed::Entry(entry, checksum)),
                // To be filled like any other: its key is not on the ring, or it was damaged.
                (Some(checksum), _) if refused != Some(checksum) => {
                    Ok(match Box::pin(self.claim_by_script(key, stamp, newest, Some(checksum))).await? {
                        Claimed::Granted { lease, over, .. } => {
                            Claimed::Granted { lease, l2: TierResult::Absent, over }
                        }
                        other => other,
                    })
                }
                _ => Err(RedisError::Protocol("an entry that cannot be read".to_owned())),
            },
            _ => Err(RedisError::Protocol(format!("the claim {word:?}"))),
        }
    }
}

/// How many of the last claims met an entry.
#[derive(Default)]
struct Prevalence(AtomicU32);

impl Prevalence {
    const ALL: u32 = 1 << 16;

    fn met(&self) {
        self.move_towards(Self::ALL);
    }

    fn missed(&self) {
        self.move_towards(0);
    }

    /// A mean that forgets, by a sixteenth with each claim. Two at once may count as one.
    fn move_towards(&self, end: u32) {
        let before = self.0.load(Relaxed);
        self.0.store(before - before / 16 + end / 16, Relaxed);
    }

    /// Whether three of four did.
    fn is_high(&self) -> bool {
        self.0.load(Relaxed) > Self::ALL / 4 * 3
    }
}

/// A fill that waits for a peer's.
pub(crate) struct Waiting(Arc<Leases>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// The duty to fill for the whole cluster. Given back with the store, or by dropping it.
pub(crate) struct FillLease {
    leases: Arc<Leases>,
    key: CacheKey,
    /// as it stands in Redis
    written: Bytes,
    held: Held,
}

#[derive(PartialEq, Eq)]
enum Held {
    Yes,
    /// given back, or left to its expiry
    No,
}

impl FillLease {
    /// Stores the entry in L2 and gives the lease back, in this order. Failure is the breaker's business, and the lease
    /// expires.
    pub(crate) async fn store<V: Value>(mut self, entry: &Entry<V>) {
        self.held = Held::No;
        let l2 = &self.leases.l2;
        let (bytes, keep_ms) = l2.written(&self.key, entry);
        let store = Store { names: l2.names(&self.key), entry: bytes, keep_ms, written: self.written.clone() };
        drop(self.leases.stores.ask(store).await);
    }
}

impl Drop for FillLease {
    /// The fill ended without an entry for the peers: they need not wait until the lease expires.
    fn drop(&mut self) {
        if self.held == Held::No || Handle::try_current().is_err() {
            return;
        }
        let (leases, name, written) = (self.leases.clone(), self.leases.l2.lease_name(&self.key), self.written.clone());
        self.leases.tasks.spawn(async move {
            drop(leases.l2.run::<u64>(&leases.release, vec![name], vec![RedisValue::Bytes(written)]).await);
        });
    }
}

impl std::fmt::Debug for FillLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FillLease({:?})", self.key)
    }
}

/// What stands in Redis: when the fill began, and whose it is. A name is used once, so that no late answer of a fill that
/// lost its lease takes away that of another.
fn lease_text(stamp: &Stamp) -> Bytes {
    let mut text = Vec::with_capacity(32);
    text.put_u64_le(stamp.epoch);
    text.put_u64_le(stamp.as_of.0);
    text.put_u128_le(rand::random());
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Tag;

    #[test]
    fn a_holder_is_judged_by_what_it_wrote() {
        let tags = Tags::from_iter([Tag::named("a")]);
        let stamp = Stamp::from_parts(3, Seq(9), tags.clone());
        assert_eq!(Holder(lease_text(&stamp)).stamp(&tags), stamp);
        assert_ne!(lease_text(&stamp), lease_text(&stamp), "no two leases have the same owner");
    }

    #[test]
    fn entries_prevail_when_nearly_all_claims_meet_one() {
        let prevalence = Prevalence::default();
        let after = |times, claim: fn(&Prevalence)| {
            (0..times).for_each(|_| claim(&prevalence));
            prevalence.is_high()
        };
        assert!(!after(16, Prevalence::met), "a few say little");
        assert!(after(64, Prevalence::met));
        assert!(after(2, Prevalence::missed));
        assert!(!after(16, Prevalence::missed));
        let by_turns = (0..1_000).filter(|_| after(1, Prevalence::met) || after(1, Prevalence::missed)).count();
        assert_eq!(by_turns, 0);
    }

    #[test]
    fn a_lease_that_is_none_is_outdated() {
        let nonsense = Holder(Bytes::from_static(b"short")).stamp(&Tags::default());
        assert_eq!((nonsense.epoch, nonsense.as_of), (0, Seq(0)));
    }
}
