//! How a node follows the history of announcements: what each message, poll and snapshot means, and what to ask next.
//!
//! The backplane does the talking and the simulator plays it; the decisions are made here, once.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{Announcement, Applied, Coherence, Epoch, Position, Seq, Snapshot, Trusted};
use crate::{
    clock::Moment,
    outcome::{LapseReason, ResyncReason},
};

/// Claims kept at most. Each lives for one poll interval or so; an older one only means an older lease.
const CLAIMS_MAX: usize = 8;

/// The protocol state of one node; owned by the one task that drives it.
pub struct Follower {
    coherence: Arc<Coherence>,
    claims: VecDeque<Claim>,
    wanted: Option<ResyncReason>,
    /// until when the lease was granted, unless its end was told already
    granted_until: Option<Moment>,
    /// why the last poll granted none, if it did not
    withheld: Option<LapseReason>,
}

/// "Once everything up to `seq` is applied, the lease runs from `sent_at`."
#[derive(Debug, Clone, Copy)]
struct Claim {
    epoch: Epoch,
    seq: Seq,
    sent_at: Moment,
}

impl Follower {
    /// A follower that wants its first snapshot.
    #[must_use]
    pub fn new(coherence: Arc<Coherence>) -> Self {
        Self {
            coherence,
            claims: VecDeque::new(),
            wanted: Some(ResyncReason::Start),
            granted_until: None,
            withheld: None,
        }
    }

    /// How often to poll: every eighth of `max_staleness`, so that several polls may fail before the lease lapses.
    #[must_use]
    pub fn poll_interval(&self) -> Duration {
        self.coherence.max_staleness() / 8
    }

    /// Why a snapshot is needed, if one is.
    #[must_use]
    pub fn wants_snapshot(&self) -> Option<ResyncReason> {
        self.wanted
    }

    /// To be called when a snapshot is asked for: what happens from now on may need another one.
    pub fn snapshot_asked(&mut self) -> Option<ResyncReason> {
        self.wanted.take()
    }

    /// A snapshot is needed for a reason that only the driver sees (a new subscription, messages dropped on the way,
    /// a snapshot that failed).
    pub fn want_snapshot(&mut self, reason: ResyncReason) {
        self.wanted.get_or_insert(reason);
    }

    /// An announcement arrived.
    pub fn on_announcement(&mut self, announcement: &Announcement, now: Moment) {
        match self.coherence.apply(announcement, now) {
            Applied::InOrder => self.settle(),
            Applied::Repeated => {}
            Applied::Gap => self.want_snapshot(ResyncReason::Gap),
            Applied::OtherEpoch => self.want_snapshot(ResyncReason::Epoch),
        }
    }

    /// A poll that was sent at `sent_at` was answered.
    pub fn on_poll(&mut self, sent_at: Moment, position: Position) {
        if self.coherence.epoch() != Some(position.epoch) {
            self.want_snapshot(ResyncReason::Epoch);
            return;
        }
        if !self.is_trusted(position.trusted) {
            return;
        }
        // What an earlier poll showed has still not arrived: it was lost, or is as good as lost.
        if self.claims.front().is_some_and(|claim| claim.seq > self.coherence.watermark()) {
            self.want_snapshot(ResyncReason::Behind);
        }
        self.claim(sent_at, position);
    }

    /// A snapshot that was asked for at `sent_at` arrived. It is as good as a poll, and brings what it promises.
    pub fn on_snapshot(&mut self, sent_at: Moment, snapshot: &Snapshot, now: Moment) {
        self.coherence.adopt(snapshot, now);
        if self.is_trusted(snapshot.position.trusted) {
            self.claim(sent_at, snapshot.position);
        }
        self.settle();
    }

    /// Why the lease is over, if it is and was not when this was asked last. To be asked before anything is told that may
    /// bring a new one.
    pub fn lapsed(&mut self, now: Moment) -> Option<LapseReason> {
        if self.coherence.lease_held(now) {
            return None;
        }
        let until = self.granted_until.take()?;
        Some(match self.withheld {
            _ if now < until => LapseReason::Revoked,
            Some(reason) => reason,
            None if self.claims.is_empty() => LapseReason::Poll,
            None => LapseReason::Behind,
        })
    }

