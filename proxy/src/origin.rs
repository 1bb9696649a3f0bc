//! Postgres: the only truth. Reads and writes run in one transaction each, as the requesting role.

mod start;
mod health;
mod retry;
mod session;
mod transaction;
mod queue;
mod signature;
mod own;
mod answer;
mod connection;
mod dial;
mod wire;
mod failure;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bb8::{Pool, RunError};
use tokio::sync::watch;

use self::{
    connection::{Connection, Manager},
    health::Watchman,
    queue::{Queue, Waiting},
    retry::Backoff,
    signature::Unsigned,
    transaction::{Access, Transaction},
};
pub use self::{
    dial::client,
    failure::Failure,
    health::Health,
    session::{RequestSettings, Session, Told, quoted},
    signature::{LOG_PREFIX, Place, SIGN_FUNCTION, Sign, Signature, Signed},
    start::Denied,
};
use crate::{
    config::{Database, Ending},
    error::Error,
    rest::{self, Answer, Caller, Estimate, Statement, TableId, Yields},
    telemetry::{Metrics, Operation},
};

/// A pool of connections, and what is known of Postgres' health.
pub struct Origin {
    manager: Manager,
    pool: Pool<Manager>,
    queue: Queue,
    health: watch::Receiver<Health>,
    watchman: Arc<Watchman>,
    metrics: Arc<Metrics>,
    pool_max: u32,
    wait_max: Duration,
    statement_timeout: Duration,
    response_bytes_max: usize,
    unsigned: Unsigned,
    /// `SELECT` of the function that comes first in every transaction
    pre_request: Option<String>,
}

/// A write that did not come to a known good end.
#[derive(Debug)]
pub struct Uncommitted {
    /// why
    pub error: Error,
    /// tables that may have changed all the same: the connection broke during the commit. They must be announced.
    pub maybe_changed: Vec<TableId>,
}

impl From<Error> for Uncommitted {
    fn from(error: Error) -> Self {
        Self { error, maybe_changed: Vec::new() }
    }
}

/// What the driver says, down to the cause: its own words are as short as "error connecting to server".
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What a committed write brought about.
pub struct Written<T> {
    /// what [`Origin::write`]'s `accept` made of the answer
    pub accepted: T,
    /// the tables that changed
    pub changed: Vec<TableId>,
    /// whether whoever announces it learns whose write it was
    pub signed: Signed,
}

impl Origin {
    /// A pool for this database; connects when it is first asked.
    #[must_use]
    pub fn new(
        database: &Database,
        statement_timeout: Duration,
        response_bytes_max: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let manager = Manager::new(database.connection.clone());
        let (watchman, health) = Watchman::new(manager.clone());
        let pool = Pool::builder()
            .max_size(database.pool_max)
            .connection_timeout(database.pool_wait_max)
            // A round trip per request to learn what the next one tells anyway.
            .test_on_check_out(false)
            .error_sink(watchman.sink())
            .build_unchecked(manager.clone());
        Self {
            manager,
            pool,
            queue: Queue::default(),
            health,
            watchman,
            metrics,
            pool_max: database.pool_max,
            wait_max: database.pool_wait_max,
            statement_timeout,
            response_bytes_max,
            unsigned: Unsigned::default(),
            pre_request: pre_request_sql(&database.pre_request),
        }
    }

    /// Runs a read in a read-only transaction.
    ///
    /// # Errors
    /// If Postgres is away, refuses, or is too slow.
    pub async fn read(
        &self,
        session: &Session,
        statement: &Statement,
        estimate: Option<&Estimate>,
    ) -> Result<Answer, Error> {
        let mut backoff = Backoff::default();
        loop {
            let answer = self.read_once(session, statement, estimate).await;
            if !backoff.again(&answer).await {
                return answer;
            }
        }
    }

