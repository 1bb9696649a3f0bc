//! The session that leads: decodes, waits until what it decoded is visible, announces, vouches, acknowledges; in this order.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cache_core::{
    cache::TwoTier,
    clock::Moment,
    coherence::{Break, Stream},
    sabotage::{self, Protection},
    template::Templates,
};
use futures_util::FutureExt;
use pgwire_replication::{Lsn, ReplicationClient, ReplicationEvent};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_postgres::{Client, Statement};

use super::{
    announcer::{Announcer, Decoder, REDIS_AGAIN_AFTER, TAGS_MAX, Told},
    crowd::Crowd,
    ddl,
    ended::{Ended, SILENCE_MAX},
    heart::{self, Beat},
    lineage::Lineage,
    pace::{Lag, Pace},
    snapshot::{SNAPSHOT_SQL, Snapshot},
    templates::{Gained, TemplateSet},
    transactions::{Commit, Transactions},
};
use crate::{origin::Signature, reply::StoredResponse, telemetry::Metrics};

/// Commits that were decoded and cannot be seen by everybody yet, at most; behind them waits the stream.
const PENDING_MAX: usize = 4_096;
/// Messages taken from the stream before what they brought is announced.
const ROUND_MAX: usize = 4_096;
/// Pause before a commit that is not visible is asked about again, after [`LOOKS_AT_ONCE`] looks without one: mostly it
/// becomes visible within microseconds, and the runtime's timer counts milliseconds.
const AGAIN_AFTER: Duration = Duration::from_millis(1);
const LOOKS_AT_ONCE: u32 = 4;
/// In a [`Crowd`], announcements are so far apart at least: what is committed meanwhile is announced together, by one question
/// to Postgres and one to Redis. Else a commit is announced at once.
const APART: Duration = Duration::from_millis(1);
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

/// A commit that waits until everybody can see it.
struct Pending {
    commit: Commit,
    /// where the stream stood before it
    before: u64,
}

/// What came through the stream.
#[derive(Default)]
struct Decoded {
    transactions: Transactions,
    pending: VecDeque<Pending>,
    /// how many tags of rows they hold
    pending_tags: usize,
    /// whether the leader keeps up with the log
    pace: Pace,
}

impl Decoder for Decoded {
    fn learn(&mut self, templates: &Templates) -> Gained {
        let set = match self.pace {
            Pace::Exact => TemplateSet::of(templates),
            Pace::Coarse => TemplateSet::unknown(),
        };
        let gained = set.gained(self.transactions.templates());
        self.pending.iter_mut().for_each(|pending| pending.commit.changed.coarsen(&gained));
        self.transactions.learn(set, &gained);
        gained
    }
}

