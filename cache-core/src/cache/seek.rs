//! What the leader of a fill does before it asks the origin: it looks into L2, and takes the fill lease or waits for the
//! peer that has it (see [`crate::lease`]).

use std::{sync::Arc, time::Duration};

use super::{FillTicket, Found, Lookup, Missing, TwoTier};
use crate::{
    backplane::ECHO_PATIENCE,
    clock::Moment,
    coherence::{Coherence, Epoch, Stamp, Token},
    dependence::Dependence,
    entry::{Entry, Value},
    freshness::{Directives, Right},
    key::CacheKey,
    lease::{Checksum, Claimed, Holder, Leases, Over, Waiting},
    outcome::{LeaseResult, StaleReason, Tier, TierResult},
    tag::Tags,
};

/// What a leader found.
#[derive(Debug)]
pub enum Sought<V> {
    /// an entry that may answer everybody who waits for this fill
    Found {
        /// the entry
        found: Found<V>,
        /// what came of the lease, if it was asked for
        lease: Option<LeaseResult>,
    },
    /// none: ask the origin
    Missing {
        /// the right to store what it says
        ticket: FillTicket,
        /// why L2 did not answer; `None` if there is no L2
        l2: Option<TierResult>,
        /// what came of the lease, if it was asked for
        lease: Option<LeaseResult>,
    },
}

/// What a leader takes for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// a fresh entry, or a stale one that may be served while it is revalidated
    AnyAnswer,
    /// a fresh entry
    FreshAnswer,
}

impl Wanted {
    fn accepts(self, right: Right) -> bool {
        match (self, right) {
            (_, Right::Fresh { .. }) => true,
            (Self::AnyAnswer, Right::Stale { reason, .. }) => reason == StaleReason::WhileRevalidate,
            (Self::FreshAnswer, Right::Stale { .. }) => false,
        }
    }
}

/// Entries that are not good enough, in a row, until a node goes on without the lease: one that expired, and one that
/// came instead.
const REFUSALS_MAX: u32 = 2;

impl<V: Value> TwoTier<V> {
    /// Looks for an entry that another fill has stored by now, on this node or on a peer; waits while a peer fills, for
    /// `fill_lease_for` at most. Cancel safe.
    pub async fn seek(&self, key: &CacheKey, on: &Dependence, wanted: Wanted) -> Sought<V> {
        // Whoever missed in L1 a moment before a fill ended leads the next one.
        if let Lookup::Found(found @ Found { right: Right::Fresh { .. }, .. }) =
            self.lookup_l1(key, &Directives::default(), self.clock.now())
        {
            return Sought::Found { found, lease: None };
        }
        match &self.leases {
            Some(leases) => self.seek_with(leases, key, on, wanted).await,
            None => self.seek_alone(key, on, wanted).await,
        }
    }

    async fn seek_alone(&self, key: &CacheKey, on: &Dependence, wanted: Wanted) -> Sought<V> {
        let l2 = match self.lookup_l2(key, &Directives::default(), self.clock.now()).await {
            Some(Lookup::Found(found)) if wanted.accepts(found.right) => return Sought::Found { found, lease: None },
            Some(Lookup::Found(_)) => Some(TierResult::Expired),
            Some(Lookup::Missing(missing)) => Some(missing.because),
            None => None,
        };
        Sought::Missing { ticket: self.begin_on(key, on).await, l2, lease: None }
    }

