//! The heart: is what is stored still true, and can this node prove it?
//!
//! An entry is **coherent** iff it was filled in the current epoch and none of its tags was announced since, which every slot
//! of the tag would show.
//! A node can **prove** that it heard every announcement only while its lease of freshness holds. Both together make an
//! entry fresh; without the proof only what this node itself filled within `max_staleness` counts (C3, C4).
//!
//! No IO happens here and time is an argument, so that the simulator in `tests/` runs exactly this code.

mod announcement;
mod echo;
mod feed;
mod follower;
mod table;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

pub use self::{
    announcement::{Announcement, Epoch, InvalidToken, Kind, Position, Seq, Snapshot, Token, Trusted, WriteId},
    echo::{Echo, Heard},
    feed::{Break, SentAt, Settled, Stream, Vouched},
    follower::Follower,
};
use self::{echo::Echoes, table::Table};
use crate::{
    clock::Moment,
    sabotage::{self, Protection},
    tag::{SlotCount, Slots, Tags},
};

/// What makes an entry judgeable: when its origin read began, counted in announcements, and what it depends on.
/// The same in L1 and L2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// the epoch of the fill; 0 if the node was between two epochs, which no entry survives
    pub(crate) epoch: u64,
    /// the watermark of the filling node **before** the origin read began
    pub(crate) as_of: Seq,
    /// what the entry depends on
    pub(crate) tags: Tags,
}

impl Stamp {
    /// A stamp as it was stored in L2.
    pub(crate) fn from_parts(epoch: u64, as_of: Seq, tags: Tags) -> Self {
        Self { epoch, as_of, tags }
    }
}

/// Who filled an entry, and so how its age can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// This node began the fill at this moment of its own monotonic clock.
    Here(Moment),
    /// A peer did: the entry came by L2 and its age is hearsay.
    ByPeer,
}

/// What can be said of an entry's coherence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// coherent, and the lease holds
    Leased,
    /// coherent as far as this node heard, and filled here at most `max_staleness` ago
    Young,
    /// coherent as far as this node heard, which may not be far enough
    Unproven,
    /// announced since, or of another epoch
    Incoherent,
}

/// How an announcement met the state of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// it was the next one
    InOrder,
    /// it was known already
    Repeated,
    /// at least one before it is missing
    Gap,
    /// it belongs to another epoch
    OtherEpoch,
}

/// Whether this node has applied everything up to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// it has
    Yes,
    /// it has not yet
    NotYet,
    /// the token belongs to another epoch, so nothing can be said
    OtherEpoch,
}

/// The coherence state of one node.
///
/// [`judge`](Self::judge) and [`stamp`](Self::stamp) take no lock. Everything that changes the state takes one, so that
/// changes are serial; readers are kept right by the order of the stores (see [`adopt`](Self::adopt)).
pub struct Coherence {
    table: Table,
    /// 0 while a new epoch moves in
    epoch: AtomicU64,
    watermark: AtomicU64,
    lease_until: AtomicU64,
    /// what was filled before this moment and became incoherent must not be served, not even stale
    purged_at: AtomicU64,
    max_staleness: Duration,
    /// serializes changes
    control: Mutex<Control>,
    progress: Notify,
    echoes: Echoes,
}

#[derive(Default)]
struct Control {
    /// the last hard purge that this node knows of
    purged: Seq,
    /// an announcement of this node's own, made in an epoch that it has not adopted yet
    stray: Option<Announcement>,
    /// when the lease was revoked last
    revoked: Option<Moment>,
}

impl Coherence {
    /// The state of a node that has heard nothing yet: a private epoch and no lease, so that until the first resync only
    /// its own fills count, and only for `max_staleness`.
    #[must_use]
    pub fn new(slots: SlotCount, max_staleness: Duration) -> Self {
        Self {
            table: Table::new(slots),
            epoch: AtomicU64::new(Epoch::random().as_u64()),
            watermark: AtomicU64::new(0),
            lease_until: AtomicU64::new(0),
            purged_at: AtomicU64::new(0),
            max_staleness,
            control: Mutex::default(),
            progress: Notify::new(),
            echoes: Echoes::default(),
        }
    }

    /// A stamp for a fill that begins now: to be taken **before** the origin is asked (C1).
    #[must_use]
    pub fn stamp(&self, tags: Tags) -> Stamp {
        // The epoch first: under a new epoch the old watermark cannot be seen any more.
        let epoch = self.epoch.load(Acquire);
        Stamp { epoch, as_of: Seq(self.watermark.load(Acquire)), tags }
    }

