//! Templates and the change feed, step by step in random order: direct writers, a leader that decodes with a delay, a
//! Redis that forgets, and a reader that fills by a template.
//!
//! The network is left out here: what is sent arrives, sooner or later. What is played is who does what first.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use cache_core::clock::Moment;
use cache_core::coherence::{Announcement, Coherence, Epoch, Kind, Position, Seq, Snapshot, Stamp, Trusted};
use cache_core::tag::{SlotCount, Slots, Tag};
use cache_core::template::Edition;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// What keeps an answer of a template true, piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// the announce script refuses who does not know every template
    EditionCheck,
    /// a fill is stamped in the epoch in which its template was registered
    SameEpoch,
    /// a change is announced when every new snapshot sees it (C2)
    VisibleFirst,
}

/// What a run did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Played {
    /// entries that were right in the end, and known to be
    pub kept: u64,
    /// entries that were outdated in the end, and known to be
    pub invalidated: u64,
    /// announcements that were refused
    pub refused: u64,
    /// fills that were begun again because the epoch had changed
    pub begun_again: u64,
}

/// An entry that is outdated, and coherent by all that was announced.
#[derive(Debug)]
pub struct Stale {
    /// replays the run
    pub seed: u64,
    /// every step
    pub steps: Vec<Step>,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: an outdated entry counts as coherent after {:?}", self.seed, self.steps)
    }
}

/// Something that happens in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// a writer's commit is in the log
    Commit,
    /// every new snapshot sees the next commit
    BecomeVisible,
    /// Redis loses its memory
    Forget,
    /// the leader decodes the next commit
    Decode,
    /// the leader reads the templates
    Learn,
    /// the leader announces what it decoded
    Announce,
    /// the reader hears the next announcement
    Hear,
    /// the reader resyncs
    Resync,
    /// the reader goes on with its fill
    Fill,
}

const STEPS: [Step; 9] = [
    Step::Commit,
    Step::BecomeVisible,
    Step::Forget,
    Step::Decode,
    Step::Learn,
    Step::Announce,
    Step::Hear,
    Step::Resync,
    Step::Fill,
];
const COMMITS_MAX: u64 = 4;
const FILLS_MAX: usize = 4;
const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
const SLOTS: u32 = 1_024;

/// The entry's one tag.
fn exact() -> Tag {
    Tag::of_row("t(a=1)")
}

/// The tag of any row.
fn any() -> Tag {
    Tag::named("t(*)")
}

fn slot_count() -> SlotCount {
    SlotCount::new(SLOTS).expect("a power of two within the bounds")
}

#[derive(Debug)]
enum Fill {
    Idle,
    Registered(Epoch),
    Stamped(Stamp),
}

struct Play {
    without: Option<Guard>,
    /// commits in the log; those that are visible; those that the leader decoded; those that it announced
    committed: u64,
    visible: u64,
    decoded: u64,
    announced: u64,
    redis: Redis,
    epochs: u64,
    /// by which templates the leader computes tags, and whether the reader's is among them
    leader: Option<(Edition, bool)>,
    wire: VecDeque<Announcement>,
    reader: Coherence,
    /// the epoch in which the reader knows its template to be registered
    known: Option<Epoch>,
    fill: Fill,
    /// stored answers: the version that they show
    entries: Vec<(Stamp, u64)>,
    played: Played,
}

struct Redis {
    epoch: Epoch,
    seq: u64,
    table: Vec<u64>,
    has_template: bool,
}

impl Redis {
    fn new(epoch: u64) -> Self {
        let epoch = Epoch::from_u64(epoch).expect("epochs count from 1");
        Self { epoch, seq: 0, table: vec![0; SLOTS as usize], has_template: false }
    }

    fn edition(&self) -> Edition {
        Edition { epoch: self.epoch, version: u64::from(self.has_template) }
    }
}

/// Plays one run; then lets everything arrive, and holds what is stored against the truth.
///
/// # Errors
/// If an outdated entry counts as coherent.
pub fn run(seed: u64, without: Option<Guard>) -> Result<Played, Box<Stale>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut play = Play::new(without);
    let mut steps = Vec::new();
    for _ in 0..rng.random_range(20..80) {
        let possible: Vec<Step> = STEPS.into_iter().filter(|step| play.may(*step)).collect();
        let step = possible[rng.random_range(0..possible.len())];
        // Redis forgets rarely, and most steps are worth nothing twice.
        if step == Step::Forget && rng.random_bool(0.8) {
            continue;
        }
        steps.push(step);
        play.step(step);
    }
    play.settle();
    let stale = play.entries.iter().any(|(stamp, version)| {
        let (current, right) = (play.reader.is_current(stamp), *version == play.committed);
        play.played.kept += u64::from(current && right);
        play.played.invalidated += u64::from(!current && !right);
        current && !right
    });
    if stale { Err(Box::new(Stale { seed, steps })) } else { Ok(play.played) }
}