/// A leader at work.
pub(super) struct Leader {
    parts: Parts,
    /// asks what everybody sees; prepared, because each commit waits for it
    sight: Statement,
    beats: JoinHandle<String>,
    /// where the log ends, as far as the heart knows
    log_end: Arc<AtomicU64>,
    decoded: Decoded,
    /// where the stream stands
    read: u64,
    /// the newest heartbeat that came back and was not passed on yet
    beat: Option<Beat>,
    /// when the newest heartbeat was sent that came back
    beat_sent: Moment,
    announcer: Announcer,
    heard_at: Instant,
    /// when something was announced last
    announced_at: Instant,
    crowd: Crowd,
    /// looks in a row that left something to be announced
    looks: u32,
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
        let sight = in_time(control.prepare(SNAPSHOT_SQL)).await?;
        let open: BTreeSet<u64> = snapshot(control, &sight).await?.running().collect();
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
        let mut leader = Self::new(parts, heart, sight, stragglers);
        leader.announcer.learn(&mut leader.decoded).await;
        Ok((leader, broken))
    }

    /// `heart` is a connection of its own: a heartbeat that waits for the disk must not hold up an announcement.
    fn new(parts: Parts, heart: Client, sight: Statement, stragglers: BTreeSet<u64>) -> Self {
        let log_end = Arc::new(AtomicU64::new(parts.begins.at));
        let beats = tokio::spawn(heart::run(heart, parts.cache.clone(), parts.begins.session.clone(), log_end.clone()));
        Self {
            beat_sent: parts.cache.clock().now(),
            read: parts.begins.at,
            announcer: Announcer::new(parts.cache.clone(), parts.metrics.clone(), stragglers),
            parts,
            sight,
            beats,
            log_end,
            decoded: Decoded::default(),
            beat: None,
            heard_at: Instant::now(),
            announced_at: Instant::now(),
            crowd: Crowd::default(),
            looks: 0,
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
        let room = self.decoded.pending.len() < PENDING_MAX;
        let again = self.again_after();
        tokio::select! {
            beats = &mut self.beats => return Err(Ended::Heart(beats.unwrap_or_else(|error| error.to_string()))),
            event = self.parts.stream.recv(), if room => {
                self.take(event?).await?;
                self.gather().await;
                self.take_what_is_there().await?;
            }
            () = sleep(again.unwrap_or_default()), if again.is_some() => {}
            () = sleep_until(self.heard_at + SILENCE_MAX), if room => return Err(Ended::Silence),
        }
        self.keep_pace().await;
        self.announce(proven).await
    }

    /// Waits for company.
    async fn gather(&mut self) {
        if self.crowd.is_one(Instant::now()) {
            sleep_until(self.announced_at + APART).await;
        }
    }

    /// When to try again what could not be done.
    fn again_after(&self) -> Option<Duration> {
        if self.announcer.refused_since().is_some() {
            return Some(REDIS_AGAIN_AFTER);
        }
        let pause = if self.looks <= LOOKS_AT_ONCE { Duration::ZERO } else { AGAIN_AFTER };
        self.has_left().then_some(pause)
    }

    /// Takes what waits in the channel, so that one question to Postgres and one to Redis serve all of it.
    async fn take_what_is_there(&mut self) -> Result<(), Ended> {
        for _ in 0..ROUND_MAX {
            if self.decoded.pending.len() >= PENDING_MAX {
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
            ReplicationEvent::Begin { xid, .. } => self.decoded.transactions.begin(xid),
            ReplicationEvent::XLogData { data, .. } => {
                let transactions = &mut self.decoded.transactions;
                transactions.message(&data).map_err(|error| Ended::Stream(error.to_string()))?;
                for relation in transactions.strangers() {
                    let lineage = in_time(Lineage::load(&self.parts.control, relation)).await?;
                    transactions.lineage(relation, lineage);
                }
            }
            ReplicationEvent::Commit { end_lsn, commit_time_micros, .. } => {
                self.commit(end_lsn.as_u64(), commit_time_micros);
            }
            ReplicationEvent::Message { transactional, lsn, prefix, content } => {
                if let Some(beat) = heart::parse(&prefix, &content, &self.parts.begins.session) {
                    self.beat_sent = beat.sent;
                    self.beat = Some(beat);
                } else if let Some(write) = Signature::in_log(&prefix, &content) {
                    self.decoded.transactions.sign(write);
                }
                if transactional && ddl::is_change(&prefix, &content) {
                    self.decoded.transactions.redefined();
                }
                if !transactional {
                    self.read = self.read.max(lsn.as_u64());
                }
            }
            // Between two transactions whatever lies before this was sent.
            ReplicationEvent::KeepAlive { wal_end, .. } if !self.decoded.transactions.is_open() => {
                self.read = self.read.max(wal_end.as_u64());
            }
            ReplicationEvent::KeepAlive { .. } | ReplicationEvent::StoppedAt { .. } => {}
        }
        Ok(())
    }

    /// Looks how far behind the log it is.
    async fn keep_pace(&mut self) {
        let age = self.parts.cache.clock().now().since(self.beat_sent);
        let lag = Lag { age, bytes: self.log_end.load(Relaxed).saturating_sub(self.read) };
        let pace = self.decoded.pace.at(lag);
        if pace == self.decoded.pace {
            return;
        }
        self.decoded.pace = pace;
        match pace {
            Pace::Coarse => {
                tracing::warn!(behind = ?lag, "change feed: behind the log; announcing whole tables until it is read");
                self.parts.metrics.feed_falls_behind();
            }
            Pace::Exact => {
                tracing::info!("change feed: the log is read; announcing rows again");
                self.parts.metrics.feed_keeps_up();
            }
        }
        // Templates count no more, or again.
        self.announcer.learn(&mut self.decoded).await;
    }

    fn commit(&mut self, end: u64, committed_at: i64) {
        self.crowd.joined(self.heard_at);
        let before = self.read;
        self.read = self.read.max(end);
        let Decoded { transactions, pending, pending_tags, .. } = &mut self.decoded;
        if let Some(mut commit) = transactions.commit(end, committed_at)
            && !(commit.changed.is_nothing() && commit.write.is_none())
        {
            *pending_tags += commit.changed.size();
            if *pending_tags > TAGS_MAX {
                *pending_tags -= commit.changed.size();
                commit.changed.coarsen(&Gained::All);
            }
            pending.push_back(Pending { commit, before });
        }
    }

    /// Announces what everybody can see, passes the heartbeat on, acknowledges.
    ///
    /// The snapshot is younger than the heartbeat: a commit that it does not see was not visible when the heartbeat was
    /// sent either. So the heartbeat counts although such a commit has to wait.
    async fn announce(&mut self, proven: &impl Fn(Moment)) -> Result<(), Ended> {
        let mut visible = Vec::new();
        let Decoded { pending, pending_tags, .. } = &mut self.decoded;
        if !pending.is_empty() || self.announcer.awaits_stragglers() {
            let snapshot = snapshot(&self.parts.control, &self.sight).await?;
            self.announcer.settle(&snapshot);
            let is_seen =
                |pending: &Pending| snapshot.sees(pending.commit.xid) || sabotage::is_off(Protection::Visibility);
            let (seen, waiting) = pending.drain(..).partition(is_seen);
            *pending = waiting;
            visible = Vec::<Pending>::from(seen);
            *pending_tags = pending.iter().map(|pending| pending.commit.changed.size()).sum();
        }
        let announced_to = pending.front().map_or(self.read, |pending| pending.before);
        let times: Vec<i64> = visible.iter().map(|pending| pending.commit.committed_at).collect();
        if !visible.is_empty() {
            self.announced_at = Instant::now();
        }
        for Pending { commit, .. } in visible {
            self.announcer.owe(commit.changed, commit.write);
        }
        if self.announcer.publish(&mut self.decoded).await {
            times.into_iter().for_each(|at| self.parts.metrics.announce_delay(since(at)));
            self.vouch(announced_to, proven).await?;
        }
        if self.announcer.refused_since().is_some_and(|since| since.elapsed() > REDIS_PATIENCE) {
            self.parts.stream.update_applied_lsn(Lsn::from_u64(announced_to));
        }
        self.looks = if self.has_left() { self.looks.saturating_add(1) } else { 0 };
        Ok(())
    }

    /// Whether something could not be announced yet.
    fn has_left(&self) -> bool {
        !self.decoded.pending.is_empty() || self.announcer.owes()
    }

    async fn vouch(&mut self, announced_to: u64, proven: &impl Fn(Moment)) -> Result<(), Ended> {
        let Some(beat) = self.beat.take() else { return Ok(()) };
        if beat.covers != self.parts.begins.covers {
            return Err(Ended::Publication);
        }
        let stream = Stream { at: announced_to, ..self.parts.begins.clone() };
        match self.announcer.vouch(&stream, beat.sent_at, &mut self.decoded).await {
            Told::Yes => {
                self.parts.stream.update_applied_lsn(Lsn::from_u64(announced_to));
                proven(beat.sent);
                Ok(())
            }
            Told::NotYet => Ok(()),
            Told::Deposed => Err(Ended::Deposed),
        }
    }
}

/// How long ago that was, if the clocks of the two machines agree.
fn since(micros: i64) -> Duration {
    let at = Duration::from_micros(u64::try_from(micros).unwrap_or(0)) + POSTGRES_EPOCH;
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(at)
}

async fn snapshot(control: &Client, sight: &Statement) -> Result<Snapshot, Ended> {
    let row = in_time(control.query_one(sight, &[])).await?;
    let text: String = row.try_get(0)?;
    Snapshot::parse(&text).ok_or_else(|| Ended::Postgres(format!("{text:?} is no snapshot")))
}

/// An answer of Postgres, unless it takes too long.
async fn in_time<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Ended> {
    let answer = tokio::time::timeout(SILENCE_MAX, answer).await;
    Ok(answer.map_err(|_| Ended::Postgres("postgres does not answer".to_owned()))??)
}
