//! How many different keys are asked for, and by how many different users: table by table, over all nodes, in windows of time.
//!
//! Nothing is counted per request. Whoever asks has a question, which is kept for all who ask in the same bytes, and each is noted
//! once in a window; the notes go to Redis a few seconds later, many at once. A hit only looks whether that was done.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
    time::Duration,
};

use cache_core::{
    clock::Clock,
    error::RedisError,
    key::CacheKey,
    state::{
        Keyspace, Name,
        cardinality::{Cardinality, CardinalityError, ITEMS_MAX},
    },
};
use futures_util::future::try_join_all;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{sync::Notify, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use xxhash_rust::xxh3::xxh3_64;

use crate::{auth::Principal, rest::TableId};

/// Notes stay here so long before they are sent to Redis.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Notes that wait at most; beyond that keys are not counted, and how many is told.
const NOTES_MAX: usize = 65_536;
/// Counters live longer than the window after theirs, to which they are compared.
const KEPT_LONGER: Duration = Duration::from_secs(3_600);
/// Tables of which the counters are read at once.
const READ_AT_ONCE: usize = 64;

/// What a question counts as.
pub(crate) struct Asked {
    key: u64,
    user: u64,
    /// the window in which it was noted
    noted_in: AtomicU64,
}

/// Counts, unless it is switched off or there is no Redis.
pub(crate) struct Distinct {
    counting: Option<Arc<Counting>>,
    /// flushes; started with the first flush that is needed
    worker: OnceLock<AbortOnDropHandle<()>>,
}

struct Counting {
    keys: Cardinality,
    users: Cardinality,
    length: Duration,
    /// the number of this window: it began so many lengths after 1970
    window: Apart,
    notes: Mutex<Notes>,
    /// whether there is no room for more: known without waiting for the lock
    is_full: AtomicBool,
    due: Notify,
    dropped: AtomicU64,
}

/// On a cache line of its own: every hit reads it, and notes are written beside it.
#[repr(align(128))]
struct Apart(AtomicU64);

#[derive(Default)]
struct Notes {
    tables: HashMap<TableId, Noted>,
    count: usize,
}

/// By their hashes.
#[derive(Default)]
struct Noted {
    keys: HashSet<u64>,
    users: HashSet<u64>,
}

/// How many there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// how long a window is; zero if nothing is counted
    pub(crate) window: Duration,
    /// when this one began, after 1970
    pub(crate) since: Duration,
    /// questions that this node did not count since it started, because too many were new at once
    pub(crate) dropped: u64,
    /// of the tables that were asked for
    pub(crate) tables: Vec<TableReport>,
}

/// How many there were of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableReport {
    pub(crate) table: TableId,
    pub(crate) now: Counts,
    /// in the window before
    pub(crate) before: Counts,
}

/// Off by 0.81 %, as standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) keys: u64,
    pub(crate) users: u64,
}

impl Asked {
    /// A key, asked for by a user: a role, and the `sub` of a token.
    pub(crate) fn new(key: &CacheKey, principal: &Principal) -> Self {
        #[derive(Deserialize)]
        struct Subject<'c> {
            #[serde(borrow)]
            sub: Option<&'c RawValue>,
        }
        let subject: Option<Subject<'_>> = serde_json::from_str(&principal.claims).ok();
        let subject = subject.and_then(|subject| subject.sub).map_or("", RawValue::get);
        let role = principal.role.as_deref().unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, reason = "half of a digest is as good a hash as any")]
        let key = key.digest() as u64;
        Self { key, user: xxh3_64(format!("{role}\n{subject}").as_bytes()), noted_in: AtomicU64::new(0) }
    }
}

impl Distinct {
    /// Counts in windows of this length; not at all if it is zero, or there is no Redis.
    pub(crate) fn new(keys: Option<&Keyspace>, length: Duration) -> Self {
        let counting = keys.filter(|_| !length.is_zero()).map(|keys| {
            Arc::new(Counting {
                keys: Cardinality::under(keys.clone(), "asked:keys"),
                users: Cardinality::under(keys.clone(), "asked:users"),
                length,
                window: Apart(AtomicU64::new(number_of(length))),
                notes: Mutex::default(),
                is_full: AtomicBool::new(false),
                due: Notify::new(),
                dropped: AtomicU64::new(0),
            })
        });
        Self { counting, worker: OnceLock::new() }
    }

