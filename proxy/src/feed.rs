//! The change feed: every commit in the database is announced, whoever made it.
//!
//! It comes in two kinds: from the database's own log, as follows, or from what triggers record, see [`trigger`].
//!
//! ```text
//! slot free -> lead: decode -> wait until visible (C2) -> announce -> vouch -> acknowledge
//! slot taken -> follow: look again in a moment
//! ```
//!
//! One node of a namespace leads: the one to which Postgres gave the replication slot. Without Redis every node leads a feed
//! of its own, on a slot that ends with its session. Which tags a changed row has is decided by the templates that the nodes
//! read by: see `relation`.

mod choice;
pub mod trigger;
mod needs;
mod leader;
mod ended;
pub mod ddl;
mod heart;
mod announcer;
mod transactions;
mod relation;
mod lineage;
mod changed;
mod templates;
mod pgoutput;
mod crowd;
mod pace;
mod snapshot;
mod slot;
pub mod setup;
mod precision;
mod coverage;
mod ability;
mod state;
mod endpoint;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{cache::TwoTier, coherence::Stream};
use parking_lot::Mutex;
use pgwire_replication::ReplicationClient;
use tokio::{task::JoinHandle, time::sleep};
use tokio_postgres::Client;

pub use self::{
    ability::{Unable, ability},
    choice::{Choice, choose, look},
    coverage::Coverage,
    precision::{Precision, Remedy, Report, report},
    state::{Kind, State},
};
use self::{
    announcer::took_over,
    coverage::{Covering, Needed},
    ended::Ended,
    endpoint::Endpoint,
    leader::{Leader, Parts},
    slot::Slot,
};
use crate::{config::Config, origin::Place, reply::StoredResponse, rest::TableId, telemetry::Metrics};

/// The publication that the feed reads.
pub const PUBLICATION: &str = "transom";

/// What to do about tables that the publication does not cover.
const REMEDY: &str = "see `transom setup --dry-run`";
/// How often a node that follows looks whether the slot is free: most of the time that a change of leaders takes.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Streams that broke before they brought anything, until the slot is thought to be spoiled: it may hold a change that
/// cannot be decoded any more, such as one from a time without the publication.
const SPOILED_AFTER: u32 = 3;
/// How long the end of a node waits for the stream to be closed.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// The name of the slot of a node with these settings.
#[must_use]
pub fn slot_name(config: &Config) -> Option<String> {
    let endpoint = Endpoint::all(&config.database.connection).into_iter().next()?;
    Some(slot::name(&config.namespace, endpoint.database()))
}

