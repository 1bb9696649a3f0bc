//! Statements of Transom itself: as the role of the connection, one at a time, each its own transaction.

use std::time::Instant;

use tokio_postgres::{error::SqlState, types::Type};

use super::{Connection, Failure, Origin, wire};
use crate::{
    error::{Error, StateRefusal},
    rest::Caller,
    telemetry::Operation,
};

/// A row that such a statement yields.
pub(crate) struct Row(wire::Row);

impl Row {
    /// A `bigint`.
    ///
    /// # Errors
    /// If the column is none.
    pub(crate) fn number(&self, column: usize) -> Result<Option<i64>, Error> {
        self.0.get(column, &Type::INT8).map_err(unreadable)
    }

    /// A `text`.
    ///
    /// # Errors
    /// If the column is none.
    pub(crate) fn text(&self, column: usize) -> Result<Option<&str>, Error> {
        self.0.get(column, &Type::TEXT).map_err(unreadable)
    }

    /// A `boolean`; null is false.
    ///
    /// # Errors
    /// If the column is none.
    pub(crate) fn truth(&self, column: usize) -> Result<bool, Error> {
        self.0.get::<Option<bool>>(column, &Type::BOOL).map(Option::unwrap_or_default).map_err(unreadable)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unreadable(failure: Failure) -> Error {
    Error::Unreachable { reason: failure.to_string() }
}

impl Origin {
    /// The one row that this statement yields, whose parameters are written as text. The caller brings the deadline: a
    /// connection that is given up in the middle is closed, and the statement still ends.
    ///
    /// # Errors
    /// If Postgres is away or refuses; [`StateRefusal::NotInstalled`] if what it names is not there, or not for this role.
    pub(crate) async fn ask_own(&self, sql: &'static str, parameters: &[&str]) -> Result<Row, Error> {
        let mut connection = self.connection().await?;
        let began = Instant::now();
        let row = one_row(&mut connection, sql, parameters).await;
        if self.metrics.origin(Operation::State, began.elapsed()) {
            tracing::warn!(operation = Operation::State.as_str(), elapsed = ?began.elapsed(), sql, "slow query");
        }
        row.map(Row).map_err(|failure| {
            // It may be prepared for what there is no more.
            connection.forget(sql);
            match failure.refusal() {
                Some(refusal) if NOT_INSTALLED.contains(&refusal.state) => {
                    StateRefusal::NotInstalled { reason: refusal.message.clone() }.into()
                }
                _ => self.failure(&failure, Caller::Authenticated),
            }
        })
    }
}

/// What it means that `transom setup --state` was not run, or not for this role.
const NOT_INSTALLED: [SqlState; 4] = [
    SqlState::UNDEFINED_FUNCTION,
    SqlState::UNDEFINED_TABLE,
    SqlState::INVALID_SCHEMA_NAME,
    SqlState::INSUFFICIENT_PRIVILEGE,
];

async fn one_row(connection: &mut Connection, sql: &'static str, parameters: &[&str]) -> Result<wire::Row, Failure> {
    let mut batch = connection.batch();
    let place = batch.run(sql, parameters.iter().map(|text| Some(*text)))?;
    batch.exchange().await?.one(place)
}
