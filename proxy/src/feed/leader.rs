//! The session that leads: decodes, waits until what it decoded is visible, announces, vouches, acknowledges; in this order.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cache_core::{
    cache::TwoTier,
    clock::Moment,
    coherence::{Break, Kind, Settled, Stream, Vouched},
    error::RedisError,
    outcome::Source,
    template::{Edition, Published},
};
use futures_util::FutureExt;
use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationEvent};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_postgres::Client;

use super::{
    changed::Changed,
    heart::{self, Beat},
    lineage::Lineage,
    pace::Pace,
    snapshot::{SNAPSHOT_SQL, Snapshot},
    templates::{Gained, TemplateSet},
    transactions::{Commit, Transactions},
};
use crate::{origin::describe, reply::StoredResponse, telemetry::Metrics};

/// Commits that were decoded and cannot be seen by everybody yet, at most; behind them waits the stream.
const PENDING_MAX: usize = 4_096;
/// Tags of rows that these commits, or those that are owed, may hold together; beyond, they changed whole tables.
const TAGS_MAX: usize = 1_048_576;
/// Editions of the templates that an announcement is made for, one after the other, before the round ends without it.
const EDITIONS_MAX: usize = 8;
/// Messages taken from the stream before what they brought is announced.
const ROUND_MAX: usize = 4_096;
/// Pause before a commit that is not visible, or a Redis that does not answer, is asked about again.
const AGAIN_AFTER: Duration = Duration::from_millis(2);
const REDIS_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// A stream that brings nothing for so long, not even heartbeats, is broken, whatever the socket says.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// For so long a Redis that does not answer may make the server keep its log. After that the log is given up: should this
/// session end before Redis answers, whoever leads next finds the slot ahead of what was announced, and begins a new epoch.
const REDIS_PATIENCE: Duration = Duration::from_secs(10);

/// Seconds from the Unix epoch to that of Postgres.
const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);

/// What a session is made of.
pub(super) struct Parts {
    pub(super) stream: ReplicationClient,
    pub(super) control: Arc<Client>,
    pub(super) cache: Arc<TwoTier<StoredResponse>>,
    pub(super) metrics: Arc<Metrics>,
    /// where the stream begins
    pub(super) begins: Stream,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// the replication connection
    #[error("the change stream ended: {0}")]
    Stream(String),
    /// an ordinary one
    #[error("{0}")]
    Postgres(String),
    /// heartbeats stopped
    #[error("no heartbeat can be written: {0}")]
    Heart(String),
    /// nothing came for too long
    #[error("the change stream brought nothing for {SILENCE_MAX:?}")]
    Silence,
    /// the publication is not what it was
    #[error("the publication was changed")]
    Publication,
    /// another session leads
    #[error("another node leads now")]
    Deposed,
}

impl From<tokio_postgres::Error> for Ended {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(describe(&error))
    }
}

impl From<PgWireError> for Ended {
    fn from(error: PgWireError) -> Self {
        Self::Stream(error.to_string())
    }
}

/// A commit that waits until everybody can see it.
struct Pending {
    commit: Commit,
    /// where the stream stood before it
    before: u64,
}

/// A leader at work.
pub(super) struct Leader {
    parts: Parts,
    beats: JoinHandle<String>,
    transactions: Transactions,
    pending: VecDeque<Pending>,
    /// how many tags of rows they hold
    pending_tags: usize,
    /// where the stream stands
    read: u64,
    /// the newest heartbeat that came back and was not passed on yet
    beat: Option<Beat>,
    /// what is visible and was not announced yet
    owed: Changed,
    /// the templates by which tags are written; `None` if there are others by now
    edition: Option<Edition>,
    /// whether it keeps up with the log
    pace: Pace,
    /// transactions that were open when the epoch began: their commits may lie before the stream
    stragglers: BTreeSet<u64>,
    /// since when Redis does not take anything
    refused_since: Option<Instant>,
    heard_at: Instant,
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.beats.abort();
        self.parts.metrics.feed_keeps_up();
    }
}

impl Leader {
    /// Takes the lead of an open stream. Says whether it continues what was announced before.
    pub(super) async fn take_over(parts: Parts, heart: Client) -> Result<(Self, Option<Break>), Ended> {
        let Parts { cache, begins, control, .. } = &parts;
        // Before the epoch: whoever reads under it sees what was over by now, and what was not is waited for.
        let open: BTreeSet<u64> = snapshot(control).await?.running().collect();
        let broken = loop {
            match cache.backplane().adopt(begins, cache.clock().now()).await {
                Ok(broken) => break broken,
                Err(error) => {
                    tracing::debug!(%error, "change feed: redis does not answer yet");
                    sleep(REDIS_AGAIN_AFTER).await;
                }
            }
            if control.is_closed() {
                return Err(Ended::Postgres("connection closed".to_owned()));
            }
        };
        let stragglers = if broken.is_some() { open } else { BTreeSet::new() };
        let mut leader = Self::new(parts, heart, stragglers);
        // If Redis does not answer, they are learned with the first announcement.
        drop(leader.learn().await);
        Ok((leader, broken))
    }