    /// Starts to send notes to Redis. To be called once, within a tokio runtime.
    pub(crate) fn start(&self) {
        if let Some(counting) = &self.counting {
            self.worker.get_or_init(|| AbortOnDropHandle::new(tokio::spawn(work(counting.clone()))));
        }
    }

    /// The number of this window: who noted something in another one notes it again. 0: nothing is noted.
    #[inline]
    pub(crate) fn window(&self) -> u64 {
        self.counting.as_ref().map_or(0, |counting| counting.window.0.load(Relaxed))
    }

    /// Notes what is asked of this table, once in a window.
    #[inline]
    pub(crate) fn note(&self, table: &TableId, asked: &Asked) {
        if let Some(counting) = &self.counting {
            let window = counting.window.0.load(Relaxed);
            if asked.noted_in.load(Relaxed) != window {
                counting.note(table, asked, window);
            }
        }
    }

    /// What was counted of these tables.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn report(&self, tables: &[TableId]) -> Result<Report, RedisError> {
        let Some(counting) = &self.counting else {
            return Ok(Report { window: Duration::ZERO, since: Duration::ZERO, dropped: 0, tables: Vec::new() });
        };
        // Else what was asked a moment ago would be missing.
        counting.flush().await?;
        let window = counting.window.0.load(Relaxed);
        let mut reports = Vec::new();
        for tables in tables.chunks(READ_AT_ONCE) {
            reports.extend(try_join_all(tables.iter().map(|table| counting.report(table, window))).await?);
        }
        reports.retain(|report| report.now != Counts::default() || report.before != Counts::default());
        Ok(Report {
            window: counting.length,
            since: counting.began(window),
            dropped: counting.dropped.load(Relaxed),
            tables: reports,
        })
    }

    /// Sends what is left.
    pub(crate) async fn finish(&self) {
        if let Some(counting) = &self.counting {
            // Without Redis it is lost, as all that this node would have noted.
            drop(counting.flush().await);
        }
    }
}

