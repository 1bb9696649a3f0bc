//! Statements of Transom itself: as the role of the connection, one at a time, each its own transaction.

use std::time::Instant;

use tokio_postgres::{Error as PgError, Row, error::SqlState, types::ToSql};

use super::{Connection, Origin};
use crate::{
    error::{Error, StateRefusal},
    rest::Caller,
    telemetry::Operation,
};

impl Origin {
    /// The one row that this statement yields. The caller brings the deadline: given up, the statement still ends.
    ///
    /// # Errors
    /// If Postgres is away or refuses; [`StateRefusal::NotInstalled`] if what it names is not there, or not for this role.
    pub(crate) async fn ask_own(&self, sql: &'static str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, Error> {
        let mut connection = self.connection().await?;
        let began = Instant::now();
        let row = one_row(&mut connection, sql, parameters).await;
        if self.metrics.origin(Operation::State, began.elapsed()) {
            tracing::warn!(operation = Operation::State.as_str(), elapsed = ?began.elapsed(), sql, "slow query");
        }
        row.map_err(|error| {
            // It may be prepared for what there is no more.
            connection.forget(sql);
            match error.as_db_error() {
                Some(refusal) if NOT_INSTALLED.contains(refusal.code()) => {
                    StateRefusal::NotInstalled { reason: refusal.message().to_owned() }.into()
                }
                _ => self.failure(&error, Caller::Authenticated),
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

async fn one_row(
    connection: &mut Connection,
    sql: &'static str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row, PgError> {
    let prepared = match connection.prepared(sql) {
        Some(prepared) => prepared,
        None => connection.prepare(&sql.into()).await?,
    };
    connection.client().query_one(&prepared, parameters).await
}