/// The feed of one node.
pub struct Feed {
    kind: Option<Kind>,
    state: Arc<Mutex<State>>,
    covering: Covering,
    endpoints: Vec<Endpoint>,
    needed: Needed,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Feed {
    /// No feed: only what is announced by writes and purges is known, and nobody claims more.
    #[must_use]
    pub fn off() -> Self {
        Self {
            kind: None,
            state: Arc::new(Mutex::new(State::Off)),
            covering: Covering::default(),
            endpoints: Vec::new(),
            needed: Needed::default(),
            task: Mutex::default(),
        }
    }

    /// Starts to lead or follow, and keeps trying forever; never waits for Postgres.
    #[must_use]
    pub fn start(
        kind: Kind,
        config: &Config,
        cache: Arc<TwoTier<StoredResponse>>,
        metrics: Arc<Metrics>,
        needed: Vec<TableId>,
    ) -> Self {
        let state = Arc::new(Mutex::new(State::Down { reason: "starting".to_owned() }));
        let covering = Covering::default();
        let endpoints = Endpoint::all(&config.database.connection);
        let needed = Needed::new(needed);
        let (told, covered, wanted) = (state.clone(), covering.clone(), needed.clone());
        let is_shared = config.redis.is_some();
        let task = match kind {
            Kind::Logical => {
                let runner = Runner {
                    endpoints: endpoints.clone(),
                    namespace: config.namespace.clone(),
                    kind: if is_shared { SlotKind::Lasting } else { SlotKind::OfSession },
                    cache,
                    metrics,
                    needed: wanted,
                    state: told,
                    covering: covered,
                    spoiled: 0,
                };
                tokio::spawn(runner.run())
            }
            Kind::Trigger => {
                let runner = trigger::Runner {
                    endpoints: endpoints.clone(),
                    turns: if is_shared { trigger::Turns::one(&config.namespace) } else { trigger::Turns::Each },
                    cache,
                    metrics,
                    needed: wanted,
                    state: told,
                    covering: covered,
                };
                tokio::spawn(runner.run())
            }
        };
        Self { kind: Some(kind), state, covering, endpoints, needed, task: Mutex::new(Some(task)) }
    }

    /// Which kind it is of, if there is one.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// Where a write leaves its name, so that whoever announces it says whose it was.
    #[must_use]
    pub fn reads(&self) -> Option<Place> {
        self.kind.map(|kind| match kind {
            Kind::Logical => Place::Log,
            Kind::Trigger => Place::Outbox,
        })
    }

    /// What it does at the moment.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// What it covers at the moment.
    #[must_use]
    pub fn coverage(&self) -> arc_swap::Guard<Arc<Coverage>> {
        self.covering.current()
    }

    /// Ends it, and gives the slot back.
    pub async fn stop(&self) {
        let Some(task) = self.task.lock().take() else { return };
        task.abort();
        drop(tokio::time::timeout(STOP_PATIENCE, task).await);
    }
}

/// Whether the slot outlives its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotKind {
    /// it does, and whoever has it leads
    Lasting,
    /// it does not: every node has its own
    OfSession,
}

/// The one task of the feed.
struct Runner {
    endpoints: Vec<Endpoint>,
    namespace: String,
    kind: SlotKind,
    cache: Arc<TwoTier<StoredResponse>>,
    metrics: Arc<Metrics>,
    needed: Needed,
    state: Arc<Mutex<State>>,
    covering: Covering,
    /// streams that broke one after the other before they brought anything
    spoiled: u32,
}

impl Runner {
    async fn run(mut self) {
        loop {
            for endpoint in self.endpoints.clone() {
                let Err(ended) = self.attend(&endpoint).await;
                self.down(&ended);
                sleep(LOOK_EVERY).await;
            }
        }
    }

    fn down(&self, ended: &Ended) {
        self.state.lock().go_down(ended.to_string());
    }

    fn become_state(&self, state: State) {
        *self.state.lock() = state;
    }

    /// Leads or follows on this server until something breaks.
    async fn attend(&mut self, endpoint: &Endpoint) -> Result<std::convert::Infallible, Ended> {
        let control = Arc::new(endpoint.connect().await?);
        if let Some(unable) = ability(&control).await? {
            return Err(Ended::Postgres(unable.to_string()));
        }
        setup::ensure_publication(&control, &self.needed.tables()).await?;
        self.cover(&control).await?;
        loop {
            match self.kind {
                SlotKind::OfSession => {
                    let name = slot::temporary_name(&self.namespace, endpoint.database());
                    self.lead(endpoint, &control, &name).await?;
                }
                SlotKind::Lasting => {
                    let name = slot::name(&self.namespace, endpoint.database());
                    self.take_turns(endpoint, &control, &name).await?;
                }
            }
        }
    }

