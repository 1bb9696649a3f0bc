//! What was written, and when: the truth against which reads are judged.
//!
//! Each key has one writer, so its versions are totally ordered. Writers and readers share one process and one monotonic
//! clock, so moments can be compared.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long what was superseded is remembered: longer than any bound and any request.
pub const REMEMBER: Duration = Duration::from_secs(30);
/// Tokens kept per key; more are younger than any that a reader still holds.
const FLOORS_MAX: usize = 256;

/// A version of one key. Unique: a number that was used is not used again, not even if a failover lost its commit.
pub type Version = u64;

/// The place that a write through the proxy has in the order of announcements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// the epoch, as it is written
    pub epoch: String,
    /// the place in it
    pub seq: u64,
}

impl Token {
    /// Reads `<epoch>:<seq>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once(':')?;
        Some(Self { epoch: epoch.to_owned(), seq: seq.parse().ok()? })
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

/// A stretch of time in which a version may have been what the database shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// which version
    pub version: Version,
    /// not before: its write was sent
    pub from: Instant,
    /// not after: the write of the next one was answered. `None` while that has not happened
    pub until: Option<Instant>,
}

/// The versions of one key.
#[derive(Debug, Clone)]
pub struct Timeline {
    periods: VecDeque<Period>,
    /// what a reader with a token must see at least, in the order in which it was written
    floors: VecDeque<(Token, Version)>,
    /// a write whose answer is not there yet
    in_flight: Option<Version>,
    next: Version,
    /// everything that ended before this was forgotten
    forgotten: Option<Instant>,
}

impl Timeline {
    /// A key that has shown this version since that moment.
    #[must_use]
    pub fn new(version: Version, since: Instant) -> Self {
        let first = Period { version, from: since, until: None };
        Self {
            periods: VecDeque::from([first]),
            floors: VecDeque::new(),
            in_flight: None,
            next: version + 1,
            forgotten: None,
        }
    }

    /// A write is about to be sent; says which version it is to write.
    pub fn invoke(&mut self, now: Instant) -> Version {
        let version = self.next;
        self.next += 1;
        self.in_flight = Some(version);
        self.periods.push_back(Period { version, from: now, until: None });
        version
    }

    /// The write was answered, or its effect was seen: whatever was there before is superseded.
    pub fn acknowledge(&mut self, now: Instant, token: Option<Token>) {
        let Some(version) = self.in_flight.take() else { return };
        for period in self.periods.iter_mut().filter(|period| period.version != version) {
            period.until.get_or_insert(now);
        }
        if let Some(token) = token {
            self.floors.push_back((token, version));
            if self.floors.len() > FLOORS_MAX {
                self.floors.pop_front();
            }
        }
        self.forget(now);
    }

    /// A failover may have taken commits back: since `from` at the earliest the database shows `version` again, and at
    /// `now` nothing newer is left.
    pub fn fall_back(&mut self, version: Version, from: Instant, now: Instant) {
        if self.periods.back().is_some_and(|last| last.version == version) {
            return;
        }
        for period in &mut self.periods {
            period.until.get_or_insert(now);
        }
        self.periods.push_back(Period { version, from, until: None });
        self.floors.retain(|(_, floor)| *floor <= version);
    }

    /// The periods of every version for which `shows` is true, if it is still remembered.
    pub fn periods(&self, shows: impl Fn(Version) -> bool) -> impl DoubleEndedIterator<Item = Period> {
        self.periods.iter().filter(move |period| shows(period.version)).copied()
    }

    /// The least version that a reader with this token may see.
    #[must_use]
    pub fn floor(&self, token: &Token) -> Option<Version> {
        let before = |(other, _): &&(Token, Version)| other.epoch == token.epoch && other.seq <= token.seq;
        self.floors.iter().filter(before).map(|(_, version)| *version).max()
    }

    /// Whether the version was written once and its end is too long ago to be remembered.
    #[must_use]
    pub fn has_forgotten(&self, version: Version) -> bool {
        self.forgotten.is_some() && version < self.next && self.periods(|other| other == version).next().is_none()
    }

    /// The newest version whose write was sent.
    #[must_use]
    pub fn newest(&self) -> Version {
        self.next - 1
    }

    /// For evidence: the last few periods.
    #[must_use]
    pub fn recent(&self) -> Vec<Period> {
        self.periods.iter().rev().take(6).rev().copied().collect()
    }

    fn forget(&mut self, now: Instant) {
        let old = |period: &Period| period.until.is_some_and(|until| now.duration_since(until) > REMEMBER);
        while self.periods.front().is_some_and(old) {
            self.forgotten = self.periods.pop_front().and_then(|period| period.until);
        }
    }
}
