//! A lane for each worker: copies of what it is asked for most, so that a hit touches nothing that other workers touch.
//!
//! L1 and the index of questions are shared. To look into them is to move cache lines between processors: those of reference
//! counts, of counters, of moka's notes on what is in demand. A lane has copies of its own and counts by itself. It decides
//! nothing: each copy is judged as the entry in L1 would be, and is gone as soon as L1 holds something else under the key.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    clock::Moment,
    entry::{Entry, Value as _},
    tier::Revision,
};
use http::{HeaderMap, Method};
use parking_lot::{Mutex, MutexGuard};
use xxhash_rust::xxh3::xxh3_64;

use super::question::Question;
use crate::{
    reply::{self, Asked, Head, StoredResponse},
    telemetry::{Hits, Metrics},
};

/// Copies in a lane at most: a power of two. Each has a choice of so many places, which lie on one cache line.
const COPIES_MAX: usize = 8_192;
const WAYS: usize = 4;
/// Bytes of all copies of a lane at most.
const BYTES_MAX: u64 = 32 << 20;
/// A copy is worth its place only if the lane has room for so many of its size.
const FEWEST: usize = 64;
/// Bytes of a copy beside its texts and its body, rounded up: two heads, above all.
const OVERHEAD_BYTES: usize = 1_536;
/// Of so many hits, one is made in L1, which keeps what is in demand and has to see what that is. Such a hit passes the whole
/// stack, and costs twice as much.
const SEEN_ONE_IN: u32 = 64;
/// Places that are looked at for room at most, before a copy is done without.
const LOOKS_MAX: usize = 16;

/// The lanes of a node.
pub(super) struct Lanes(Box<[Apart]>);

/// A lane on cache lines of its own. The lock is that of one worker, so nobody waits for it, except while metrics are read.
#[repr(align(128))]
struct Apart(Mutex<Lane>);

/// What one worker has for itself.
pub(super) struct Lane {
    pub(super) copies: Copies,
    /// what it counted
    pub(super) hits: Hits,
    /// hits until one is audited
    pub(super) until_audit: u32,
    /// the window of [`Distinct`](crate::distinct::Distinct) in which its copies were kept
    window: u64,
}

/// Copies of what it is asked for most.
pub(super) struct Copies {
    places: Box<[Place]>,
    bytes: usize,
    bytes_max: usize,
    /// where room is looked for next
    hand: usize,
    /// hits until one is made in L1
    until_seen: u32,
}

/// Where a copy may be.
#[derive(Default)]
struct Place {
    /// part of the hash of the copy's bytes, so that few are compared that differ
    mark: u32,
    kept: Option<Box<Kept>>,
}

/// A copy of an entry, under the bytes of the request that it answers.
pub(super) struct Kept {
    raw: Box<[u8]>,
    pub(super) question: Arc<Question>,
    pub(super) entry: Arc<Entry<StoredResponse>>,
    pub(super) revision: Revision,
    body: Bytes,
    whole: Option<Head>,
    /// `304 Not Modified`
    unchanged: Option<Head>,
    /// it was asked for since somebody wanted its place
    asked: bool,
}

impl Lanes {
    /// `bytes_max`: of all of them together.
    pub(super) fn new(workers: usize, bytes_max: u64, metrics: &Metrics) -> Self {
        let count = workers.max(1);
        let share = (bytes_max / count as u64).min(BYTES_MAX);
        let bytes_max = usize::try_from(share).unwrap_or(usize::MAX);
        let lane = || Lane { copies: Copies::new(bytes_max), hits: metrics.hits(), until_audit: 0, window: 0 };
        Self((0..count).map(|_| Apart(Mutex::new(lane()))).collect())
    }

    /// The lane of this thread, unless somebody else is in it.
    pub(super) fn mine(&self) -> Option<MutexGuard<'_, Lane>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        let number = MINE.with(|mine| {
            if mine.get() == usize::MAX {
                mine.set(NEXT.fetch_add(1, Relaxed));
            }
            mine.get()
        });
        self.0[number % self.0.len()].0.try_lock()
    }

    /// Adds what the lanes counted by themselves to what all count.
    pub(super) fn settle(&self, metrics: &Metrics) {
        for Apart(lane) in &self.0 {
            metrics.add(&mut lane.lock().hits);
        }
    }
}

impl Lane {
    /// A hit here is noted nowhere. So copies of another window are dropped: what is asked again passes by whoever notes it.
    #[inline]
    pub(super) fn enter(&mut self, window: u64) {
        if self.window != window {
            self.window = window;
            self.copies.clear();
        }
    }
}

impl Copies {
    fn new(bytes_max: usize) -> Self {
        let places = (0..COPIES_MAX).map(|_| Place::default()).collect();
        Self { places, bytes: 0, bytes_max, hand: 0, until_seen: SEEN_ONE_IN }
    }