    fn is_trusted(&mut self, trusted: Trusted) -> bool {
        self.withheld = match trusted {
            Trusted::Yes => None,
            Trusted::Quiet => Some(LapseReason::Quiet),
            Trusted::Unvouched => Some(LapseReason::Feed),
        };
        self.withheld.is_none()
    }

    fn claim(&mut self, sent_at: Moment, position: Position) {
        if self.claims.len() == CLAIMS_MAX {
            self.claims.pop_back();
        }
        self.claims.push_back(Claim { epoch: position.epoch, seq: position.seq, sent_at });
        self.settle();
    }

    /// Turns every claim that has come true into a lease. The lease takes half of `max_staleness`: the other half
    /// belongs to the feed, which may be that late before it stops being alive.
    fn settle(&mut self) {
        let (epoch, watermark) = (self.coherence.epoch(), self.coherence.watermark());
        while let Some(claim) = self.claims.front().copied() {
            if epoch == Some(claim.epoch) {
                if claim.seq > watermark {
                    break;
                }
                let until = claim.sent_at.plus(self.coherence.max_staleness() / 2);
                if self.coherence.grant(claim.epoch, claim.sent_at, until) {
                    self.granted_until = self.granted_until.max(Some(until));
                }
            }
            self.claims.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        coherence::Kind,
        tag::{SlotCount, Slots},
    };

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
    const LEASE: Duration = Duration::from_millis(500);

    fn position(seq: u64, trusted: Trusted) -> Position {
        Position { epoch: Epoch(7), seq: Seq(seq), purged: Seq(0), trusted }
    }

    /// One that was granted a lease now.
    fn follower() -> Follower {
        let coherence = Arc::new(Coherence::new(SlotCount::new(1_024).unwrap(), LEASE * 2));
        let mut follower = Follower::new(coherence);
        assert_eq!(follower.snapshot_asked(), Some(ResyncReason::Start));
        let snapshot = Snapshot { position: position(10, Trusted::Yes), table: vec![0; 1_024] };
        follower.on_snapshot(NOW, &snapshot, NOW);
        assert_eq!(follower.lapsed(NOW), None);
        follower
    }

    #[test]
    fn a_lapse_is_told_once_and_by_what_was_missing() {
        let over = NOW.plus(LEASE);
        let mut silent = follower();
        assert_eq!(silent.lapsed(over), Some(LapseReason::Poll));
        assert_eq!(silent.lapsed(over), None, "twice");
        silent.on_poll(over, position(10, Trusted::Yes));
        assert_eq!(silent.lapsed(over), None, "with a new lease");
        assert_eq!(silent.lapsed(over.plus(LEASE)), Some(LapseReason::Poll));

        for (trusted, reason) in [(Trusted::Quiet, LapseReason::Quiet), (Trusted::Unvouched, LapseReason::Feed)] {
            let mut withheld = follower();
            withheld.on_poll(NOW, position(10, trusted));
            assert_eq!(withheld.lapsed(over), Some(reason));
        }

        let mut behind = follower();
        behind.on_poll(NOW, position(11, Trusted::Yes));
        assert_eq!(behind.lapsed(over), Some(LapseReason::Behind));

        let mut revoked = follower();
        revoked.coherence.revoke(NOW);
        assert_eq!(revoked.lapsed(NOW), Some(LapseReason::Revoked));
    }

    #[test]
    fn who_never_had_a_lease_loses_none() {
        let coherence = Arc::new(Coherence::new(SlotCount::new(1_024).unwrap(), LEASE * 2));
        assert_eq!(Follower::new(coherence).lapsed(NOW), None);
    }

    #[test]
    fn a_claim_comes_true_with_the_announcement_it_waits_for() {
        let mut follower = follower();
        let later = NOW.plus(LEASE / 2);
        follower.on_poll(later, position(11, Trusted::Yes));
        let announcement = Announcement {
            epoch: Epoch(7),
            seq: Seq(11),
            kind: Kind::Change,
            slots: Slots::from_raw([3]),
            writes: smallvec::SmallVec::new(),
        };
        follower.on_announcement(&announcement, later);
        assert_eq!(follower.lapsed(NOW.plus(LEASE)), None);
        assert_eq!(follower.lapsed(later.plus(LEASE)), Some(LapseReason::Poll));
    }
}
