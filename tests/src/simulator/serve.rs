//! Reads: L1, then L2, then the origin, as `cache.rs` and the proxy do.

use std::time::Duration;

use cache_core::coherence::{Filled, Proof, Reached};
use cache_core::entry::Lifetimes;
use cache_core::freshness::{self, Directives, Right, Verdict};

use super::Protection;
use super::invariants::{self, From, Judged, Served};
use super::node::{Claimed, Entry, Fill, Purpose, Read};
use super::truth;
use super::wire::{Answer, Line, Request};
use super::world::{Delivery, Event, MAX_STALENESS, REDIS_TIMEOUT, World};

/// Long: only coherence ends an entry here.
const LIFETIMES: Lifetimes = Lifetimes {
    fresh_for: Duration::from_secs(3_600),
    stale_while_revalidate_for: Duration::ZERO,
    stale_if_error_for: Duration::ZERO,
};

impl World {
    pub(super) fn read(&mut self, n: usize, read: Read) {
        let reached = read.token.is_none_or(|held| self.nodes[n].coherence.reached(held.token) == Reached::Yes);
        if !reached {
            self.fill(n, read);
            return;
        }
        if let Some(entry) = self.nodes[n].l1.get(&read.key).cloned()
            && let Some(judged) = self.fresh(n, &entry)
        {
            self.serve(n, &read, entry.version, From::L1, Some(judged));
        } else if self.may_use_l2(n) && !self.nodes[n].breaker_open {
            self.send(n, Line::Data, Request::Get(read.key), Purpose::Lookup(read), REDIS_TIMEOUT);
        } else {
            self.join_or_fill(n, read);
        }
    }

    /// The rule of `TwoTier::lookup_l2`: before the wait, and after it.
    fn may_use_l2(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let owes = node.owes() && self.without != Some(Protection::NoPeersWhileOwing);
        !owes && (node.coherence.lease_held(self.clock(n)) || self.without == Some(Protection::Lease))
    }

    pub(super) fn lookup_answered(&mut self, n: usize, read: Read, answer: Answer) {
        match answer {
            Answer::Found(Some(entry)) => {
                let entry = Entry { filled: Filled::ByPeer, ..entry };
                match self.fresh(n, &entry).filter(|_| self.may_use_l2(n)) {
                    Some(judged) => {
                        let version = entry.version;
                        self.nodes[n].l1.insert(read.key, entry);
                        self.serve(n, &read, version, From::L2, Some(judged));
                    }
                    None => self.join_or_fill(n, read),
                }
            }
            Answer::Failed => {
                self.nodes[n].breaker_open = true;
                self.join_or_fill(n, read);
            }
            _ => self.join_or_fill(n, read),
        }
    }

    /// The real rule, and what there is to know about the node at that moment.
    fn fresh(&self, n: usize, entry: &Entry) -> Option<Judged> {
        let now = self.clock(n);
        let mut proof = self.nodes[n].coherence.judge(&entry.stamp, entry.filled, now);
        if proof == Proof::Unproven && self.without == Some(Protection::Lease) {
            proof = Proof::Leased;
        }
        let verdict = freshness::judge(now.since(entry.began), &LIFETIMES, proof, false, &Directives::default());
        matches!(verdict, Verdict::Serve(Right::Fresh { .. })).then(|| self.judged(n, entry.filled))
    }

    fn judged(&self, n: usize, filled: Filled) -> Judged {
        let now = self.clock(n);
        let young = matches!(filled, Filled::Here(began) if now.since(began) <= MAX_STALENESS);
        Judged { at: self.now, young, unheard_since: self.nodes[n].unheard.first_key_value().map(|(_, at)| *at) }
    }

    fn join_or_fill(&mut self, n: usize, read: Read) {
        let in_flight = self.nodes[n].in_flight.get(&read.key).copied();
        let judged = in_flight.and_then(|id| self.joinable(n, id));
        match in_flight.and_then(|id| self.nodes[n].fills.get_mut(&id)) {
            Some(fill) if judged.is_some() => fill.waiters.push((read, judged)),
            _ => self.fill(n, read),
        }
    }

