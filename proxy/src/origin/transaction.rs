//! One transaction in as few round trips as it can be: a read takes exactly one.

use std::time::Duration;

use smallvec::SmallVec;
use tokio_postgres::{error::SqlState, types::Type};

use super::{
    Failure, Session, Told, Uncommitted, Written,
    answer::{answer, planned_rows},
    connection::{Batch, Connection, Place},
    signature::{Sign, Signature, Signed, Unsigned},
    wire::Row,
};
use crate::{
    config::Ending,
    error::Error,
    rest::{Answer, CHANGED_TABLES_SQL, Changes, Estimate, Statement, TableId},
};

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// `set_config` and not `SET`: the values are parameters, and one statement sets them all. The role comes
/// last: the settings before it are made with the privileges of the connection.
macro_rules! set_configs {
    ($($setting:literal),*) => {
        concat!(
            "SELECT set_config('search_path', $1, true), set_config('statement_timeout', $2, true)",
            $(", set_config(", $setting, ", true)"),*
        )
    };
}
const SHARED_SQL: &str = set_configs!();
const SHARED_ROLE_SQL: &str = set_configs!("'role', $3");
const CLAIMS_SQL: &str = set_configs!("'request.jwt.claims', $3");
const CLAIMS_ROLE_SQL: &str = set_configs!("'request.jwt.claims', $3", "'role', $4");
const REQUEST_SQL: &str = set_configs!(
    "'request.jwt.claims', $3",
    "'request.method', $4",
    "'request.path', $5",
    "'request.headers', $6",
    "'request.cookies', $7"
);
const REQUEST_ROLE_SQL: &str = set_configs!(
    "'request.jwt.claims', $3",
    "'request.method', $4",
    "'request.path', $5",
    "'request.headers', $6",
    "'request.cookies', $7",
    "'role', $8"
);

/// The statement that sets what such a session is told, and its role if it has one.
fn session_sql(session: &Session) -> &'static str {
    match (&session.told, &session.role) {
        (Told::Nothing, None) => SHARED_SQL,
        (Told::Nothing, Some(_)) => SHARED_ROLE_SQL,
        (Told::Claims(_), None) => CLAIMS_SQL,
        (Told::Claims(_), Some(_)) => CLAIMS_ROLE_SQL,
        (Told::Request(_), None) => REQUEST_SQL,
        (Told::Request(_), Some(_)) => REQUEST_ROLE_SQL,
    }
}

pub(super) struct Transaction<'c> {
    connection: &'c mut Connection,
    session: &'c Session,
    access: Access,
    statement_timeout: Duration,
    pre_request: Option<&'c str>,
}

impl<'c> Transaction<'c> {
    pub(super) fn new(
        connection: &'c mut Connection,
        session: &'c Session,
        access: Access,
        statement_timeout: Duration,
        pre_request: Option<&'c str>,
    ) -> Self {
        Self { connection, session, access, statement_timeout, pre_request }
    }

    /// Reads, and tries once more if the statement was prepared for a table that has changed since.
    pub(super) async fn read(mut self, statement: &Statement, estimate: Option<&Estimate>) -> Result<Answer, Failure> {
        match self.read_answer(statement, estimate).await {
            Err(failure) if is_outdated(&failure) => {
                self.connection.forget(&statement.sql);
                estimate.iter().for_each(|estimate| self.connection.forget(&estimate.statement.sql));
                self.read_answer(statement, estimate).await
            }
            answer => answer,
        }
    }

    async fn read_answer(&mut self, statement: &Statement, estimate: Option<&Estimate>) -> Result<Answer, Failure> {
        let answer = match estimate {
            None => self.read_plainly(statement).await,
            // Boxed: rare, and larger than all else that a read waits for.
            Some(estimate) => Box::pin(self.read_and_estimate(statement, estimate)).await,
        };
        if answer.is_err() {
            self.roll_back().await;
        }
        answer
    }

    /// Reads the same several times, with other values. Answers at least the first, and the others as far as none before
    /// them failed, or said something of its answer: the next one would repeat that.
    pub(super) async fn read_several(mut self, statements: &[&Statement]) -> Vec<Result<Answer, Failure>> {
        let answers = self.read_as_far(statements).await;
        self.roll_back().await;
        match (answers, statements.first()) {
            (Ok(answers), _) => answers.into_iter().map(Ok).collect(),
            (Err(failure), Some(first)) if is_outdated(&failure) => {
                self.connection.forget(&first.sql);
                vec![self.read_answer(first, None).await]
            }
            (Err(failure), _) => vec![Err(failure)],
        }
    }