    async fn seek_with(&self, leases: &Arc<Leases>, key: &CacheKey, on: &Dependence, wanted: Wanted) -> Sought<V> {
        let mut wait = Wait::new(self.clock.now(), leases.lease_for());
        let mut refused: Option<Refused> = None;
        loop {
            let mut ticket = self.begin_on(key, on).await;
            // What a peer found may depend on less than what this fill has to take for granted.
            let tags = &ticket.certain_tags().clone();
            let missing = |ticket, l2, lease| Sought::Missing { ticket, l2: Some(l2), lease: Some(lease) };
            let unavailable = |ticket| missing(ticket, TierResult::Unavailable, LeaseResult::Unavailable);
            if !self.may_trust_peers(ticket.began) || Epoch::from_u64(ticket.stamp.epoch).is_none() {
                return unavailable(ticket);
            }
            let (newest, known) = (self.coherence.newest(tags), refused.as_ref().map(|refused| refused.checksum));
            match leases.claim(key, &ticket.stamp, newest, known).await {
                Err(_) => return unavailable(ticket),
                Ok(Claimed::Entry(entry, checksum)) => match self.judge_of_peer(entry).await {
                    Lookup::Found(found) if wanted.accepts(found.right) => {
                        self.l1.put(key, found.entry.clone());
                        return Sought::Found { found, lease: wait.after_entry() };
                    }
                    judged => {
                        let times = refused.map_or(1, |before| before.times + 1);
                        let because = because(&judged);
                        if times > REFUSALS_MAX || because == TierResult::Unavailable {
                            return missing(ticket, because, LeaseResult::Unavailable);
                        }
                        refused = Some(Refused { checksum, because, times });
                    }
                },
                Ok(Claimed::Granted { lease, l2, over }) => {
                    ticket.lease = Some(lease);
                    let l2 = refused.map_or(l2, |refused| refused.because);
                    return missing(ticket, l2, wait.after_grant(over, &self.coherence, tags));
                }
                Ok(Claimed::Taken(holder)) => match wait.on(holder, &self.coherence, tags, self.clock.now()) {
                    Some(pause) => {
                        wait.counted.get_or_insert_with(|| leases.wait());
                        tokio::time::sleep(pause).await;
                    }
                    None => return missing(ticket, TierResult::Absent, LeaseResult::WaitedExpired),
                },
            }
        }
    }

    /// Judges what a peer stored. A peer may be ahead by an announcement that reaches this node in a moment.
    async fn judge_of_peer(&self, entry: Entry<V>) -> Lookup<V> {
        if let Some(epoch) = Epoch::from_u64(entry.stamp.epoch)
            && entry.stamp.as_of > self.coherence.watermark()
        {
            self.coherence.wait_for(Token { epoch, seq: entry.stamp.as_of }, ECHO_PATIENCE).await;
        }
        let now = self.clock.now();
        if !self.may_trust_peers(now) {
            return Lookup::Missing(Missing { because: TierResult::Unavailable, if_error: None });
        }
        self.judge(Arc::new(entry), Tier::L2, &Directives::default(), now)
    }
}

/// An entry that was found and is not good enough.
struct Refused {
    checksum: Checksum,
    because: TierResult,
    times: u32,
}

fn because<V>(judged: &Lookup<V>) -> TierResult {
    match judged {
        Lookup::Found(_) => TierResult::Expired,
        Lookup::Missing(missing) => missing.because,
    }
}

/// The first pause of whoever waits for a peer's fill; later ones grow with the wait, so that a long one is looked after
/// as seldom as it deserves.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest pause: what a waiter adds to the latency of a slow fill, and how late it may learn that its wait is void.
const PAUSE_MAX: Duration = Duration::from_millis(25);

/// A wait for the fill of a peer.
struct Wait {
    began: Moment,
    patience: Duration,
    holder: Option<Holder>,
    /// since a peer was found to have the lease
    counted: Option<Waiting>,
}

impl Wait {
    fn new(began: Moment, patience: Duration) -> Self {
        Self { began, patience, holder: None, counted: None }
    }

    /// How long to wait until the next look at a lease that this holder has; `None` if there is nothing to wait for.
    fn on(&mut self, holder: Holder, coherence: &Coherence, tags: &Tags, now: Moment) -> Option<Duration> {
        let replaced = self.holder.replace(holder).filter(|before| self.holder.as_ref() != Some(before));
        // The one before gave the lease back and left no entry. The next one will fare no better.
        if replaced.is_some_and(|before| coherence.is_current(&before.stamp(tags))) {
            return None;
        }
        let waited = now.since(self.began);
        (waited < self.patience).then(|| (waited / 4).clamp(PAUSE_MIN, PAUSE_MAX))
    }

    fn after_entry(&self) -> Option<LeaseResult> {
        self.holder.as_ref().map(|_| LeaseResult::WaitedHit)
    }

    fn after_grant(&self, over: Over, coherence: &Coherence, tags: &Tags) -> LeaseResult {
        let void = |stamp: &Stamp| !coherence.is_current(stamp);
        match (&self.holder, over) {
            (_, Over::OutdatedPeer) => LeaseResult::Voided,
            (Some(holder), Over::Nobody) if void(&holder.stamp(tags)) => LeaseResult::Voided,
            (Some(_), Over::Nobody) => LeaseResult::WaitedExpired,
            (None, Over::Nobody) => LeaseResult::Granted,
        }
    }
}