impl Counting {
    #[cold]
    fn note(&self, table: &TableId, asked: &Asked, window: u64) {
        if self.is_full.load(Relaxed) {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        asked.noted_in.store(window, Relaxed);
        let mut notes = self.notes.lock();
        notes.add(table, &[asked.key], &[asked.user]);
        if notes.count >= NOTES_MAX && !self.is_full.swap(true, AcqRel) {
            self.due.notify_one();
        }
    }

    /// Sends all notes to the counters of this window. What Redis does not take waits on.
    async fn flush(&self) -> Result<(), RedisError> {
        let window = self.window.0.load(Relaxed);
        let Notes { tables, .. } = std::mem::take(&mut *self.notes.lock());
        self.is_full.store(false, Relaxed);
        let mut tables = tables.into_iter();
        while let Some((table, noted)) = tables.next() {
            if let Err(error) = self.send(&table, &noted, window).await {
                let mut notes = self.notes.lock();
                for (table, noted) in std::iter::once((table, noted)).chain(tables) {
                    notes.put_back(&table, noted);
                }
                self.is_full.store(notes.count >= NOTES_MAX, Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn send(&self, table: &TableId, noted: &Noted, window: u64) -> Result<(), RedisError> {
        let name = self.name(table, window);
        let ttl = Some(self.length * 2 + KEPT_LONGER);
        for (counter, hashes) in [(&self.keys, &noted.keys), (&self.users, &noted.users)] {
            let items: Vec<[u8; 8]> = hashes.iter().map(|hash| hash.to_le_bytes()).collect();
            for items in items.chunks(ITEMS_MAX) {
                counter.add(&name, items, ttl).await.map_err(of_redis)?;
            }
        }
        Ok(())
    }

    async fn report(&self, table: &TableId, window: u64) -> Result<TableReport, RedisError> {
        let counts = async |window| {
            let name = [self.name(table, window)];
            let (keys, users) = tokio::try_join!(self.keys.count(&name), self.users.count(&name)).map_err(of_redis)?;
            Ok::<_, RedisError>(Counts { keys, users })
        };
        let (now, before) = tokio::try_join!(counts(window), counts(window.saturating_sub(1)))?;
        Ok(TableReport { table: table.clone(), now, before })
    }

    fn name(&self, table: &TableId, window: u64) -> Name {
        Name::or_hash(&format!("{table}/{}", self.began(window).as_secs()))
    }

    /// When a window began, after 1970.
    fn began(&self, window: u64) -> Duration {
        Duration::from_millis(window.saturating_mul(millis(self.length)))
    }
}

impl Notes {
    fn add(&mut self, table: &TableId, keys: &[u64], users: &[u64]) {
        if !self.tables.contains_key(table) {
            self.tables.insert(table.clone(), Noted::default());
        }
        let Some(noted) = self.tables.get_mut(table) else { return };
        let new = |set: &mut HashSet<u64>, hashes: &[u64]| hashes.iter().filter(|hash| set.insert(**hash)).count();
        self.count += new(&mut noted.keys, keys) + new(&mut noted.users, users);
    }

    fn put_back(&mut self, table: &TableId, Noted { keys, users }: Noted) {
        let (keys, users): (Vec<u64>, Vec<u64>) = (keys.into_iter().collect(), users.into_iter().collect());
        self.add(table, &keys, &users);
    }
}

/// Sends notes, and begins windows, until it is aborted.
async fn work(counting: Arc<Counting>) {
    loop {
        // Sooner if there is no room for more.
        drop(timeout(FLUSH_EVERY, counting.due.notified()).await);
        if let Err(error) = counting.flush().await {
            tracing::debug!(%error, "what was asked for is counted later");
        }
        // After what was noted in the last one was sent.
        counting.window.0.store(number_of(counting.length), Relaxed);
    }
}

fn number_of(length: Duration) -> u64 {
    // A window is never 0, which is what questions begin with.
    (Clock::start().wall().0 / millis(length)).max(1)
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn of_redis(error: CardinalityError) -> RedisError {
    match error {
        CardinalityError::Redis(error) => error,
        CardinalityError::Items(_) | CardinalityError::Counters(_) => RedisError::Protocol(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::NEVER, rest::Caller};

    fn asked(role: &str, claims: &str) -> Asked {
        let principal = Principal {
            role: Some(role.into()),
            claims: claims.into(),
            expires: NEVER,
            caller: Caller::Anonymous,
            issued: None,
        };
        Asked::new(&CacheKey::new(*b"key"), &principal)
    }

    #[test]
    fn a_user_is_a_role_and_a_subject() {
        let alice = asked("clerk", "{\"role\":\"clerk\",\"sub\":\"alice\",\"exp\":1}").user;
        assert_eq!(asked("clerk", "{\"sub\":\"alice\",\"exp\":2}").user, alice, "another token of hers");
        assert_ne!(asked("clerk", "{\"sub\":\"bob\"}").user, alice);
        assert_ne!(asked("chief", "{\"sub\":\"alice\"}").user, alice);
        assert_eq!(asked("web", "").user, asked("web", "{}").user);
    }

    #[test]
    fn notes_are_counted_once_and_kept_when_they_come_back() {
        let (mut notes, table) = (Notes::default(), TableId { schema: "public".into(), name: "t".into() });
        notes.add(&table, &[1, 2, 2], &[7]);
        notes.add(&table, &[1, 3], &[7]);
        assert_eq!(notes.count, 4);
        let Notes { tables, .. } = std::mem::take(&mut notes);
        notes.add(&table, &[3, 4], &[8]);
        tables.into_iter().for_each(|(table, noted)| notes.put_back(&table, noted));
        assert_eq!((notes.count, notes.tables[&table].keys.len()), (6, 4));
    }

    #[test]
    fn nothing_is_counted_if_it_is_switched_off() {
        let distinct = Distinct::new(None, Duration::from_secs(60));
        assert_eq!(distinct.window(), 0);
        distinct.note(&TableId { schema: "public".into(), name: "t".into() }, &asked("web", ""));
    }
}