    /// `heart` is a connection of its own: a heartbeat that waits for the disk must not hold up an announcement.
    fn new(parts: Parts, heart: Client, stragglers: BTreeSet<u64>) -> Self {
        let beats = tokio::spawn(heart::run(heart, parts.cache.clone(), parts.begins.session.clone()));
        Self {
            read: parts.begins.at,
            parts,
            beats,
            transactions: Transactions::default(),
            pending: VecDeque::new(),
            pending_tags: 0,
            beat: None,
            owed: Changed::nothing(),
            edition: None,
            pace: Pace::default(),
            stragglers,
            refused_since: None,
            heard_at: Instant::now(),
        }
    }

    /// Leads until something breaks. `proven` hears when a heartbeat was passed on, and when that was sent by this node's
    /// clock.
    pub(super) async fn lead(&mut self, proven: impl Fn(Moment)) -> Ended {
        loop {
            if let Err(ended) = self.round(&proven).await {
                return ended;
            }
        }
    }

    async fn round(&mut self, proven: &impl Fn(Moment)) -> Result<(), Ended> {
        let room = self.pending.len() < PENDING_MAX;
        let again = self.again_after();
        tokio::select! {
            beats = &mut self.beats => return Err(Ended::Heart(beats.unwrap_or_else(|error| error.to_string()))),
            event = self.parts.stream.recv(), if room => {
                self.take(event?).await?;
                self.take_what_is_there().await?;
            }
            () = sleep(again.unwrap_or_default()), if again.is_some() => {}
            () = sleep_until(self.heard_at + SILENCE_MAX), if room => return Err(Ended::Silence),
        }
        self.announce(proven).await
    }

    /// When to try again what could not be done.
    fn again_after(&self) -> Option<Duration> {
        if self.refused_since.is_some() {
            return Some(REDIS_AGAIN_AFTER);
        }
        (!self.pending.is_empty() || !self.owed.is_nothing()).then_some(AGAIN_AFTER)
    }

    /// Takes what waits in the channel, so that one question to Postgres and one to Redis serve all of it.
    async fn take_what_is_there(&mut self) -> Result<(), Ended> {
        for _ in 0..ROUND_MAX {
            if self.pending.len() >= PENDING_MAX {
                break;
            }
            let Some(event) = self.parts.stream.recv().now_or_never() else { break };
            self.take(event?).await?;
        }
        Ok(())
    }

    async fn take(&mut self, event: Option<ReplicationEvent>) -> Result<(), Ended> {
        self.heard_at = Instant::now();
        match event.ok_or_else(|| Ended::Stream("the server closed it".to_owned()))? {
            ReplicationEvent::Begin { xid, .. } => self.transactions.begin(xid),
            ReplicationEvent::XLogData { data, .. } => {
                self.transactions.message(&data).map_err(|error| Ended::Stream(error.to_string()))?;
                for relation in self.transactions.strangers() {
                    let lineage = Lineage::load(&self.parts.control, relation).await?;
                    self.transactions.lineage(relation, lineage);
                }
            }
            ReplicationEvent::Commit { end_lsn, commit_time_micros, .. } => {
                self.commit(end_lsn.as_u64(), commit_time_micros);
            }
            ReplicationEvent::Message { transactional, lsn, prefix, content } => {
                if let Some(beat) = heart::parse(&prefix, &content, &self.parts.begins.session) {
                    self.keep_pace(self.parts.cache.clock().now().since(beat.sent));
                    self.beat = Some(beat);
                }
                if !transactional {
                    self.read = self.read.max(lsn.as_u64());
                }
            }
            // Between two transactions whatever lies before this was sent.
            ReplicationEvent::KeepAlive { wal_end, .. } if !self.transactions.is_open() => {
                self.read = self.read.max(wal_end.as_u64());
            }
            ReplicationEvent::KeepAlive { .. } | ReplicationEvent::StoppedAt { .. } => {}
        }
        Ok(())
    }

    /// A heartbeat of this age came back.
    fn keep_pace(&mut self, age: Duration) {
        let pace = self.pace.after(age);
        if pace == self.pace {
            return;
        }
        self.pace = pace;
        match pace {
            Pace::Coarse => {
                tracing::warn!(behind = ?age, "change feed: behind the log; announcing whole tables until it is read");
                self.parts.metrics.feed_falls_behind();
            }
            Pace::Exact => {
                tracing::info!("change feed: the log is read; announcing rows again");
                self.parts.metrics.feed_keeps_up();
            }
        }
        // To be learned anew, now that they count, or count no more.
        self.edition = None;
    }