impl Play {
    fn new(without: Option<Guard>) -> Self {
        Self {
            without,
            committed: 0,
            visible: 0,
            decoded: 0,
            announced: 0,
            redis: Redis::new(1),
            epochs: 1,
            leader: None,
            wire: VecDeque::new(),
            reader: Coherence::new(slot_count(), Duration::from_secs(1)),
            known: None,
            fill: Fill::Idle,
            entries: Vec::new(),
            played: Played::default(),
        }
    }

    fn may(&self, step: Step) -> bool {
        match step {
            Step::Commit => self.committed < COMMITS_MAX,
            Step::BecomeVisible => self.visible < self.committed,
            Step::Decode => self.decoded < self.committed,
            Step::Announce => {
                let seen = self.decoded <= self.visible || self.without == Some(Guard::VisibleFirst);
                self.announced < self.decoded && seen && self.leader.is_some()
            }
            Step::Hear => !self.wire.is_empty(),
            Step::Resync => self.reader.epoch() != Some(self.redis.epoch),
            Step::Fill => self.entries.len() < FILLS_MAX,
            Step::Forget | Step::Learn => true,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Commit => self.committed += 1,
            Step::BecomeVisible => self.visible += 1,
            Step::Decode => self.decoded += 1,
            Step::Forget => {
                self.epochs += 1;
                self.redis = Redis::new(self.epochs);
            }
            Step::Learn => self.leader = Some((self.redis.edition(), self.redis.has_template)),
            Step::Announce => self.announce(),
            Step::Hear => {
                let next = self.wire.pop_front().expect("there is one");
                self.reader.apply(&next, NOW);
            }
            Step::Resync => {
                let Redis { epoch, seq, .. } = self.redis;
                let position = Position { epoch, seq: Seq(seq), purged: Seq(0), trusted: Trusted::Yes };
                self.reader.adopt(&Snapshot { position, table: self.redis.table.clone() }, NOW);
            }
            Step::Fill => self.fill(),
        }
    }

    /// As the leader and `announce.lua` do.
    fn announce(&mut self) {
        let (edition, knows) = self.leader.expect("it learned them");
        if edition != self.redis.edition() && self.without != Some(Guard::EditionCheck) {
            self.leader = None;
            self.played.refused += 1;
            return;
        }
        self.redis.seq += 1;
        let tags = std::iter::once(any()).chain(knows.then(exact));
        let slots = Slots::of(tags, slot_count());
        slots.iter().for_each(|slot| self.redis.table[slot as usize] = self.redis.seq);
        self.wire.push_back(Announcement {
            epoch: self.redis.epoch,
            seq: Seq(self.redis.seq),
            kind: Kind::Change,
            slots,
            writes: Default::default(),
        });
        self.announced = self.decoded;
    }

    /// As `TwoTier::register` and `TwoTier::begin_in` do, then the origin read and the store.
    fn fill(&mut self) {
        self.fill = match std::mem::replace(&mut self.fill, Fill::Idle) {
            Fill::Idle if self.known.is_some() && self.known == self.reader.epoch() => {
                Fill::Registered(self.known.expect("it is known"))
            }
            Fill::Idle => {
                self.redis.has_template = true;
                self.known = Some(self.redis.epoch);
                Fill::Registered(self.redis.epoch)
            }
            Fill::Registered(epoch) => {
                let stamp = self.reader.stamp([exact()].into_iter().collect());
                if self.reader.epoch() == Some(epoch) || self.without == Some(Guard::SameEpoch) {
                    Fill::Stamped(stamp)
                } else {
                    self.played.begun_again += 1;
                    Fill::Idle
                }
            }
            Fill::Stamped(stamp) => {
                self.entries.push((stamp, self.visible));
                Fill::Idle
            }
        };
    }

    /// Everything that is under way arrives; nothing new begins.
    fn settle(&mut self) {
        const BEFORE: [Step; 2] = [Step::BecomeVisible, Step::Decode];
        const AFTER: [Step; 2] = [Step::Hear, Step::Resync];
        for step in BEFORE {
            while self.may(step) {
                self.step(step);
            }
        }
        while self.announced < self.decoded {
            if self.leader.is_none() {
                self.step(Step::Learn);
            }
            self.step(Step::Announce);
        }
        for step in AFTER {
            while self.may(step) {
                self.step(step);
            }
        }
    }
}
