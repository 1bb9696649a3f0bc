//! The session that reads the outbox: reads, announces, vouches, sweeps; in this order.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use cache_core::{
    cache::TwoTier,
    clock::Moment,
    coherence::{Break, Stream, WriteId},
    template::Templates,
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
        announcer::{Announcer, Decoder, REDIS_AGAIN_AFTER, Told},
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
    announcer: Announcer,
    templates: Known,
    /// what may be swept when it is old enough
    kept: VecDeque<Kept>,
    swept_at: Instant,
}

/// The templates by which tags are written.
#[derive(Default)]
struct Known(TemplateSet);

impl Decoder for Known {
    fn learn(&mut self, templates: &Templates) -> Gained {
        let before = std::mem::replace(&mut self.0, TemplateSet::of(templates));
        self.0.gained(&before)
    }
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
                    reader.announcer.learn(&mut reader.templates).await;
                    return Ok((reader, broken));
                }
                Err(error) => tracing::debug!(%error, "change feed: redis does not answer yet"),
            }
            sleep(REDIS_AGAIN_AFTER).await;
        }
    }

    fn new(parts: Parts, stream: Stream, place: u64, stragglers: BTreeSet<u64>) -> Self {
        Self {
            announcer: Announcer::new(parts.cache.clone(), parts.metrics.clone(), stragglers),
            templates: Known::default(),
            parts,
            stream,
            seen: NOTHING_SEEN.to_owned(),
            place,
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
                    self.announcer.publish(&mut self.templates).await;
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
            () = sleep(REDIS_AGAIN_AFTER), if self.announcer.refused_since().is_some() => Occasion::Again,
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
            && !self.announcer.owes()
        {
            match self.announcer.vouch(&self.stream, sent_at, &mut self.templates).await {
                Told::Yes => proven(sent),
                Told::NotYet => return Ok(()),
                Told::Deposed => return Err(Ended::Deposed),
            }
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
        self.announcer.settle(&batch.snapshot);
        let Batch { seen, marks, covers, records, .. } = batch;
        let times: Vec<SystemTime> = records.iter().map(|record| record.recorded_at).collect();
        let writes: Vec<WriteId> = records.iter().filter_map(|record| record.write).collect();
        let recorded = records.into_iter().map(|record| record.what);
        self.announcer.owe(changes(recorded, &self.parts.kin, &self.templates.0), writes);
        self.seen = seen;
        // The log was there before this snapshot was taken: what is swept of an older one, this one saw.
        self.stream.at = self.stream.at.max(self.place);
        self.place = marks.place;
        if self.announcer.publish(&mut self.templates).await {
            let age = |at: SystemTime| SystemTime::now().duration_since(at).unwrap_or_default();
            times.into_iter().for_each(|at| self.parts.metrics.announce_delay(age(at)));
        }
        Ok(covers)
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