    /// Runs a read that nobody waits for: once, and only while a connection is left for somebody who does. `None`: there
    /// was none to spare.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_aside(
        &self,
        session: &Session,
        statement: &Statement,
        estimate: Option<&Estimate>,
    ) -> Result<Option<Answer>, Error> {
        if self.connections().1 + 1 >= self.pool_max {
            return Ok(None);
        }
        let connection = self.connection().await?;
        // This one is among them by now, and others may have come meanwhile.
        if self.connections().1 >= self.pool_max {
            return Ok(None);
        }
        self.read_on(connection, session, statement, estimate, Operation::Audit).await.map(Some)
    }

    /// Runs a write. `accept` judges the answer before the commit: what it refuses is rolled back, and so is everything if
    /// the ending says so; then nothing has changed. `sign` says what to leave in the database with the commit, given what
    /// changed; a write that changed nothing is not asked. If the role may not leave anything there, the write is made again
    /// without.
    ///
    /// # Errors
    /// As [`read`](Self::read), and whatever `accept` refuses. An error that leaves open whether the commit took place
    /// names the tables that must be announced all the same.
    pub async fn write<T: Send + Sync>(
        &self,
        session: &Session,
        statement: &Statement,
        changes: &rest::Changes,
        ending: Ending,
        accept: impl Fn(Answer) -> Result<T, Error> + Sync,
        sign: Sign<'_>,
    ) -> Result<Written<T>, Uncommitted> {
        let mut backoff = Backoff::default();
        loop {
            let written = self.write_once(session, statement, changes, ending, &accept, sign).await;
            if !backoff.again(&written).await {
                return written;
            }
        }
    }

    async fn read_once(
        &self,
        session: &Session,
        statement: &Statement,
        estimate: Option<&Estimate>,
    ) -> Result<Answer, Error> {
        if self.pool.state().idle_connections == 0
            && estimate.is_none()
            && self.may_be_answered_with_others(session, statement)
            && let Some(answer) = self.read_with_others(session, statement).await
        {
            return answer;
        }
        let connection = self.connection().await?;
        self.read_on(connection, session, statement, estimate, Operation::Read).await
    }

    /// Only an answer that is stored: then it is known what it is made of, and that no function in it changes a setting
    /// that the next read in the transaction could see.
    fn may_be_answered_with_others(&self, session: &Session, statement: &Statement) -> bool {
        let is_stored = !matches!(session.told, Told::Request(_));
        is_stored && statement.yields != Yields::Lines && self.pre_request.is_none()
    }

    /// Waits for a connection, or until somebody who got one has answered this read too. `None`: they did not get to it.
    async fn read_with_others(&self, session: &Session, statement: &Statement) -> Option<Result<Answer, Error>> {
        let mut turn = self.queue.join(session, statement);
        let connection = tokio::select! {
            biased;
            answer = turn.answered() => return answer,
            connection = self.connection() => connection,
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) if turn.leave() => return Some(Err(error)),
            Err(_) => return turn.answered().await,
        };
        let Some(others) = turn.take_along() else {
            // Whoever comes next needs it more.
            drop(connection);
            return turn.answered().await;
        };
        Some(if others.is_empty() {
            self.read_on(connection, session, statement, None, Operation::Read).await
        } else {
            self.read_together(connection, session, statement, others).await
        })
    }

    /// Answers several reads in one transaction, and returns the answer to the first. Those of the others that it does not
    /// get to, because one before them failed, are dropped, which they notice.
    async fn read_together(
        &self,
        mut connection: bb8::PooledConnection<'_, Manager>,
        session: &Session,
        first: &Statement,
        others: Vec<Waiting>,
    ) -> Result<Answer, Error> {
        let statements: Vec<&Statement> =
            std::iter::once(first).chain(others.iter().map(|read| &read.statement)).collect();
        let began = Instant::now();
        let answers = self.transaction(&mut connection, session, Access::ReadOnly).read_several(&statements).await;
        drop(connection);
        let answer = |answer: Result<Answer, Failure>| {
            self.measured(Operation::Read, began, first);
            self.bounded(answer.map_err(|error| self.failure(&error, session.caller))?)
        };
        let mut answers = answers.into_iter().map(answer);
        let own = answers.next().unwrap_or(Err(Error::Abandoned));
        others.into_iter().zip(answers).for_each(|(read, answer)| read.answer(answer));
        own
    }

    async fn read_on(
        &self,
        mut connection: bb8::PooledConnection<'_, Manager>,
        session: &Session,
        statement: &Statement,
        estimate: Option<&Estimate>,
        operation: Operation,
    ) -> Result<Answer, Error> {
        let transaction = self.transaction(&mut connection, session, Access::ReadOnly);
        let began = Instant::now();
        let answer = transaction.read(statement, estimate).await;
        self.measured(operation, began, statement);
        self.bounded(answer.map_err(|error| self.failure(&error, session.caller))?)
    }

    async fn write_once<T>(
        &self,
        session: &Session,
        statement: &Statement,
        changes: &rest::Changes,
        ending: Ending,
        accept: &(impl Fn(Answer) -> Result<T, Error> + Sync),
        sign: Sign<'_>,
    ) -> Result<Written<T>, Uncommitted> {
        let mut connection = self.connection().await?;
        let transaction = self.transaction(&mut connection, session, Access::ReadWrite);
        let began = Instant::now();
        let failure = |error: &Failure| self.failure(error, session.caller);
        let written = transaction.write(statement, changes, ending, accept, (sign, &self.unsigned), failure).await;
        self.measured(Operation::Write, began, statement);
        written
    }

    fn transaction<'c>(
        &'c self,
        connection: &'c mut Connection,
        session: &'c Session,
        access: Access,
    ) -> Transaction<'c> {
        Transaction::new(connection, session, access, self.statement_timeout, self.pre_request.as_deref())
    }

    /// Asks Postgres whether it is there. `None`: no answer within `patience`, which may be a busy pool as well.
    pub async fn health(&self, patience: Duration) -> Option<Health> {
        let asked = async {
            let mut connection = self.connection().await?;
            connection.simply("").await.map_err(|error| self.failure(&error, Caller::Anonymous))
        };
        Some(match tokio::time::timeout(patience, asked).await.ok()? {
            Ok(()) => Health::Up,
            Err(Error::Unreachable { reason }) => Health::Down(reason),
            Err(error) => Health::Down(error.to_string()),
        })
    }

    /// Connections idle and in use.
    #[must_use]
    pub fn connections(&self) -> (u32, u32) {
        let state = self.pool.state();
        (state.idle_connections, state.connections.saturating_sub(state.idle_connections))
    }

    /// Reads that wait for one of them, and could be answered together.
    #[must_use]
    pub fn waiting_reads(&self) -> u64 {
        self.queue.len() as u64
    }

    /// A connection that is alive as far as this side knows. While Postgres is down nobody waits.
    async fn connection(&self) -> Result<bb8::PooledConnection<'_, Manager>, Error> {
        let mut health = self.health.clone();
        loop {
            // New connections may be refused (a changed password) while those that there are go on working.
            let idle = self.pool.state().idle_connections > 0;
            let connection = tokio::select! {
                biased;
                down = health.wait_for(Health::is_down), if !idle => {
                    let reason = down.map(|health| health.reason()).unwrap_or_default();
                    return Err(Error::Unreachable { reason });
                }
                connection = self.pool.get() => connection,
            };
            match connection {
                // Dropped as broken: a restart of Postgres leaves a pool full of these.
                Ok(mut connection) => {
                    if connection.is_alive() {
                        return Ok(connection);
                    }
                }
                Err(RunError::TimedOut) => return Err(Error::PoolExhausted { waited: self.wait_max }),
                Err(RunError::User(error)) => return Err(self.failure(&error, Caller::Anonymous)),
            }
        }
    }

    fn measured(&self, operation: Operation, began: Instant, statement: &Statement) {
        let elapsed = began.elapsed();
        if self.metrics.origin(operation, elapsed) {
            // The text has no values in it: they are parameters, and stay out of the log.
            tracing::warn!(operation = operation.as_str(), ?elapsed, sql = &*statement.sql, "slow query");
        }
    }

    fn bounded(&self, answer: Answer) -> Result<Answer, Error> {
        if answer.body.len() > self.response_bytes_max {
            return Err(Error::ResponseTooLarge { bytes: answer.body.len(), bytes_max: self.response_bytes_max });
        }
        Ok(answer)
    }

    /// What a failure means: Postgres refused, or Postgres is not there.
    fn failure(&self, failure: &Failure, caller: Caller) -> Error {
        match failure {
            Failure::Refused(refusal) => Error::Database {
                problem: Box::new(rest::problem_of_refusal(refusal, caller)),
                state: refusal.state.clone(),
            },
            Failure::Broken(reason) => {
                self.watchman.suspect(reason);
                Error::Unreachable { reason: reason.clone() }
            }
            Failure::Unreadable(reason) => Error::Unreachable { reason: reason.clone() },
        }
    }
}

fn pre_request_sql(function: &[String]) -> Option<String> {
    let name: Vec<String> = function.iter().map(|part| quoted(part)).collect();
    (!name.is_empty()).then(|| format!("SELECT {}()", name.join(".")))
}