    /// The freshness rule (C3).
    #[must_use]
    pub fn judge(&self, stamp: &Stamp, filled: Filled, now: Moment) -> Proof {
        // The lease before the table. A lease seen as held was granted after the table had caught up, so the table read
        // below has too. The other way round, both could change in between and an old table would meet a new lease.
        let leased = self.lease_held(now);
        if !self.is_current(stamp) {
            return Proof::Incoherent;
        }
        match filled {
            // What this node could not announce is raised just above its own watermark (see `apply_unannounced`), and
            // the stamp of a peer that was ahead would pass over it. The watermark catches up in a moment.
            Filled::ByPeer if stamp.as_of > self.watermark() => Proof::Unproven,
            _ if leased => Proof::Leased,
            Filled::Here(began) if now.since(began) <= self.max_staleness => Proof::Young,
            Filled::Here(_) | Filled::ByPeer => Proof::Unproven,
        }
    }

    /// Whether nothing this node heard speaks against the stamp.
    #[must_use]
    pub fn is_current(&self, stamp: &Stamp) -> bool {
        // The epoch on both sides of the table: see `adopt`.
        self.epoch.load(Acquire) == stamp.epoch
            && self.table.unannounced_since(&stamp.tags, stamp.as_of)
            && self.epoch.load(Acquire) == stamp.epoch
    }

    /// The last announcement of one of these tags, as far as this node heard in its present epoch; or a later one, if
    /// others touched all slots of a tag. What was filled before it is not coherent.
    #[must_use]
    pub fn newest(&self, tags: &Tags) -> Seq {
        self.table.newest(tags)
    }

    /// Whether the lease of freshness holds.
    #[must_use]
    pub fn lease_held(&self, now: Moment) -> bool {
        now.as_nanos() < self.lease_until.load(Acquire) || sabotage::is_off(Protection::Lease)
    }

    /// The last announcement applied in order.
    #[must_use]
    pub fn watermark(&self) -> Seq {
        Seq(self.watermark.load(Acquire))
    }