    /// The copy for these bytes, if there is one and L1 need not see this hit.
    pub(super) fn find(&mut self, raw: &[u8]) -> Option<&mut Kept> {
        let place = self.place_of(raw)?;
        let kept = self.places[place].kept.as_deref_mut()?;
        self.until_seen -= 1;
        if self.until_seen == 0 {
            self.until_seen = SEEN_ONE_IN;
            return None;
        }
        kept.asked = true;
        Some(kept)
    }

    /// Keeps a copy, unless its places belong to those that are asked for more.
    pub(super) fn keep(
        &mut self,
        raw: &[u8],
        question: &Arc<Question>,
        entry: &Arc<Entry<StoredResponse>>,
        revision: Revision,
    ) {
        let bytes = size(raw, entry);
        if bytes > self.bytes_max / FEWEST {
            return;
        }
        let there = self.place_of(raw);
        if let Some(kept) = there.and_then(|place| self.places[place].kept.as_deref())
            && kept.revision == revision
            && Arc::ptr_eq(&kept.entry, entry)
            && Arc::ptr_eq(&kept.question, question)
        {
            return;
        }
        let Some(place) = there.or_else(|| self.place_for(raw)) else { return };
        self.drop_at(place);
        if !self.make_room(bytes) {
            return;
        }
        self.bytes += bytes;
        let kept = Kept {
            raw: raw.into(),
            question: question.clone(),
            entry: entry.clone(),
            revision,
            body: Bytes::copy_from_slice(&entry.value.body()),
            whole: None,
            unchanged: None,
            asked: false,
        };
        self.places[place] = Place { mark: set(raw).1, kept: Some(Box::new(kept)) };
    }

    /// Where the copy for these bytes is.
    fn place_of(&self, raw: &[u8]) -> Option<usize> {
        let (first, mark) = set(raw);
        let is_it = |kept: &Kept| *kept.raw == *raw;
        (first..first + WAYS).find(|place| {
            let place = &self.places[*place];
            place.mark == mark && place.kept.as_deref().is_some_and(is_it)
        })
    }

    /// A place for a copy for these bytes: one that is free, or whose copy nobody asked for since somebody wanted its place.
    fn place_for(&mut self, raw: &[u8]) -> Option<usize> {
        let (first, _) = set(raw);
        let places = first..first + WAYS;
        let free = places.clone().find(|place| self.places[*place].kept.is_none());
        free.or_else(|| places.into_iter().find(|place| self.is_idle(*place)))
    }

    /// Whether nobody asked for the copy at this place since that was last asked of it.
    fn is_idle(&mut self, place: usize) -> bool {
        self.places[place].kept.as_mut().is_some_and(|kept| !std::mem::take(&mut kept.asked))
    }

    /// Drops the copy for these bytes.
    pub(super) fn forget(&mut self, raw: &[u8]) {
        if let Some(place) = self.place_of(raw) {
            self.drop_at(place);
        }
    }

    /// Drops copies that nobody asked for since the hand passed them last, until there is room (CLOCK, Corbató 1968).
    fn make_room(&mut self, bytes: usize) -> bool {
        let mut looks = LOOKS_MAX;
        while self.bytes + bytes > self.bytes_max {
            if looks == 0 {
                return false;
            }
            looks -= 1;
            let place = self.hand;
            self.hand = (place + 1) % COPIES_MAX;
            if self.is_idle(place) {
                self.drop_at(place);
            }
        }
        true
    }

    #[cold]
    fn clear(&mut self) {
        self.places.fill_with(Place::default);
        self.bytes = 0;
    }

    fn drop_at(&mut self, place: usize) {
        if let Some(kept) = self.places[place].kept.take() {
            self.bytes -= size(&kept.raw, &kept.entry);
        }
    }
}

impl Kept {
    /// Head and body of the answer to this request. The head is made anew when a second has passed.
    pub(super) fn answer(
        &mut self,
        method: &Method,
        headers: &HeaderMap,
        ttl: Duration,
        now: Moment,
    ) -> (&Head, Bytes) {
        let Self { question, entry, body, whole, unchanged, .. } = self;
        let (kept, body) =
            if reply::is_unchanged(headers, &entry.value) { (unchanged, Bytes::new()) } else { (whole, body.clone()) };
        if kept.as_ref().is_some_and(|head| !head.holds(entry.age(now), ttl)) {
            *kept = None;
        }
        let asked = Asked { method, headers, location: question.location.as_ref() };
        (kept.get_or_insert_with(|| Head::new(asked, entry, ttl, now)), body)
    }
}

/// What a copy costs beyond what L1 holds anyway, and with what it keeps L1 from freeing.
fn size(raw: &[u8], entry: &Entry<StoredResponse>) -> usize {
    raw.len() + 2 * entry.value.weight() + OVERHEAD_BYTES
}

/// The first of the places that a copy for these bytes may have, and the mark that it has there.
fn set(raw: &[u8]) -> (usize, u32) {
    let hash = xxh3_64(raw);
    #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash are as good as others")]
    let (set, mark) = (hash as usize % (COPIES_MAX / WAYS), (hash >> 32) as u32);
    (set * WAYS, mark)
}
