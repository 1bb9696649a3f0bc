//! One transaction in as few round trips as it can be: a read whose statement is prepared takes exactly one.

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio_postgres::{
    Client, Error as PgError, Row, Statement as Prepared,
    error::SqlState,
    types::{FromSql, ToSql, Type},
};

use super::{
    Session, Told, Uncommitted, Written,
    connection::Connection,
    signature::{Sign, Signed, Unsigned},
};
use crate::{
    config::Ending,
    error::Error,
    rest::{Answer, CHANGED_TABLES_SQL, Changes, Estimate, Said, Statement, TableId, Yields},
};

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// `set_config` and not `SET`: the values are parameters, and one statement sets them all. The role comes
/// last: the settings before it are made with the privileges of the connection.
macro_rules! session_sql {
    ($($setting:literal),*) => {
        concat!(
            "SELECT set_config('search_path', $1, true), set_config('statement_timeout', $2, true)",
            $(", set_config(", $setting, ", true)"),*
        )
    };
}
const SHARED_SQL: &str = session_sql!();
const SHARED_ROLE_SQL: &str = session_sql!("'role', $3");
const CLAIMS_SQL: &str = session_sql!("'request.jwt.claims', $3");
const CLAIMS_ROLE_SQL: &str = session_sql!("'request.jwt.claims', $3", "'role', $4");
const REQUEST_SQL: &str = session_sql!(
    "'request.jwt.claims', $3",
    "'request.method', $4",
    "'request.path', $5",
    "'request.headers', $6",
    "'request.cookies', $7"
);
const REQUEST_ROLE_SQL: &str = session_sql!(
    "'request.jwt.claims', $3",
    "'request.method', $4",
    "'request.path', $5",
    "'request.headers', $6",
    "'request.cookies', $7",
    "'role', $8"
);

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
    pub(super) async fn read(mut self, statement: &Statement, estimate: Option<&Estimate>) -> Result<Answer, PgError> {
        match self.read_answer(statement, estimate).await {
            Err(error) if is_outdated(&error) => {
                self.connection.forget(&statement.sql);
                estimate.iter().for_each(|estimate| self.connection.forget(&estimate.statement.sql));
                self.read_answer(statement, estimate).await
            }
            answer => answer,
        }
    }

    async fn read_answer(&mut self, statement: &Statement, estimate: Option<&Estimate>) -> Result<Answer, PgError> {
        match estimate {
            None => self.read_plainly(statement).await,
            Some(estimate) => self.read_and_estimate(statement, estimate).await,
        }
    }

    /// Reads, and asks the planner about the total in the same transaction: for a guess some round trips more are as well
    /// spent as for a count.
    async fn read_and_estimate(&mut self, statement: &Statement, estimate: &Estimate) -> Result<Answer, PgError> {
        let session = self.session_statement().await?;
        self.connection.begin();
        let answer = async {
            let mut answer = self.read_in_steps(&session, statement).await?;
            let wanted = estimate.above.is_none_or(|above| answer.total.is_some_and(|total| total > above));
            if wanted {
                let prepared = self.prepared(&estimate.statement).await?;
                let row = one_row(self.connection.client(), &prepared, &estimate.statement).await?;
                answer.total = answer.total.max(planned_rows(row.try_get::<_, Raw<'_>>(0)?.0));
            }
            Ok(answer)
        };
        let answer = answer.await;
        let ended = self.connection.client().batch_execute("COMMIT").await;
        let answer = answer.and_then(|answer| ended.map(|()| answer));
        self.finish(answer.as_ref().err());
        answer
    }

    async fn prepared(&mut self, statement: &Statement) -> Result<Prepared, PgError> {
        match self.connection.prepared(&statement.sql) {
            Some(prepared) => Ok(prepared),
            None => self.connection.prepare(&statement.sql).await,
        }
    }

    /// The statements are sent without waiting for each other's answers; if one fails Postgres skips the rest up to the
    /// COMMIT, which then rolls back. So the first error is the cause and the others only follow from it.
    async fn read_plainly(&mut self, statement: &Statement) -> Result<Answer, PgError> {
        let session = self.session_statement().await?;
        self.connection.begin();
        let answer = match self.connection.prepared(&statement.sql) {
            Some(prepared) => {
                let client = self.connection.client();
                let (opened, answer, ended) = tokio::join!(
                    self.open(&session),
                    ask(client, &prepared, statement),
                    client.batch_execute("COMMIT"),
                );
                opened.and(answer).and_then(|answer| ended.map(|()| answer))
            }
            None => {
                let answer = self.read_in_steps(&session, statement).await;
                let ended = self.connection.client().batch_execute("COMMIT").await;
                answer.and_then(|answer| ended.map(|()| answer))
            }
        };
        self.finish(answer.as_ref().err());
        answer
    }

    /// Prepared inside the transaction, because the search path decides what the names in it mean.
    async fn read_in_steps(&mut self, session: &Prepared, statement: &Statement) -> Result<Answer, PgError> {
        self.open(session).await?;
        let prepared = self.prepared(statement).await?;
        ask(self.connection.client(), &prepared, statement).await
    }

    /// Writes; see [`Origin::write`](super::Origin::write).
    pub(super) async fn write<T>(
        mut self,
        statement: &Statement,
        changes: &Changes,
        ending: Ending,
        accept: &impl Fn(Answer) -> Result<T, Error>,
        (sign, unsigned): (Sign<'_>, &Unsigned),
        failure: impl Fn(&PgError) -> Error,
    ) -> Result<Written<T>, Uncommitted> {
        let session = self.session;
        let role = session.role.as_deref();
        let mut judged = self.judge(statement, changes, ending, accept, &failure).await;
        let signature = match &judged {
            Ok(written) if !written.changed.is_empty() && !unsigned.contains(role) => sign(&written.changed),
            Ok(_) | Err(_) => None,
        };
        if let Some(signature) = signature {
            let ended = self.connection.client().batch_execute(&signature.commit_sql()).await;
            if ended.as_ref().is_err_and(|error| error.as_db_error().is_some()) {
                // Before the commit or in it: either way nothing took place.
                self.roll_back().await;
            }
            if !ended.as_ref().is_err_and(|error| signature.is_refused(error)) {
                return self.ended(ended, judged?, Signed::Yes, failure);
            }
            unsigned.add(role, signature.place);
            judged = self.judge(statement, changes, ending, accept, &failure).await;
        }
        if judged.is_err() {
            self.roll_back().await;
        }
        let written = judged?;
        let end = match ending {
            Ending::Commit => "COMMIT",
            Ending::Rollback => "ROLLBACK",
        };
        let ended = self.connection.client().batch_execute(end).await;
        self.ended(ended, written, Signed::No, failure)
    }

    /// Begins a transaction, writes, and asks whether the answer will do; all but the end.
    async fn judge<T>(
        &mut self,
        statement: &Statement,
        changes: &Changes,
        ending: Ending,
        accept: &impl Fn(Answer) -> Result<T, Error>,
        failure: &impl Fn(&PgError) -> Error,
    ) -> Result<Written<T>, Error> {
        let session = self.session_statement().await.map_err(|error| failure(&error))?;
        self.connection.begin();
        match self.write_row(&session, statement, changes, ending).await {
            Ok((answer, changed)) => accept(answer).map(|accepted| Written { accepted, changed, signed: Signed::No }),
            Err(error) => {
                if is_outdated(&error) {
                    self.connection.forget(&statement.sql);
                }
                Err(failure(&error))
            }
        }
    }

    async fn roll_back(&mut self) {
        let ended = self.connection.client().batch_execute("ROLLBACK").await;
        self.finish(ended.as_ref().err());
    }

    fn ended<T>(
        &mut self,
        ended: Result<(), PgError>,
        written: Written<T>,
        signed: Signed,
        failure: impl Fn(&PgError) -> Error,
    ) -> Result<Written<T>, Uncommitted> {
        self.finish(ended.as_ref().err());
        match ended {
            Ok(()) => Ok(Written { signed, ..written }),
            // The connection broke while the commit was on its way: nobody knows whether it took place.
            Err(error) if error.as_db_error().is_none() => {
                Err(Uncommitted { error: failure(&error), maybe_changed: written.changed })
            }
            Err(error) => Err(failure(&error).into()),
        }
    }

    async fn write_row(
        &mut self,
        session: &Prepared,
        statement: &Statement,
        changes: &Changes,
        ending: Ending,
    ) -> Result<(Answer, Vec<TableId>), PgError> {
        self.open(session).await?;
        let prepared = self.prepared(statement).await?;
        let answer = ask(self.connection.client(), &prepared, statement).await?;
        let changed = match changes {
            _ if ending == Ending::Rollback => {
                // What a commit would have complained about, the request is to hear as well.
                self.connection.client().batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
                Vec::new()
            }
            Changes::Known(_) if answer.page == 0 => Vec::new(),
            Changes::Known(tables) => tables.clone(),
            Changes::Ask => self.changed_tables().await?,
        };
        Ok((answer, changed))
    }

    /// Asks Postgres what this transaction changed, after the deferred triggers, which may change more.
    async fn changed_tables(&mut self) -> Result<Vec<TableId>, PgError> {
        let client = self.connection.client();
        client.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
        let rows = client.query(CHANGED_TABLES_SQL, &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(TableId { schema: row.try_get::<_, &str>(0)?.into(), name: row.try_get::<_, &str>(1)?.into() })
            })
            .collect()
    }

    async fn open(&self, session: &Prepared) -> Result<(), PgError> {
        let client = self.connection.client();
        let (begun, set, zoned, checked) = tokio::join!(
            client.batch_execute(self.begin_sql()),
            self.set_session(client, session),
            self.set_zone(client),
            self.pre_request(client),
        );
        begun.and(set).and(zoned).and(checked)
    }

    async fn set_zone(&self, client: &Client) -> Result<(), PgError> {
        match self.session.zone {
            // The name is one of a table of constants, none of which has a quote in it.
            Some(zone) => client.batch_execute(&format!("SET LOCAL timezone = '{zone}'")).await,
            None => Ok(()),
        }
    }

    async fn pre_request(&self, client: &Client) -> Result<(), PgError> {
        match self.pre_request {
            Some(sql) => client.batch_execute(sql).await,
            None => Ok(()),
        }
    }

    fn begin_sql(&self) -> &'static str {
        match self.access {
            Access::ReadOnly => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
            Access::ReadWrite => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        }
    }

    async fn session_statement(&mut self) -> Result<Prepared, PgError> {
        let sql = match (&self.session.told, &self.session.role) {
            (Told::Nothing, None) => SHARED_SQL,
            (Told::Nothing, Some(_)) => SHARED_ROLE_SQL,
            (Told::Claims(_), None) => CLAIMS_SQL,
            (Told::Claims(_), Some(_)) => CLAIMS_ROLE_SQL,
            (Told::Request(_), None) => REQUEST_SQL,
            (Told::Request(_), Some(_)) => REQUEST_ROLE_SQL,
        };
        match self.connection.prepared(sql) {
            Some(prepared) => Ok(prepared),
            None => self.connection.prepare(&sql.into()).await,
        }
    }

    async fn set_session(&self, client: &Client, prepared: &Prepared) -> Result<(), PgError> {
        let Session { role, search_path, told, .. } = self.session;
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
        let params: SmallVec<[&(dyn ToSql + Sync); 8]> =
            values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        client.query_one(prepared, &params).await.map(drop)
    }

    /// A transaction whose end was answered is over, whether by commit or not; one that broke off is not.
    fn finish(&mut self, error: Option<&PgError>) {
        if error.is_none_or(|error| error.as_db_error().is_some()) {
            self.connection.end();
        }
    }
}

