//! The invariants, one predicate each: C1, C3, C4 and C5 of docs/architecture.md, and what `Backplane::announce` promises.
//!
//! With `feed = none` a write is announced by its own node, after its commit. So the bound on true staleness counts from
//! the first attempt to announce, and has one hole: a writer that **alone** cannot reach Redis, or that dies between its
//! commit and its announcement, while Redis serves its peers. Nothing in Redis can know of that write. The change feed
//! closes the hole; until then the predicate names it, and checks that it was what happened.

use std::fmt;
use std::time::Duration;

use cache_core::clock::Moment;

use super::node::{Claimed, Read};
use super::truth::{Life, Write};
use super::world::{MAX_STALENESS, World};

/// How long a lease lasts at most, counted from when its poll was answered in Redis.
const LEASE: Duration = Duration::from_millis(500);
/// Within this time of Redis serving anybody again, every writer that is not itself in trouble has announced what it
/// owes: one poll interval, one timeout and a reconnect.
const GRACE: Duration = Duration::from_millis(250);

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// this node's memory
    L1,
    /// a peer's fill
    L2,
    /// a fill that began for this read or was joined by it
    Origin,
}

/// The moment of judgement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    /// when
    pub(super) at: Moment,
    /// whether this node itself began the fill at most `max_staleness` ago
    pub(super) young: bool,
    /// since when there is an announcement that this node has not heard
    pub(super) unheard_since: Option<Moment>,
}

/// An answer that was given as fresh.
#[derive(Debug)]
#[expect(dead_code, reason = "`from` is for whoever reads the failure")]
pub(super) struct Served {
    pub(super) life: Life,
    pub(super) read: Read,
    pub(super) version: usize,
    pub(super) from: From,
    /// absent if the fill began for this very read
    pub(super) judged: Option<Judged>,
}

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// a stamp never claims to know more than the origin read saw
    C1,
    /// a served-fresh entry is coherent under a held lease, or no older than `max_staleness`
    C3,
    /// a node that may have missed an announcement serves nothing older than `max_staleness` until it caught up
    C4,
    /// a read with a token never returns a state from before that token
    C5,
    /// after `announce` returned, its node serves nothing from before as fresh
    OwnWrites,
    /// nothing served as fresh is staler than `max_staleness` and the time from commit to the attempt to announce
    Staleness,
}

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// which
    pub invariant: Invariant,
    /// how
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is violated: {}", self.invariant, self.what)
    }
}

fn violation(invariant: Invariant, what: String) -> Option<Violation> {
    Some(Violation { invariant, what })
}

/// C1: what was announced up to `as_of` before the stamp was taken is in what the origin read returned.
pub(super) fn stamped_before_read<'a>(
    claimed: &Claimed,
    missing: impl Iterator<Item = &'a Write>,
) -> Option<Violation> {
    missing
        .flat_map(|write| &write.announced)
        .find(|a| claimed.epoch == Some(a.epoch) && a.seq <= claimed.as_of && a.at <= claimed.at)
        .and_then(|a| {
            violation(Invariant::C1, format!("a stamp claims {a:?} and the value does not show it: {claimed:?}"))
        })
}

/// C3: every write that is missing was announced within the last lease, or the entry is young.
pub(super) fn coherent_or_young(served: &Served, missing: &Write) -> Option<Violation> {
    let judged = served.judged.as_ref().filter(|judged| !judged.young)?;
    let late = judged.at.since(missing.announced_at()?);
    (late > LEASE).then_some(())?;
    violation(Invariant::C3, format!("announced {late:?} before it was served: {missing:?}\n{served:?}"))
}

/// C4: a node that has not heard an announcement for longer than a lease serves only what is young.
pub(super) fn nothing_unheard(served: &Served) -> Option<Violation> {
    let judged = served.judged.as_ref().filter(|judged| !judged.young)?;
    let unheard_for = judged.at.since(judged.unheard_since?);
    (unheard_for > LEASE).then_some(())?;
    violation(Invariant::C4, format!("an announcement was not heard for {unheard_for:?}\n{served:?}"))
}

/// C5: no write that is missing was announced up to the token.
pub(super) fn after_token(served: &Served, missing: &Write) -> Option<Violation> {
    let held = served.read.token?;
    let before =
        missing.announced.iter().find(|a| a.epoch == held.token.epoch && a.seq <= held.token.seq && a.at <= held.at)?;
    violation(Invariant::C5, format!("{before:?} came before the token {held:?}\n{served:?}"))
}

/// Who wrote here reads here.
pub(super) fn own_writes(served: &Served, missing: &Write) -> Option<Violation> {
    let returned = missing.returned.filter(|_| missing.by == served.life)?;
    (returned <= served.read.began).then_some(())?;
    violation(Invariant::OwnWrites, format!("this node itself made {missing:?}\n{served:?}"))
}

/// How an answer stands to the bound on true staleness.
#[derive(Debug)]
pub(super) enum Staleness {
    Within(Duration),
    /// the known hole, from its writer's commit until the debt was paid
    WriterAlone(Moment, Moment),
    Beyond(Violation),
}

/// The bound on true staleness, counted from the commit of the oldest write that is missing.
pub(super) fn staleness(served: &Served, missing: &Write, now: Moment) -> Staleness {
    let stale_for = served.read.began.since(missing.committed);
    let until_attempt = missing.attempted.map_or(Duration::ZERO, |attempted| attempted.since(missing.committed));
    let allowed = MAX_STALENESS + until_attempt;
    if stale_for <= allowed {
        return Staleness::Within(stale_for);
    }
    // It stopped between its commit and its announcement, for a while or for good.
    if missing.attempted.is_none() {
        return Staleness::WriterAlone(missing.committed, now);
    }
    let owed_until = missing.announced_at().unwrap_or(now);
    // Redis served its peers for longer than the grace while the writer still owed.
    if missing.peers_polled.is_some_and(|polled| owed_until.since(polled) > GRACE) {
        return Staleness::WriterAlone(missing.committed, owed_until);
    }
    let what = format!("{stale_for:?} stale where {allowed:?} is allowed: {missing:?}\n{served:?}");
    Staleness::Beyond(Violation { invariant: Invariant::Staleness, what })
}

impl World {
    /// Holds an answer against all of them.
    pub(super) fn check(&mut self, served: &Served) {
        let Some(missing) = self.truth.missing(served.read.key, served.version).next() else {
            self.violation = self.violation.take().or_else(|| nothing_unheard(served));
            return;
        };
        let mut broken = self.violation.take();
        for predicate in [coherent_or_young, after_token, own_writes] {
            // The oldest missing write is the stalest; for the others the first that matters may come later.
            let mut all = self.truth.missing(served.read.key, served.version);
            broken = broken.or_else(|| all.find_map(|write| predicate(served, write)));
        }
        broken = broken.or_else(|| nothing_unheard(served));
        match staleness(served, missing, self.now) {
            Staleness::Within(stale_for) => self.tally.stalest = self.tally.stalest.max(stale_for),
            Staleness::WriterAlone(from, until) if self.nodes[missing.by.node].was_in_trouble(from, until) => {
                self.tally.excused += 1;
            }
            Staleness::WriterAlone(..) => {
                let what = format!("its writer was in no trouble and did not announce: {missing:?}\n{served:?}");
                broken = broken.or_else(|| violation(Invariant::Staleness, what));
            }
            Staleness::Beyond(beyond) => broken = broken.or(Some(beyond)),
        }
        self.violation = broken;
    }
}