    /// One look at the slot.
    async fn take_turns(&mut self, endpoint: &Endpoint, control: &Arc<Client>, name: &str) -> Result<(), Ended> {
        match slot::look(control, name).await? {
            Slot::Free if self.spoiled >= SPOILED_AFTER => {
                tracing::warn!(slot = name, "change feed: the slot cannot be read any more; making a new one");
                slot::remove(control, name).await?;
                self.spoiled = 0;
            }
            Slot::Free => self.lead(endpoint, control, name).await?,
            Slot::Taken => {
                self.become_state(State::Following);
                sleep(LOOK_EVERY).await;
                if coverage::version(control).await? != self.covering.current().version() {
                    setup::ensure_publication(control, &self.needed.tables()).await?;
                    self.cover(control).await?;
                }
            }
            Slot::Absent => {
                tracing::info!(slot = name, "change feed: making the slot");
                slot::create(control, name).await?;
            }
            Slot::Lost => {
                tracing::warn!(
                    slot = name,
                    "change feed: the server threw the slot's log away (max_slot_wal_keep_size)"
                );
                slot::remove(control, name).await?;
            }
            Slot::Foreign => {
                let reason = format!("the slot {name} belongs to something else; choose another namespace");
                return Err(Ended::Postgres(reason));
            }
        }
        Ok(())
    }

    /// Learns what is covered; whatever was judged by another coverage is judged again.
    async fn cover(&self, control: &Client) -> Result<(), Ended> {
        let coverage = Coverage::load(control).await?;
        self.covering.learn(coverage, &self.needed, REMEDY, &self.cache);
        Ok(())
    }

    /// Leads until the session breaks. That another node was faster is no error.
    async fn lead(&mut self, endpoint: &Endpoint, control: &Arc<Client>, name: &str) -> Result<(), Ended> {
        let mut stream = ReplicationClient::connect_gated(endpoint.replication(name, PUBLICATION)).await?;
        let database = same_server(&mut stream, control, endpoint).await?;
        if self.kind == SlotKind::OfSession {
            let sql = format!("CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT");
            stream.simple_query(&sql).await?;
        }
        stream.start().await?;
        if let Err(error) = stream.wait_started().await {
            return if slot::look(control, name).await? == Slot::Taken {
                Ok(())
            } else {
                Err(self.broke(error.into()))
            };
        }
        let begins = Stream {
            session: format!("{:016x}", rand::random::<u64>()),
            database,
            covers: self.covering.current().version().to_owned(),
            at: slot::position(control, name).await?,
        };
        let parts = Parts {
            stream,
            control: control.clone(),
            cache: self.cache.clone(),
            metrics: self.metrics.clone(),
            begins,
        };
        let (mut leader, broken) = Leader::take_over(parts, endpoint.connect().await?).await?;
        took_over(name, broken, &self.metrics);
        let (state, began) = (self.state.clone(), Instant::now());
        let first = Mutex::new(true);
        let ended = leader
            .lead(|proven| {
                if std::mem::take(&mut *first.lock()) {
                    tracing::info!(took = ?began.elapsed(), "change feed: the first heartbeat came back");
                }
                *state.lock() = State::Leading { proven };
            })
            .await;
        let fruitless = *first.lock();
        Err(if fruitless { self.broke(ended) } else { ended })
    }

    fn broke(&mut self, ended: Ended) -> Ended {
        if matches!(ended, Ended::Stream(_)) {
            self.spoiled += 1;
        }
        ended
    }
}

/// Whether both connections reached the same server, and the name of its history: the system, its timeline, the database.
async fn same_server(stream: &mut ReplicationClient, control: &Client, endpoint: &Endpoint) -> Result<String, Ended> {
    const SERVER_SQL: &str = "SELECT extract(epoch FROM pg_postmaster_start_time())::text, pg_is_in_recovery()";
    let there = stream.simple_query(SERVER_SQL).await?;
    let there = there.first().and_then(|row| row.first().cloned().flatten()).unwrap_or_default();
    let row = control.query_one(SERVER_SQL, &[]).await?;
    let (here, standby): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
    if standby {
        return Err(Ended::Postgres("this server is a standby".to_owned()));
    }
    if here.as_bytes() != &*there {
        return Err(Ended::Postgres("two connections reached two servers; is a failover under way?".to_owned()));
    }
    // Asked last: a standby says the timeline that it follows, and may be promoted to another one the moment after.
    let system = stream.identify_system().await?;
    Ok(format!("{}/{}/{}", system.system_id, system.timeline, endpoint.database()))
}