    /// The epoch of this node; `None` while a new one moves in.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        Epoch::from_u64(self.epoch.load(Acquire))
    }

    /// The bound on staleness while coherence cannot be proven.
    #[must_use]
    pub fn max_staleness(&self) -> Duration {
        self.max_staleness
    }

    /// Whether an incoherent entry of this age was swept by a hard purge: then it must not be served stale either.
    #[must_use]
    pub fn was_purged(&self, began: Moment) -> bool {
        began.as_nanos() <= self.purged_at.load(Acquire)
    }

    /// Whether the watermark has reached a token.
    #[must_use]
    pub fn reached(&self, token: Token) -> Reached {
        // The epoch first, as in `stamp`; and again, because the watermark may be that of the next epoch.
        let epoch = self.epoch.load(Acquire);
        let watermark = self.watermark.load(Acquire);
        if epoch != token.epoch.as_u64() || self.epoch.load(Acquire) != epoch {
            Reached::OtherEpoch
        } else if watermark >= token.seq.0 {
            Reached::Yes
        } else {
            Reached::NotYet
        }
    }

    /// Waits until the watermark has reached the token, the epoch changes, or `patience` is over. Cancel safe.
    pub async fn wait_for(&self, token: Token, patience: Duration) -> Reached {
        let waiting = async {
            loop {
                // Registered before the check, so that progress between the two is not missed.
                let mut progress = std::pin::pin!(self.progress.notified());
                progress.as_mut().enable();
                match self.reached(token) {
                    Reached::NotYet => progress.await,
                    reached => return reached,
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.unwrap_or(Reached::NotYet)
    }

    /// Listens from now on for the announcement that covers this write.
    #[must_use]
    pub fn expect(self: &Arc<Self>, write: WriteId) -> Echo {
        Echo::listen(write, self.clone())
    }

    /// Applies one announcement as it arrived. Slots are raised even out of order, which is always safe; the watermark
    /// moves only in order.
    pub fn apply(&self, announcement: &Announcement, now: Moment) -> Applied {
        let applied = self.apply_in_order(announcement, now);
        self.echoes.heard(announcement);
        applied
    }

    fn apply_in_order(&self, announcement: &Announcement, now: Moment) -> Applied {
        let mut control = self.control.lock();
        if self.epoch.load(Acquire) != announcement.epoch.as_u64() {
            return Applied::OtherEpoch;
        }
        let watermark = self.watermark.load(Acquire);
        if announcement.seq.0 <= watermark {
            return Applied::Repeated;
        }
        self.raise(announcement, &mut control.purged, now);
        if announcement.seq.0 > watermark + 1 {
            return Applied::Gap;
        }
        self.advance(announcement.seq);
        Applied::InOrder
    }

    /// Raises the slots of an announcement that this node made itself, before it comes back: who wrote here reads here.
    /// Of another epoch, it says that this node lives in the past: nothing it has is coherent until it resyncs. The
    /// snapshot that brings the new epoch may have been taken before the announcement, so that is kept until then.
    pub fn apply_own(&self, announcement: &Announcement, now: Moment) -> Applied {
        let applied = self.apply_before_it_comes_back(announcement, now);
        self.echoes.heard(announcement);
        applied
    }

    fn apply_before_it_comes_back(&self, announcement: &Announcement, now: Moment) -> Applied {
        let mut control = self.control.lock();
        if self.epoch.load(Acquire) != announcement.epoch.as_u64() {
            self.depart();
            control.keep_stray(announcement);
            return Applied::OtherEpoch;
        }
        self.raise(announcement, &mut control.purged, now);
        Applied::InOrder
    }

    /// Invalidates on this node alone what could not be announced: no present entry survives, and none filled before
    /// the watermark moves on either.
    pub fn apply_unannounced(&self, slots: &Slots, kind: Kind, now: Moment) {
        let _control = self.control.lock();
        self.table.raise(slots, Seq(self.watermark.load(Acquire) + 1));
        if kind == Kind::Purge {
            self.purged_at.fetch_max(now.as_nanos(), Release);
        }
    }

    /// Takes over a snapshot: merged into the same epoch, or instead of another one.
    ///
    /// A new epoch moves in as `epoch := 0`, table, watermark, `epoch := new`. A reader that saw any slot of the new
    /// table reads 0 or the new epoch afterwards, and a reader that read the new epoch first sees the whole new table:
    /// so checking the epoch on both sides of the table is enough.
    pub fn adopt(&self, snapshot: &Snapshot, now: Moment) {
        let control = &mut *self.control.lock();
        let purged = &mut control.purged;
        let Position { epoch, seq, purged: last_purge, .. } = snapshot.position;
        if self.epoch.load(Acquire) == epoch.as_u64() {
            if !sabotage::is_off(Protection::Resync) {
                self.table.merge(&snapshot.table);
            }
            if last_purge > *purged {
                self.purged_at.fetch_max(now.as_nanos(), Release);
            }
            *purged = last_purge.max(*purged);
            self.advance(seq.max(Seq(self.watermark.load(Acquire))));
        } else {
            self.lease_until.store(0, Release);
            self.epoch.store(0, Release);
            self.table.replace(&snapshot.table);
            if last_purge > Seq(0) {
                self.purged_at.fetch_max(now.as_nanos(), Release);
            }
            *purged = last_purge;
            if let Some(stray) = control.stray.take_if(|stray| stray.epoch == epoch) {
                self.raise(&stray, purged, now);
            }
            self.advance(seq);
            self.epoch.store(epoch.as_u64(), Release);
        }
    }

    /// Extends the lease, if the epoch is still the one for which it was earned, and it was not revoked since it was asked
    /// for. Says whether that is so.
    pub fn grant(&self, epoch: Epoch, asked_at: Moment, until: Moment) -> bool {
        let control = self.control.lock();
        let is_earned =
            self.epoch.load(Acquire) == epoch.as_u64() && control.revoked.is_none_or(|revoked| asked_at > revoked);
        if is_earned {
            self.lease_until.fetch_max(until.as_nanos(), Release);
        }
        is_earned
    }

    /// Ends the lease, and with it whatever was asked for until now.
    pub fn revoke(&self, now: Moment) {
        let mut control = self.control.lock();
        control.revoked = control.revoked.max(Some(now));
        self.lease_until.store(0, Release);
    }

    /// How many slots the table has.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.table.len()
    }

    /// Leaves the epoch for a private one. To be called under the lock.
    fn depart(&self) {
        self.lease_until.store(0, Release);
        self.epoch.store(Epoch::random().as_u64(), Release);
        self.progress.notify_waiters();
    }

    fn raise(&self, announcement: &Announcement, purged: &mut Seq, now: Moment) {
        self.table.raise(&announcement.slots, announcement.seq);
        if announcement.kind == Kind::Purge && announcement.seq > *purged {
            *purged = announcement.seq;
            self.purged_at.fetch_max(now.as_nanos(), Release);
        }
    }

    fn advance(&self, seq: Seq) {
        self.watermark.store(seq.0, Release);
        self.progress.notify_waiters();
    }
}

impl Control {
    /// One is enough: announcements of the same epoch add up, and only the last epoch counts.
    fn keep_stray(&mut self, announcement: &Announcement) {
        self.stray = Some(match self.stray.take().filter(|stray| stray.epoch == announcement.epoch) {
            None => announcement.clone(),
            Some(before) => Announcement {
                epoch: before.epoch,
                seq: before.seq.max(announcement.seq),
                kind: if before.kind == Kind::Purge { Kind::Purge } else { announcement.kind },
                slots: before.slots.union(&announcement.slots),
                writes: SmallVec::new(),
            },
        });
    }
}
