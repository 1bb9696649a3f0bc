//! Judges reads, each as soon as it is made: invariants C3 to C6 of `docs/architecture.md`, as a client sees them.
//!
//! A read that begins at *t* may show whatever the database showed at some moment since *t* - `max_staleness`. When a
//! write was sent is a lower bound of when it could be seen, when it was answered an upper one; both are read on the
//! clock of the reader. So there is no tolerance, and nothing is taken for a violation that may be none.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::history::{Period, Timeline, Token, Version};
use super::question::{Key, Seen, Sighting};

/// Reads that wait to be judged until a failover is over, at most.
const DEFERRED_MAX: usize = 500_000;

/// One answer and its circumstances.
#[derive(Debug, Clone)]
pub struct Observation {
    /// when the client began to send
    pub begun: Instant,
    /// when it had the whole answer
    pub ended: Instant,
    /// what it shows
    pub sightings: Vec<Sighting>,
    /// the token that the reader showed
    pub token: Option<Token>,
    /// whose answer this is to be; `None` where nobody in particular owns rows
    pub principal: Option<&'static str>,
    /// how it is marked
    pub claim: Claim,
    /// for evidence: node, request, `Cache-Status`
    pub evidence: Box<Evidence>,
}

/// What an answer says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// nothing, so it is fresh
    Fresh,
    /// that it is stale
    Stale,
}

/// Where an answer came from.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// the number of the node
    pub node: usize,
    /// what was asked
    pub target: String,
    /// the header `Cache-Status`
    pub cache_status: String,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// C3, C4: served as fresh although it was superseded for longer than the bound
    TooOld {
        /// since when at least; `None` if that is forgotten
        by: Option<Duration>,
    },
    /// C5: the reader showed the token of a later write
    BeforeToken {
        /// what it had to see at least
        floor: Version,
    },
    /// C6: a row of somebody else
    SomebodyElses {
        /// whose it is
        owner: String,
    },
    /// no moment at which all of it held
    Torn,
    /// nobody ever wrote this
    NeverWritten,
    /// a row that is always there is not, or a count that contradicts the rows
    Malformed(String),
}

impl Wrong {
    /// The invariant that it breaks.
    #[must_use]
    pub fn invariant(&self) -> &'static str {
        match self {
            Self::TooOld { .. } => "C3/C4",
            Self::BeforeToken { .. } => "C5",
            Self::SomebodyElses { .. } => "C6",
            Self::Torn | Self::NeverWritten | Self::Malformed(_) => "one snapshot",
        }
    }
}

/// A broken promise, with what is needed to believe it.
#[derive(Debug, Clone)]
pub struct Violation {
    /// what is wrong
    pub wrong: Wrong,
    /// with which key, if with one
    pub key: Option<Key>,
    /// the answer
    pub observation: Observation,
    /// what was written there lately
    pub history: Vec<Period>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Observation { begun, ended, evidence, token, sightings, .. } = &self.observation;
        let Evidence { node, target, cache_status } = &**evidence;
        writeln!(f, "{}: {:?} on node {node}: GET {target}", self.wrong.invariant(), self.wrong)?;
        writeln!(f, "  answered within {:?}: {cache_status}", ended.duration_since(*begun))?;
        if let Some(token) = token {
            writeln!(f, "  with token {token}")?;
        }
        let at = |moment: Instant| match begun.checked_duration_since(moment) {
            Some(before) => format!("-{:.1} ms", before.as_secs_f64() * 1e3),
            None => format!("+{:.1} ms", moment.duration_since(*begun).as_secs_f64() * 1e3),
        };
        let Some(key) = self.key else { return Ok(()) };
        let seen = sightings.iter().filter(|sighting| sighting.key == key).map(|sighting| &sighting.seen);
        writeln!(f, "  {key:?} shows {:?}; by the clock of this read:", seen.collect::<Vec<_>>())?;
        for Period { version, from, until } in &self.history {
            let until = until.map_or("now".to_owned(), at);
            writeln!(f, "    version {version}: sent {}, superseded {until}", at(*from))?;
        }
        Ok(())
    }
}

/// What a judged read was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// since when what it showed was superseded when it began; zero if it was not
    pub staleness: Duration,
    /// how the answer was marked
    pub claim: Claim,
}

/// The outcome for one read.
#[derive(Debug)]
pub enum Verdict {
    /// nothing is wrong
    Fine(Judged),
    /// something is
    Broken(Box<Violation>),
    /// it is judged when it is known what a failover took back
    Deferred,
    /// as before, but there are too many of them
    Dropped,
}

/// The judge, and the history of every key.
#[derive(Debug)]
pub struct Judge {
    timelines: Vec<Mutex<Timeline>>,
    max_staleness: Duration,
    doubt: Mutex<Doubt>,
}

#[derive(Debug, Default)]
enum Doubt {
    /// what was acknowledged is there
    #[default]
    None,
    /// a failover is under way
    Some(Vec<Observation>),
}

impl Judge {
    /// A judge of keys that all show version 0 by now.
    #[must_use]
    pub fn new(max_staleness: Duration, now: Instant) -> Self {
        let timelines = Key::all().map(|_| Mutex::new(Timeline::new(0, now))).collect();
        Self { timelines, max_staleness, doubt: Mutex::default() }
    }

    /// A write of this key is about to be sent; says which version it is to write.
    pub fn invoke(&self, key: Key, now: Instant) -> Version {
        self.with(key, |timeline| timeline.invoke(now))
    }

