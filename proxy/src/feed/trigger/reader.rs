//! The session that reads the outbox: reads, announces, vouches, sweeps; in this order.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use cache_core::{
    cache::TwoTier,
    clock::Moment,
    coherence::{Break, Kind, SentAt, Settled, Stream, Vouched},
    error::RedisError,
    outcome::Source,
    template::{Edition, Published},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use super::{
    Ended,
    changes::changes,
    coverage::Kin,
    line::Line,
    outbox::{self, Batch, NOTHING_SEEN, Recording, Versioned},
};
use crate::{
    feed::{
        changed::Changed,
        snapshot::Snapshot,
        templates::{Gained, TemplateSet},
    },
    reply::StoredResponse,
    telemetry::Metrics,
};

/// The longest pause between two heartbeats, however long an answer may be stale: a leader that is not heard of for two
/// seconds is deposed.
const BEAT_MAX: Duration = Duration::from_millis(500);
/// Pause after a read that somebody's NOTIFY brought about: what is recorded meanwhile is read at once.
const AFTER_WAKE: Duration = Duration::from_millis(2);
/// Tags of rows that what is owed may hold; beyond, whole tables changed.
const TAGS_MAX: usize = 262_144;
/// Editions of the templates that an announcement is made for, one after the other, before the round ends without it.
const EDITIONS_MAX: usize = 8;
/// Pause before a Redis that does not answer is asked again.
const REDIS_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How often to sweep.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// For so long what was seen is kept for other readers, and for the next leader.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// What a session is made of.
pub(super) struct Parts {
    pub(super) line: Line,
    pub(super) cache: Arc<TwoTier<StoredResponse>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) kin: Kin,
    /// which history of which database, and what of it is covered
    pub(super) database: String,
    pub(super) covers: String,
}

/// A reader at work.
pub(super) struct Reader {
    parts: Parts,
    /// with the place from which on it has to see what is swept before it is
    stream: Stream,
    /// its last snapshot
    seen: String,
    /// where the log ended when it had been taken
    place: u64,
    /// what was read and not announced yet
    owed: Changed,
    /// the templates by which tags are written, and the edition of them that is the newest, as far as is known
    templates: TemplateSet,
    edition: Option<Edition>,
    /// transactions that were open when the epoch began: they may have recorded nothing
    stragglers: BTreeSet<u64>,
    /// whether Redis takes what is announced
    redis: Taking,
    /// what may be swept when it is old enough
    kept: VecDeque<Kept>,
    swept_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    Yes,
    No,
}

/// A snapshot of which everything is announced.
struct Kept {
    since: Instant,
    seen: String,
    place: u64,
}

/// Why a round is made.
#[derive(Clone, Copy)]
enum Occasion {
    /// a heartbeat is due
    Beat,
    /// something was recorded
    Woken,
    /// Redis is to be asked again
    Again,
}

impl Reader {
    /// Takes the lead. Says whether it continues what was announced before.
    pub(super) async fn take_over(parts: Parts) -> Result<(Self, Option<Break>), Ended> {
        loop {
            // Before the epoch, in this order: whoever reads under it sees what was over by now, and what was not is waited for.
            let marks = outbox::marks(&parts.line).await?;
            let open: BTreeSet<u64> = outbox::snapshot(&parts.line).await?.running().collect();
            let stream = Stream {
                session: format!("{:016x}", rand::random::<u64>()),
                database: parts.database.clone(),
                covers: parts.covers.clone(),
                at: marks.swept + 1,
            };
            match parts.cache.backplane().adopt(&stream, parts.cache.clock().now()).await {
                Ok(broken) => {
                    let stragglers = if broken.is_some() { open } else { BTreeSet::new() };
                    let mut reader = Self::new(parts, stream, marks.place, stragglers);
                    // If Redis does not answer, they are learned with the first announcement.
                    drop(reader.learn().await);
                    return Ok((reader, broken));
                }
                Err(error) => tracing::debug!(%error, "change feed: redis does not answer yet"),
            }
            sleep(REDIS_AGAIN_AFTER).await;
        }
    }

    fn new(parts: Parts, stream: Stream, place: u64, stragglers: BTreeSet<u64>) -> Self {
        Self {
            parts,
            stream,
            seen: NOTHING_SEEN.to_owned(),
            place,
            owed: Changed::nothing(),
            templates: TemplateSet::default(),
            edition: None,
            stragglers,
            redis: Taking::Yes,
            kept: VecDeque::new(),
            swept_at: Instant::now(),
        }
    }

