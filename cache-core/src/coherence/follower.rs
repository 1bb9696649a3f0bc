//! How a node follows the history of announcements: what each message, poll and snapshot means, and what to ask next.
//!
//! The backplane does the talking and the simulator plays it; the decisions are made here, once.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{Announcement, Applied, Coherence, Epoch, Position, Seq, Snapshot};
use crate::{clock::Moment, outcome::ResyncReason};

/// Claims kept at most. Each lives for one poll interval or so; an older one only means an older lease.
const CLAIMS_MAX: usize = 8;

/// The protocol state of one node; owned by the one task that drives it.
pub struct Follower {
    coherence: Arc<Coherence>,
    claims: VecDeque<Claim>,
    wanted: Option<ResyncReason>,
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
        Self { coherence, claims: VecDeque::new(), wanted: Some(ResyncReason::Start) }
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
        if !position.trusted {
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
        if snapshot.position.trusted {
            self.claim(sent_at, snapshot.position);
        }
        self.settle();
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
                self.coherence.grant(claim.epoch, claim.sent_at, until);
            }
            self.claims.pop_front();
        }
    }
}