    /// The write of this key was answered, or its effect was seen.
    pub fn acknowledge(&self, key: Key, token: Option<Token>, now: Instant) {
        self.with(key, |timeline| timeline.acknowledge(now, token));
    }

    /// From now on reads wait for [`resolve`](Self::resolve): what was acknowledged may be lost.
    pub fn doubt(&self) {
        *self.lock_doubt() = Doubt::Some(Vec::new());
    }

    /// The failover that began `from` is over by `now`, and this is what is left. Judges what waited for that; says also
    /// how many versions were lost.
    pub fn resolve(&self, left: &[(Key, Version)], from: Instant, now: Instant) -> (Vec<Verdict>, u64) {
        let mut lost = 0;
        for (key, version) in left {
            self.with(*key, |timeline| {
                lost += timeline.newest() - version;
                timeline.fall_back(*version, from, now);
            });
        }
        let doubt = std::mem::take(&mut *self.lock_doubt());
        let Doubt::Some(waiting) = doubt else { return (Vec::new(), lost) };
        (waiting.into_iter().map(|observation| self.judge(observation)).collect(), lost)
    }

    /// Judges a read, now or when that is possible.
    pub fn submit(&self, observation: Observation) -> Verdict {
        {
            let mut doubt = self.lock_doubt();
            if let Doubt::Some(waiting) = &mut *doubt {
                if waiting.len() >= DEFERRED_MAX {
                    return Verdict::Dropped;
                }
                waiting.push(observation);
                return Verdict::Deferred;
            }
        }
        self.judge(observation)
    }

    fn judge(&self, observation: Observation) -> Verdict {
        match self.weigh(&observation) {
            Ok(judged) => Verdict::Fine(judged),
            Err((wrong, key)) => {
                let history = key.map_or_else(Vec::new, |key| self.with(key, |timeline| timeline.recent()));
                Verdict::Broken(Box::new(Violation { wrong, key, observation, history }))
            }
        }
    }

    fn weigh(&self, observation: &Observation) -> Result<Judged, (Wrong, Option<Key>)> {
        let mut staleness = Duration::ZERO;
        let mut shared = Shared::default();
        for Sighting { key, seen, owner } in &observation.sightings {
            let fault = |wrong| (wrong, Some(*key));
            if let (Some(owner), Some(principal)) = (owner, observation.principal)
                && owner != principal
            {
                return Err(fault(Wrong::SomebodyElses { owner: owner.clone() }));
            }
            let timeline = self.lock(*key);
            if let Some(token) = &observation.token {
                meets_token(&timeline, seen, token).map_err(fault)?;
            }
            let Some(age) = age(&timeline, seen, observation, &mut shared).map_err(fault)? else { continue };
            if age > self.max_staleness && observation.claim == Claim::Fresh {
                return Err(fault(Wrong::TooOld { by: Some(age) }));
            }
            staleness = staleness.max(age);
        }
        if shared.is_empty() {
            return Err((Wrong::Torn, observation.sightings.first().map(|sighting| sighting.key)));
        }
        Ok(Judged { staleness, claim: observation.claim })
    }

    fn with<T>(&self, key: Key, work: impl FnOnce(&mut Timeline) -> T) -> T {
        work(&mut self.lock(key))
    }

    fn lock(&self, key: Key) -> std::sync::MutexGuard<'_, Timeline> {
        self.timelines[key.index()].lock().expect("nobody panics holding this")
    }

    fn lock_doubt(&self) -> std::sync::MutexGuard<'_, Doubt> {
        self.doubt.lock().expect("nobody panics holding this")
    }
}

/// The moments at which everything in one answer may have held.
#[derive(Debug, Default)]
struct Shared {
    from: Option<Instant>,
    until: Option<Instant>,
}

impl Shared {
    fn narrow(&mut self, period: Period) {
        self.from = self.from.max(Some(period.from));
        self.until = match (self.until, period.until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn is_empty(&self) -> bool {
        matches!((self.from, self.until), (Some(from), Some(until)) if from > until)
    }
}

/// How long before the read began what it shows was superseded; `None` if that is unknown and does not matter.
fn age(
    timeline: &Timeline,
    seen: &Seen,
    observation: &Observation,
    shared: &mut Shared,
) -> Result<Option<Duration>, Wrong> {
    let mut periods = timeline.periods(|version| seen.shows(version)).filter(|period| period.from <= observation.ended);
    let Some(last) = periods.next_back() else {
        return match (seen, observation.claim) {
            (Seen::Version(version), _) if !timeline.has_forgotten(*version) => Err(Wrong::NeverWritten),
            (_, Claim::Fresh) => Err(Wrong::TooOld { by: None }),
            (_, Claim::Stale) => Ok(None),
        };
    };
    // A version that held twice leaves open which time was seen.
    if periods.next_back().is_none() {
        shared.narrow(last);
    }
    Ok(Some(last.until.map_or(Duration::ZERO, |until| observation.begun.saturating_duration_since(until))))
}

/// C5 holds for marked answers too: a reader with a token would rather have none.
fn meets_token(timeline: &Timeline, seen: &Seen, token: &Token) -> Result<(), Wrong> {
    let Some(floor) = timeline.floor(token) else { return Ok(()) };
    // A phase that was forgotten is not held against anybody; that it is too old is found elsewhere.
    let meets = match seen {
        Seen::Version(version) => *version >= floor,
        Seen::Phase(_) => timeline.periods(|version| seen.shows(version) && version >= floor).next().is_some(),
    };
    if meets { Ok(()) } else { Err(Wrong::BeforeToken { floor }) }
}