    async fn read_as_far(&mut self, statements: &[&Statement]) -> Result<Vec<Answer>, Failure> {
        let mut batch = self.open()?;
        let places = statements.iter().map(|statement| ask(&mut batch, statement)).collect::<Result<Vec<_>, _>>()?;
        batch.run(COMMIT, NOTHING)?;
        let (answers, refused) = batch.exchange_as_far().await?;
        let mut read = Vec::with_capacity(statements.len());
        for (place, statement) in places.into_iter().zip(statements).filter(|(place, _)| answers.reach(*place)) {
            let answer = answer(&answers, place, statement.yields)?;
            let is_last = !answer.said.is_nothing();
            read.push(answer);
            if is_last {
                break;
            }
        }
        match refused {
            Some(failure) if read.is_empty() => Err(failure),
            Some(_) | None => Ok(read),
        }
    }

    async fn read_plainly(&mut self, statement: &Statement) -> Result<Answer, Failure> {
        let mut batch = self.open()?;
        let place = ask(&mut batch, statement)?;
        batch.run(COMMIT, NOTHING)?;
        answer(&batch.exchange().await?, place, statement.yields)
    }

    /// Reads, and asks the planner about the total in the same transaction: for a guess some round trips more are as well
    /// spent as for a count.
    async fn read_and_estimate(&mut self, statement: &Statement, estimate: &Estimate) -> Result<Answer, Failure> {
        let mut batch = self.open()?;
        let place = ask(&mut batch, statement)?;
        let mut answer = answer(&batch.exchange().await?, place, statement.yields)?;
        let wanted = estimate.above.is_none_or(|above| answer.total.is_some_and(|total| total > above));
        let mut batch = self.connection.batch();
        let place = if wanted { Some(ask(&mut batch, &estimate.statement)?) } else { None };
        batch.run(COMMIT, NOTHING)?;
        let answers = batch.exchange().await?;
        if let Some(place) = place {
            let plan = answers.one(place)?;
            answer.total = answer.total.max(planned_rows(&plan, &answers.yields(place).raw(0))?);
        }
        Ok(answer)
    }