async fn ask(client: &Client, prepared: &Prepared, statement: &Statement) -> Result<Answer, PgError> {
    match statement.yields {
        Yields::Answer => answer(&one_row(client, prepared, statement).await?),
        Yields::Lines => {
            let params: Vec<_> = statement.params().collect();
            lines(&client.query(prepared, &params).await?)
        }
    }
}

/// The lines of an execution plan; in JSON it is one.
fn lines(rows: &[Row]) -> Result<Answer, PgError> {
    let mut body = Vec::new();
    for row in rows {
        body.extend_from_slice(row.try_get::<_, Raw<'_>>(0)?.0);
        body.push(b'\n');
    }
    Ok(Answer { total: None, page: 0, body: body.into(), said: Said::default(), location: None })
}

async fn one_row(client: &Client, prepared: &Prepared, statement: &Statement) -> Result<Row, PgError> {
    let params: Vec<_> = statement.params().collect();
    client.query_one(prepared, &params).await
}

/// Reads the one row by position: `total_result_set`, `page_total`, `body`, `response_headers`, `response_status`, and for
/// writes `location`.
fn answer(row: &Row) -> Result<Answer, PgError> {
    Ok(Answer {
        total: row.try_get(0)?,
        page: row.try_get(1)?,
        body: row.try_get::<_, Option<Raw<'_>>>(2)?.map_or_else(Bytes::new, |raw| Bytes::copy_from_slice(raw.0)),
        said: Said { headers: row.try_get(3)?, status: row.try_get(4)? },
        location: if row.len() > 5 { row.try_get(5)? } else { None },
    })
}

/// A value of any type as PostgreSQL sends it, which for texts, `json`, `xml` and `bytea` is the bytes themselves.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        // A version comes first (`jsonb_send`).
        Ok(Self(if *of == Type::JSONB { raw.get(1..).unwrap_or_default() } else { raw }))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The number of rows in the outermost node of a plan in JSON.
fn planned_rows(plan: &[u8]) -> Option<i64> {
    let plan: serde_json::Value = serde_json::from_slice(plan).ok()?;
    plan.get(0)?.get("Plan")?.get("Plan Rows")?.as_i64()
}

/// "cached plan must not change result type", or the statement is gone.
fn is_outdated(error: &PgError) -> bool {
    let state = error.code();
    state == Some(&SqlState::FEATURE_NOT_SUPPORTED) || state == Some(&SqlState::INVALID_SQL_STATEMENT_NAME)
}