    /// The rule of `TwoTier::joinable`: a fill may be joined while its entry would be served as fresh.
    fn joinable(&self, n: usize, id: u64) -> Option<Judged> {
        let fill = self.nodes[n].fills.get(&id)?;
        let filled = Filled::Here(fill.began);
        let joinable = match self.nodes[n].coherence.judge(&fill.stamp, filled, self.clock(n)) {
            Proof::Leased | Proof::Young => true,
            Proof::Unproven => self.without == Some(Protection::JoinOnlyFresh),
            Proof::Incoherent => false,
        };
        joinable.then(|| self.judged(n, filled))
    }

    fn fill(&mut self, n: usize, read: Read) {
        self.fills += 1;
        let (id, began, life) = (self.fills, self.clock(n), self.nodes[n].life);
        let (stamp, claimed) = self.stamp(n, read.key);
        let node = &mut self.nodes[n];
        let fill = Fill { key: read.key, stamp, claimed, began, version: None, waiters: vec![(read, None)] };
        node.fills.insert(id, fill);
        node.in_flight.insert(read.key, id);
        let until_read = if self.chance(0.05) { self.micros(0..100_000) } else { self.micros(50..1_500) };
        let after_read = if self.chance(0.05) { self.micros(0..2_000_000) } else { self.micros(50..8_000) };
        self.later(until_read, Event::AtNode(life, Delivery::OriginRead(id)));
        self.later(until_read + after_read, Event::AtNode(life, Delivery::FillDone(id)));
    }

    fn stamp(&self, n: usize, key: truth::Key) -> (cache_core::coherence::Stamp, Claimed) {
        let coherence = &self.nodes[n].coherence;
        let claimed = Claimed { epoch: coherence.epoch(), as_of: coherence.watermark(), at: self.now };
        (coherence.stamp(truth::entry_tags(key)), claimed)
    }

    pub(super) fn origin_read(&mut self, n: usize, id: u64) {
        let version = self.nodes[n].fills.get(&id).map(|fill| self.truth.version(fill.key));
        if let Some(fill) = self.nodes[n].fills.get_mut(&id) {
            fill.version = version;
        }
    }

    pub(super) fn fill_done(&mut self, n: usize, id: u64) {
        let Some(mut fill) = self.nodes[n].fills.remove(&id) else { return };
        let Some(version) = fill.version else { return };
        self.nodes[n].in_flight.retain(|_, flight| *flight != id);
        if self.without == Some(Protection::StampBeforeRead) {
            (fill.stamp, fill.claimed) = self.stamp(n, fill.key);
        }
        let missing = self.truth.missing(fill.key, version);
        self.violation = self.violation.take().or(invariants::stamped_before_read(&fill.claimed, missing));
        if self.nodes[n].coherence.is_current(&fill.stamp) {
            let entry = Entry {
                key: fill.key,
                version,
                stamp: fill.stamp,
                filled: Filled::Here(fill.began),
                began: fill.began,
            };
            self.nodes[n].l1.insert(fill.key, entry.clone());
            let leased = self.nodes[n].coherence.lease_held(self.clock(n));
            if leased && !self.nodes[n].breaker_open {
                self.send(n, Line::Data, Request::Put(entry), Purpose::Store, REDIS_TIMEOUT);
            }
        }
        for (read, judged) in fill.waiters {
            self.serve(n, &read, version, From::Origin, judged);
        }
    }

    fn serve(&mut self, n: usize, read: &Read, version: usize, from: From, judged: Option<Judged>) {
        match (from, &judged) {
            (From::L1, Some(Judged { young: true, .. })) if !self.nodes[n].coherence.lease_held(self.clock(n)) => {
                self.tally.l1_young += 1;
            }
            (From::L1, _) => self.tally.l1_leased += 1,
            (From::L2, _) => self.tally.l2 += 1,
            (From::Origin, Some(_)) => self.tally.joined += 1,
            (From::Origin, None) => self.tally.origin += 1,
        }
        self.tally.with_token += u64::from(read.token.is_some() && from != From::Origin);
        let served = Served { life: self.nodes[n].life, read: *read, version, from, judged };
        self.check(&served);
        if self.violation.is_some() {
            self.note(|| format!("node {n} serves key {} at version {version} from {from:?}", read.key));
        }
    }
}