    fn commit(&mut self, end: u64, committed_at: i64) {
        let before = self.read;
        self.read = self.read.max(end);
        if let Some(mut commit) = self.transactions.commit(end, committed_at)
            && !commit.changed.is_nothing()
        {
            self.pending_tags += commit.changed.size();
            if self.pending_tags > TAGS_MAX {
                self.pending_tags -= commit.changed.size();
                commit.changed.coarsen(&Gained::All);
            }
            self.pending.push_back(Pending { commit, before });
        }
    }

    /// Announces what everybody can see, passes the heartbeat on, acknowledges.
    ///
    /// The snapshot is younger than the heartbeat: a commit that it does not see was not visible when the heartbeat was
    /// sent either. So the heartbeat counts although such a commit has to wait.
    async fn announce(&mut self, proven: &impl Fn(Moment)) -> Result<(), Ended> {
        let mut visible = Vec::new();
        if !self.pending.is_empty() || !self.stragglers.is_empty() {
            let snapshot = snapshot(&self.parts.control).await?;
            self.settle(&snapshot);
            let (seen, waiting) = self.pending.drain(..).partition(|pending| snapshot.sees(pending.commit.xid));
            self.pending = waiting;
            visible = Vec::<Pending>::from(seen);
            self.pending_tags = self.pending.iter().map(|pending| pending.commit.changed.size()).sum();
        }
        let times: Vec<i64> = visible.iter().map(|pending| pending.commit.committed_at).collect();
        visible.into_iter().for_each(|pending| self.owed.merge(pending.commit.changed));
        let announced_to = self.pending.front().map_or(self.read, |pending| pending.before);
        if self.publish().await {
            times.into_iter().for_each(|at| self.parts.metrics.announce_delay(since(at)));
            self.vouch(announced_to, proven).await?;
        }
        if self.refused_since.is_some_and(|since| since.elapsed() > REDIS_PATIENCE) {
            self.parts.stream.update_applied_lsn(Lsn::from_u64(announced_to));
        }
        Ok(())
    }

    /// What was open when the epoch began may have committed before the stream did, and is not heard of.
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
                self.refused_since = None;
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

    /// Reads the templates again. The tags of new ones were not written for what was decoded so far.
    async fn learn(&mut self) -> Result<(), RedisError> {
        let templates = self.parts.cache.templates().await?;
        let set = match self.pace {
            Pace::Exact => TemplateSet::of(&templates),
            Pace::Coarse => TemplateSet::unknown(),
        };
        let gained = set.gained(self.transactions.templates());
        self.owed.coarsen(&gained);
        self.pending.iter_mut().for_each(|pending| pending.commit.changed.coarsen(&gained));
        self.transactions.learn(set, &gained);
        self.edition = Some(templates.edition);
        Ok(())
    }

    async fn vouch(&mut self, announced_to: u64, proven: &impl Fn(Moment)) -> Result<(), Ended> {
        let Some(beat) = self.beat.take() else { return Ok(()) };
        if beat.covers != self.parts.begins.covers {
            return Err(Ended::Publication);
        }
        let stream = Stream { at: announced_to, ..self.parts.begins.clone() };
        let settled = if self.stragglers.is_empty() { Settled::Yes } else { Settled::NotYet };
        match self.parts.cache.backplane().vouch(&stream, beat.sent_at, settled).await {
            Ok(Vouched::Yes) => {
                self.refused_since = None;
                self.parts.stream.update_applied_lsn(Lsn::from_u64(announced_to));
                proven(beat.sent);
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
        if self.refused_since.is_none() {
            tracing::warn!(%error, "change feed: redis does not take announcements");
            self.refused_since = Some(Instant::now());
        }
    }
}

/// How long ago that was, if the clocks of the two machines agree.
fn since(micros: i64) -> Duration {
    let at = Duration::from_micros(u64::try_from(micros).unwrap_or(0)) + POSTGRES_EPOCH;
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(at)
}

async fn snapshot(control: &Client) -> Result<Snapshot, Ended> {
    let statement = tokio::time::timeout(SILENCE_MAX, control.query_one(SNAPSHOT_SQL, &[])).await;
    let row = statement.map_err(|_| Ended::Postgres("postgres does not answer".to_owned()))??;
    let text: String = row.try_get(0)?;
    Snapshot::parse(&text).ok_or_else(|| Ended::Postgres(format!("{text:?} is no snapshot")))
}