    /// Reads until something breaks. `proven` hears when it vouched, and for which moment by this node's clock.
    pub(super) async fn lead(&mut self, proven: impl Fn(Moment)) -> Ended {
        let mut beats = interval((self.parts.cache.coherence().max_staleness() / 8).min(BEAT_MAX));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let round = match self.occasion(&mut beats).await {
                Occasion::Beat => self.beat(&proven).await,
                Occasion::Woken => self.read_and_publish(Versioned::No).await.map(drop),
                Occasion::Again => {
                    self.publish().await;
                    Ok(())
                }
            };
            if let Err(ended) = round {
                return ended;
            }
        }
    }

    async fn occasion(&self, beats: &mut Interval) -> Occasion {
        tokio::select! {
            // Proofs first: a database that is never at rest must not keep them from being given.
            biased;
            _ = beats.tick() => Occasion::Beat,
            () = sleep(REDIS_AGAIN_AFTER), if self.redis == Taking::No => Occasion::Again,
            () = self.woken() => Occasion::Woken,
        }
    }

    async fn woken(&self) {
        self.parts.line.woken().await;
        sleep(AFTER_WAKE).await;
    }

    /// Everything that anybody could see when the time was taken is in the snapshot that follows. Once it is announced, that
    /// moment is vouched for.
    async fn beat(&mut self, proven: &impl Fn(Moment)) -> Result<(), Ended> {
        let sent = self.parts.cache.clock().now();
        let sent_at = self.parts.cache.backplane().sent_at(sent).await;
        let recording = outbox::recording(&self.parts.line).await?;
        let Recording::All { count } = recording else { return Err(Ended::Stopped) };
        let covers = self.read_and_publish(Versioned::Yes).await?;
        if covers != self.stream.covers {
            return Err(Ended::Coverage);
        }
        if let Ok(sent_at) = sent_at
            && self.owed.is_nothing()
        {
            self.vouch(sent_at, sent, proven).await?;
            self.sweep(count).await?;
        }
        Ok(())
    }

    /// Reads what is new, and tries to announce it. Returns the version of what is covered, if that was asked for.
    async fn read_and_publish(&mut self, versioned: Versioned) -> Result<String, Ended> {
        let batch = outbox::read(&self.parts.line, &self.seen, versioned).await?;
        if batch.marks.swept >= self.stream.at {
            return Err(Ended::Swept);
        }
        self.settle(&batch.snapshot);
        let Batch { seen, marks, covers, records, .. } = batch;
        let times: Vec<SystemTime> = records.iter().map(|record| record.recorded_at).collect();
        self.owed.merge(changes(records, &self.parts.kin, &self.templates));
        self.seen = seen;
        // The log was there before this snapshot was taken: what is swept of an older one, this one saw.
        self.stream.at = self.stream.at.max(self.place);
        self.place = marks.place;
        if self.publish().await {
            let age = |at: SystemTime| SystemTime::now().duration_since(at).unwrap_or_default();
            times.into_iter().for_each(|at| self.parts.metrics.announce_delay(age(at)));
        }
        Ok(covers)
    }

    /// What was open when the epoch began may have recorded nothing, because the recording had stopped.
    fn settle(&mut self, snapshot: &Snapshot) {
        let before = self.stragglers.len();
        self.stragglers.retain(|xid| snapshot.is_open(*xid));
        if self.stragglers.len() < before {
            self.owed = Changed::Everything;
        }
    }

    /// Whether nothing is owed any more.
    async fn publish(&mut self) -> bool {
        if self.owed.is_nothing() {
            return true;
        }
        match self.announce_owed().await {
            Ok(true) => {
                self.owed = Changed::nothing();
                self.redis = Taking::Yes;
                self.parts.metrics.announced(Source::Feed);
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.refused(&error);
                false
            }
        }
    }

    /// Announces what is owed by the newest templates; false if there were newer ones each time.
    async fn announce_owed(&mut self) -> Result<bool, RedisError> {
        if self.owed.size() > TAGS_MAX {
            self.owed.coarsen(&Gained::All);
        }
        for _ in 0..EDITIONS_MAX {
            let Some(edition) = self.edition else {
                self.learn().await?;
                continue;
            };
            match self.parts.cache.publish_knowing(self.owed.tags(), Kind::Change, edition, &[]).await? {
                Published::Yes(_) => return Ok(true),
                Published::Outdated => self.edition = None,
            }
        }
        Ok(false)
    }

    /// Reads the templates again. The tags of new ones were not written for what was read so far.
    async fn learn(&mut self) -> Result<(), RedisError> {
        let templates = self.parts.cache.templates().await?;
        let set = TemplateSet::of(&templates);
        self.owed.coarsen(&set.gained(&self.templates));
        self.templates = set;
        self.edition = Some(templates.edition);
        Ok(())
    }

    async fn vouch(&mut self, beat: SentAt, sent: Moment, proven: &impl Fn(Moment)) -> Result<(), Ended> {
        let settled = if self.stragglers.is_empty() { Settled::Yes } else { Settled::NotYet };
        match self.parts.cache.backplane().vouch(&self.stream, beat, settled).await {
            Ok(Vouched::Yes) => {
                self.redis = Taking::Yes;
                proven(sent);
                // Else the first change after a new template counts as one of the whole table.
                if let Err(error) = self.learn().await {
                    self.refused(&error);
                }
                Ok(())
            }
            Ok(Vouched::Deposed) => Err(Ended::Deposed),
            Err(error) => {
                self.refused(&error);
                Ok(())
            }
        }
    }

    fn refused(&mut self, error: &RedisError) {
        if self.redis == Taking::Yes {
            tracing::warn!(%error, "change feed: redis does not take announcements");
            self.redis = Taking::No;
        }
    }

    /// Deletes what every reader has had the time to see. Only what this one announced, and only if the log has moved on since,
    /// for long enough that the others know: by that they tell that they saw it.
    async fn sweep(&mut self, count: i64) -> Result<(), Ended> {
        if self.swept_at.elapsed() < SWEEP_EVERY {
            return Ok(());
        }
        self.swept_at = Instant::now();
        self.kept.push_back(Kept { since: self.swept_at, seen: self.seen.clone(), place: self.place });
        let known = self.kept.iter().rev().find(|kept| kept.since.elapsed() >= SWEEP_EVERY).map(|kept| kept.place);
        let is_due = |kept: &Kept| kept.since.elapsed() >= KEPT_FOR && Some(kept.place) < known;
        let due = self.kept.iter().take_while(|kept| is_due(kept)).count();
        if let Some(kept) = self.kept.drain(..due).next_back() {
            outbox::sweep(&self.parts.line, &kept.seen, kept.place, count).await?;
        }
        // While the log stands still there is nothing new to keep.
        let needed = usize::try_from(KEPT_FOR.as_secs() / SWEEP_EVERY.as_secs()).unwrap_or(usize::MAX) + 2;
        while self.kept.len() > needed {
            self.kept.pop_front();
        }
        Ok(())
    }
}
