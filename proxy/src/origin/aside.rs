//! The pool for somebody who asks on the side, such as the change feed where the server has no connection to spare.

use bb8::Pool;
use tokio_postgres::{Row, types::ToSql};

use super::connection::Manager;

/// A way to the pool that asks single statements outside of any request.
#[derive(Clone)]
pub struct Aside(Pool<Manager>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AsideError {
    /// the pool has no connection
    #[error("no connection: {0}")]
    Pool(#[from] bb8::RunError<tokio_postgres::Error>),
    /// Postgres refuses, or is gone
    #[error("{}", super::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
}

impl Aside {
    pub(super) fn new(pool: Pool<Manager>) -> Self {
        Self(pool)
    }

    /// Runs one statement, prepared once per connection, as the role of the connection.
    ///
    /// # Errors
    /// If the pool or Postgres does not answer.
    pub async fn ask(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, AsideError> {
        let mut connection = self.0.get().await?;
        let statement = match connection.prepared(sql) {
            Some(statement) => statement,
            None => connection.prepare(&sql.into()).await?,
        };
        Ok(connection.client().query(&statement, params).await?)
    }
}
