//! What this node read of the store's notes, and what it may conclude. Pure: time is an argument.

use std::{
    sync::atomic::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Duration,
};

use crate::{clock::Moment, coherence::Filled};

/// Longest time between two readings for the later one to tell all. Notes are swept no earlier than [`KEPT_FOR`] after
/// everybody could see them.
pub(super) const GAP_MAX: Duration = Duration::from_secs(30);
/// How long notes are there to be read.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(60);
/// How long after the last question the notes are still read.
const WANTED_FOR: Duration = Duration::from_secs(60);

/// What entries are judged by, besides their coherence.
pub(super) struct Judge {
    bound: Duration,
    /// when the last reading that counts was asked for
    heard_at: AtomicU64,
    /// what is older may have ended without this node's hearing of it
    horizon: AtomicU64,
    /// when a reading failed because the store is away
    away_at: AtomicU64,
    /// when a session was asked for last
    wanted_at: AtomicU64,
}

/// How the store was, lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    /// it did not answer when it was asked last, a moment ago
    Away,
    /// it did, or nobody asked
    Unknown,
}

impl Judge {
    pub(super) fn new(bound: Duration) -> Self {
        let past = || AtomicU64::new(Moment::PAST.as_nanos());
        Self { bound, heard_at: past(), horizon: past(), away_at: past(), wanted_at: past() }
    }

    /// By right of [youth](super): read here, at most a bound ago.
    pub(super) fn is_young(&self, began: Moment, filled: Filled, now: Moment) -> bool {
        matches!(filled, Filled::Here(_)) && now.since(began) <= self.bound
    }

    /// By right of [hearing](super) of what ended.
    pub(super) fn has_heard(&self, began: Moment, now: Moment) -> bool {
        // In this order: a reading sets the horizon before it counts.
        let heard_at = Moment::from_nanos(self.heard_at.load(Acquire));
        now.since(heard_at) <= self.bound / 2 && self.is_unswept(began)
    }

    /// Whether nothing can have been swept unheard since the entry was read.
    pub(super) fn is_unswept(&self, began: Moment) -> bool {
        began.as_nanos() >= self.horizon.load(Acquire)
    }

    /// A reading that was asked for at that moment is taken to heart.
    pub(super) fn hear(&self, asked_at: Moment) {
        let before = Moment::from_nanos(self.heard_at.load(Acquire));
        if asked_at.since(before) > GAP_MAX {
            // What ended since then is still noted, and so in this reading.
            self.horizon.store(asked_at.minus(GAP_MAX).as_nanos(), Release);
        }
        self.away_at.store(Moment::PAST.as_nanos(), Relaxed);
        self.heard_at.store(asked_at.as_nanos(), Release);
    }

    /// The store did not answer.
    pub(super) fn miss(&self, now: Moment) {
        self.away_at.store(now.as_nanos(), Relaxed);
    }

    /// How the store was, lately.
    pub(super) fn store(&self, now: Moment) -> Store {
        let away_at = Moment::from_nanos(self.away_at.load(Relaxed));
        if now.since(away_at) <= self.bound { Store::Away } else { Store::Unknown }
    }

    /// Somebody asks for a session. Says whether nobody had for so long that the watch sleeps.
    pub(super) fn want(&self, now: Moment) -> bool {
        let before = Moment::from_nanos(self.wanted_at.load(Relaxed));
        // One write a second is enough, and does not have the processors fight for the line.
        if now.since(before) < Duration::from_secs(1) {
            return false;
        }
        let before = Moment::from_nanos(self.wanted_at.swap(now.as_nanos(), AcqRel));
        now.since(before) >= WANTED_FOR
    }

    /// Whether the watch may sleep.
    pub(super) fn is_idle(&self, now: Moment) -> bool {
        now.since(Moment::from_nanos(self.wanted_at.load(Acquire))) >= WANTED_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(1);
    const START: Moment = Moment::from_nanos(1 << 60);

    #[test]
    fn a_reading_counts_for_half_a_bound_from_its_question() {
        let judge = Judge::new(BOUND);
        assert!(!judge.has_heard(START, START));
        judge.hear(START);
        assert!(judge.has_heard(START, START.plus(BOUND / 2)));
        assert!(!judge.has_heard(START, START.plus(BOUND)));
    }

    #[test]
    fn after_a_gap_nothing_from_before_counts() {
        let judge = Judge::new(BOUND);
        judge.hear(START);
        let soon = START.plus(GAP_MAX);
        judge.hear(soon);
        assert!(judge.has_heard(START, soon), "no gap");
        let late = soon.plus(GAP_MAX * 2);
        judge.hear(late);
        assert!(!judge.has_heard(soon, late) && judge.has_heard(late, late));
    }

    #[test]
    fn only_what_was_read_here_is_young() {
        let judge = Judge::new(BOUND);
        assert!(judge.is_young(START, Filled::Here(START), START.plus(BOUND)));
        assert!(!judge.is_young(START, Filled::Here(START), START.plus(BOUND * 2)));
        assert!(!judge.is_young(START, Filled::ByPeer, START));
    }

    #[test]
    fn the_watch_sleeps_when_nobody_asks() {
        let judge = Judge::new(BOUND);
        assert!(judge.is_idle(START) && judge.want(START) && !judge.is_idle(START));
        let later = START.plus(WANTED_FOR);
        assert!(judge.is_idle(later));
        assert!(judge.want(later) && !judge.want(later) && !judge.is_idle(later));
    }
}
