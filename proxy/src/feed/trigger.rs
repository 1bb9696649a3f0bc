//! The trigger feed: for databases without logical replication.
//!
//! ```text
//! statement -> trigger -> outbox, in the transaction that makes the change
//! outbox -> read in an ordinary snapshot -> announce -> vouch -> sweep
//! ```
//!
//! What a snapshot sees, every snapshot after it sees: C2 holds by itself. What it does not see, nobody saw before it was
//! taken: so the moment before it can be vouched for once everything in it is announced. No log has to be read for that.

mod reader;
mod changes;
mod election;
mod outbox;
mod coverage;
mod line;
pub mod setup;
mod objects;

use std::{convert::Infallible, sync::Arc, time::Duration};

use cache_core::cache::TwoTier;
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_postgres::{Client, error::SqlState};

use self::{
    coverage::Kin,
    election::Elected,
    line::Line,
    outbox::Recording,
    reader::{Parts, Reader},
};
use super::{
    announcer::took_over,
    coverage::{Covering, Needed},
    endpoint::Endpoint,
    state::State,
};
use crate::{origin::describe, reply::StoredResponse, telemetry::Metrics};

/// How often a node that follows looks, and one whose session ended tries again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// Postgres is not there
    #[error("{0}")]
    Postgres(String),
    /// it refused, with this SQLSTATE
    #[error("{1}")]
    Refused(SqlState, String),
    /// nothing is installed
    #[error("the triggers are not there: run `transom setup --feed trigger`")]
    Absent,
    /// triggers or functions are not what they were
    #[error("the triggers were changed")]
    Coverage,
    /// rows were deleted that this reader may not have seen
    #[error("the outbox was swept past this reader")]
    Swept,
    /// so much is there that statements may not have been recorded
    #[error("the outbox was not read for so long that recording may have stopped")]
    Stopped,
    /// another session leads
    #[error("another node leads now")]
    Deposed,
}

impl From<tokio_postgres::Error> for Ended {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) => Self::Refused(refusal.code().clone(), refusal.message().to_owned()),
            None => Self::Postgres(describe(&error)),
        }
    }
}

/// Whether the outbox is there.
///
/// # Errors
/// If Postgres does not answer.
pub(super) async fn installed(client: &Client) -> Result<bool, tokio_postgres::Error> {
    client.query_one("SELECT to_regclass('transom.outbox') IS NOT NULL", &[]).await?.try_get(0)
}

/// How nodes share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turns {
    /// one leads for all, by this lock
    One(i64),
    /// every node reads for itself
    Each,
}

impl Turns {
    /// One leader per namespace.
    pub(super) fn one(namespace: &str) -> Self {
        Self::One(election::key(namespace))
    }
}

/// The one task of the feed.
pub(super) struct Runner {
    /// sessions of its own, to these servers
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) turns: Turns,
    pub(super) cache: Arc<TwoTier<StoredResponse>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) needed: Needed,
    pub(super) state: Arc<Mutex<State>>,
    pub(super) covering: Covering,
}

impl Runner {
    /// Leads or follows forever.
    pub(super) async fn run(self) {
        loop {
            for endpoint in &self.endpoints {
                let Err(ended) = match Line::open(endpoint).await {
                    Ok(line) => self.attend(line).await,
                    Err(ended) => Err(ended),
                };
                self.down(&ended);
                sleep(LOOK_EVERY).await;
            }
        }
    }

    fn down(&self, ended: &Ended) {
        self.state.lock().go_down(ended.to_string());
    }

    /// Leads or follows on this connection until something breaks.
    async fn attend(&self, line: Line) -> Result<Infallible, Ended> {
        let database = identity(&line).await?;
        if let Turns::One(key) = self.turns {
            self.cover(&line).await?;
            while election::stand(&line, key).await? == Elected::No {
                *self.state.lock() = State::Following;
                sleep(LOOK_EVERY).await;
                election::depose_if_silent(&line, key).await?;
                if coverage::version(&line).await? != self.covering.current().version() {
                    self.cover(&line).await?;
                }
            }
        }
        self.lead(line, database).await
    }

    /// Reads until the session breaks.
    async fn lead(&self, line: Line, database: String) -> Result<Infallible, Ended> {
        if outbox::recording(&line).await? == Recording::Stopped {
            tracing::warn!("change feed: nobody read the outbox for so long that recording stopped; it goes on now");
            outbox::resume(&line).await?;
        }
        let kin = self.cover(&line).await?;
        let covers = self.covering.current().version().to_owned();
        let (cache, metrics) = (self.cache.clone(), self.metrics.clone());
        let (mut reader, broken) = Reader::take_over(Parts { line, cache, metrics, kin, database, covers }).await?;
        took_over("the outbox", broken, &self.metrics);
        Err(reader.lead(|proven| *self.state.lock() = State::Leading { proven }).await)
    }

    /// Learns what is covered.
    async fn cover(&self, line: &Line) -> Result<Kin, Ended> {
        let (coverage, kin) = coverage::load(line).await?;
        self.covering.learn(coverage, &self.needed, "run `transom setup --feed trigger`", &self.cache);
        Ok(kin)
    }
}

/// The name of the history that this server writes: the system, its timeline, the database. The timeline as of the log and not of
/// the control file, which is behind after a promotion.
const IDENTITY_SQL: &str = "\
SELECT pg_is_in_recovery(), to_regclass('transom.outbox') IS NOT NULL, \
CASE WHEN pg_is_in_recovery() THEN '' ELSE concat_ws('/', (SELECT c.system_identifier FROM pg_control_system() c), \
left(pg_walfile_name(pg_current_wal_lsn()), 8), current_database()) END";

async fn identity(line: &Line) -> Result<String, Ended> {
    let row = line.ask_one(IDENTITY_SQL, &[]).await?;
    let (standby, installed): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    match (standby, installed) {
        (true, _) => Err(Ended::Postgres("this server is a standby".to_owned())),
        (false, false) => Err(Ended::Absent),
        (false, true) => Ok(row.try_get(2)?),
    }
}