    /// Writes; see [`Origin::write`](super::Origin::write).
    pub(super) async fn write<T>(
        mut self,
        statement: &Statement,
        changes: &Changes,
        ending: Ending,
        accept: &impl Fn(Answer) -> Result<T, Error>,
        (sign, unsigned): (Sign<'_>, &Unsigned),
        failure: impl Fn(&Failure) -> Error,
    ) -> Result<Written<T>, Uncommitted> {
        let session = self.session;
        let role = session.role.as_deref();
        let mut judged = self.judge(statement, changes, ending, accept, &failure).await;
        let signature = match &judged {
            Ok(written) if !written.changed.is_empty() && !unsigned.contains(role) => sign(&written.changed),
            Ok(_) | Err(_) => None,
        };
        if let Some(signature) = signature {
            let ended = self.sign_and_commit(signature).await;
            // If it was refused, before the commit or in it: either way nothing took place.
            self.roll_back().await;
            if !ended.as_ref().is_err_and(|error| signature.is_refused(error)) {
                return ended_with(ended, judged?, Signed::Yes, failure);
            }
            unsigned.add(role, signature.place);
            judged = self.judge(statement, changes, ending, accept, &failure).await;
        }
        if judged.is_err() {
            self.roll_back().await;
        }
        let written = judged?;
        let end = match ending {
            Ending::Commit => COMMIT,
            Ending::Rollback => ROLLBACK,
        };
        let ended = self.connection.simply(end).await;
        ended_with(ended, written, Signed::No, failure)
    }

    /// In one message to the server: if the first fails the second is not tried.
    async fn sign_and_commit(&mut self, signature: Signature) -> Result<(), Failure> {
        let mut batch = self.connection.batch();
        batch.run(signature.sql(), [Some(&*signature.text())].into_iter())?;
        batch.run(COMMIT, NOTHING)?;
        batch.exchange().await.map(drop)
    }

    /// Begins a transaction, writes, and asks whether the answer will do; all but the end.
    async fn judge<T>(
        &mut self,
        statement: &Statement,
        changes: &Changes,
        ending: Ending,
        accept: &impl Fn(Answer) -> Result<T, Error>,
        failure: &impl Fn(&Failure) -> Error,
    ) -> Result<Written<T>, Error> {
        match self.write_row(statement, changes, ending).await {
            Ok((answer, changed)) => accept(answer).map(|accepted| Written { accepted, changed, signed: Signed::No }),
            Err(error) => {
                if is_outdated(&error) {
                    self.connection.forget(&statement.sql);
                }
                Err(failure(&error))
            }
        }
    }

    /// Ends what is left open by an error. If that fails too, nobody gets the connection any more.
    async fn roll_back(&mut self) {
        if self.connection.is_in_transaction()
            && let Err(error) = self.connection.simply(ROLLBACK).await
        {
            tracing::debug!(%error, "a transaction could not be rolled back");
        }
    }

    async fn write_row(
        &mut self,
        statement: &Statement,
        changes: &Changes,
        ending: Ending,
    ) -> Result<(Answer, Vec<TableId>), Failure> {
        let mut batch = self.open()?;
        let place = ask(&mut batch, statement)?;
        let changed = match changes {
            _ if ending == Ending::Rollback => {
                // What a commit would have complained about, the request is to hear as well.
                batch.run(CHECK, NOTHING)?;
                None
            }
            Changes::Known(_) => None,
            Changes::Ask => {
                // After the deferred triggers, which may change more.
                batch.run(CHECK, NOTHING)?;
                Some(batch.run(CHANGED_TABLES_SQL, NOTHING)?)
            }
        };
        let answers = batch.exchange().await?;
        let answer = answer(&answers, place, statement.yields)?;
        let changed = match (changes, changed) {
            (_, Some(place)) => answers.rows(place)?.iter().map(table).collect::<Result<_, _>>()?,
            (Changes::Known(tables), None) if ending == Ending::Commit && answer.page > 0 => tables.clone(),
            (_, None) => Vec::new(),
        };
        Ok((answer, changed))
    }

    /// The beginning of the transaction, as whom the session says. What is prepared behind it is so under its search path,
    /// which decides what the names in it mean.
    fn open(&mut self) -> Result<Batch<'_>, Failure> {
        let Session { role, search_path, told, zone, .. } = self.session;
        let timeout = self.statement_timeout.as_millis().to_string();
        let mut values: SmallVec<[&str; 8]> = SmallVec::from_slice(&[&**search_path, &*timeout]);
        match told {
            Told::Nothing => {}
            Told::Claims(claims) => values.push(claims),
            Told::Request(request) => {
                values.extend([&*request.claims, &request.method, &request.path, &request.headers, &request.cookies]);
            }
        }
        values.extend(role.as_deref());
        let mut batch = self.connection.batch();
        batch.run(self.access.begin_sql(), NOTHING)?;
        batch.run(session_sql(self.session), values.iter().map(|value| Some(*value)))?;
        if let Some(zone) = zone {
            // The name is one of a table of constants, none of which has a quote in it.
            batch.run_once(&format!("SET LOCAL timezone = '{zone}'"))?;
        }
        if let Some(sql) = self.pre_request {
            batch.run_once(sql)?;
        }
        Ok(batch)
    }
}

const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";
const CHECK: &str = "SET CONSTRAINTS ALL IMMEDIATE";
/// No parameters.
const NOTHING: std::iter::Empty<Option<&str>> = std::iter::empty();

impl Access {
    fn begin_sql(self) -> &'static str {
        match self {
            Self::ReadOnly => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
            Self::ReadWrite => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        }
    }
}

fn ended_with<T>(
    ended: Result<(), Failure>,
    written: Written<T>,
    signed: Signed,
    failure: impl Fn(&Failure) -> Error,
) -> Result<Written<T>, Uncommitted> {
    match ended {
        Ok(()) => Ok(Written { signed, ..written }),
        // The connection broke while the commit was on its way: nobody knows whether it took place.
        Err(error) if error.refusal().is_none() => {
            Err(Uncommitted { error: failure(&error), maybe_changed: written.changed })
        }
        Err(error) => Err(failure(&error).into()),
    }
}

fn ask(batch: &mut Batch<'_>, statement: &Statement) -> Result<Place, Failure> {
    batch.run(statement.sql.clone(), statement.params.iter().map(|param| param.0.as_deref()))
}

fn table(row: &Row) -> Result<TableId, Failure> {
    Ok(TableId { schema: row.get::<&str>(0, &Type::TEXT)?.into(), name: row.get::<&str>(1, &Type::TEXT)?.into() })
}

/// "cached plan must not change result type", or the statement is gone.
fn is_outdated(failure: &Failure) -> bool {
    let state = failure.refusal().map(|refusal| &refusal.state);
    state == Some(&SqlState::FEATURE_NOT_SUPPORTED) || state == Some(&SqlState::INVALID_SQL_STATEMENT_NAME)
}
