//! What a node asks of Postgres before it serves: whether it is there, what is in it, whether requests can be answered.

use std::time::{Duration, Instant};

use super::{Failure, Origin, describe, quoted};
use crate::{
    config::Database,
    error::Error,
    rest::{self, Caller, SchemaCache},
    telemetry::Operation,
};

/// Why the settings do not fit the database.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// a schema does not exist
    #[error("setting `db_schemas`: there is no schema {schema:?}; create it or correct the setting")]
    Schema {
        /// its name
        schema: String,
    },
    /// the connection's role may not become the role of requests
    #[error(
        "setting `db_anon_role`: the role of database_url may not become {role:?}: {reason}; \
         `grant` it that role or correct the setting"
    )]
    Role {
        /// its name
        role: String,
        /// what Postgres says
        reason: String,
    },
    /// Postgres did not tell
    #[error(transparent)]
    Unknown(#[from] Error),
}

impl Origin {
    /// Waits until Postgres accepts a connection: once, and then `retries` times more, `wait` apart.
    ///
    /// # Errors
    /// With the reason of the last refusal.
    pub async fn wait_until_up(&self, retries: u32, wait: Duration) -> Result<(), Failure> {
        for attempt in 1..=retries {
            match self.watchman.try_connect().await {
                Ok(()) => return Ok(()),
                Err(reason) => {
                    tracing::warn!(%reason, attempt, of = retries, ?wait, "postgres is not reachable yet; trying again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
        self.watchman.try_connect().await
    }

    /// Reads the catalogs.
    ///
    /// # Errors
    /// If Postgres is away, or refuses.
    pub async fn load_schema(&self, schemas: &[String]) -> Result<SchemaCache, Error> {
        let client = self.client().await?;
        let began = Instant::now();
        let schema = rest::load_schema(&client, schemas).await;
        self.metrics.origin(Operation::Schema, began.elapsed());
        schema.map_err(|error| self.failure(&error.into(), Caller::Anonymous))
    }

    /// Looks whether requests can be answered as the settings want it: else every one of them would fail.
    ///
    /// # Errors
    /// Which setting does not fit this database, or that Postgres is away.
    pub async fn check_access(&self, database: &Database) -> Result<(), Denied> {
        let client = self.client().await?;
        let sql = "select name from unnest($1::text[]) name where not exists \
                   (select from pg_namespace where nspname = name)";
        let missing = client.query(sql, &[&database.schemas]).await;
        let missing = missing.map_err(|error| self.failure(&error.into(), Caller::Anonymous))?;
        if let Some(row) = missing.first() {
            return Err(Denied::Schema { schema: row.get(0) });
        }
        let Some(role) = &database.anon_role else { return Ok(()) };
        // Tried rather than asked: what it takes differs between versions. Both in one message, so nothing is left set.
        let become_it = format!("set role {}; reset role", quoted(role));
        match client.batch_execute(&become_it).await {
            Err(error) if error.as_db_error().is_some() => {
                Err(Denied::Role { role: role.clone(), reason: describe(&error) })
            }
            tried => Ok(tried.map_err(|error| self.failure(&error.into(), Caller::Anonymous))?),
        }
    }

    /// A connection outside of the pool.
    async fn client(&self) -> Result<tokio_postgres::Client, Error> {
        self.manager.client().await.map_err(|error| self.failure(&error.into(), Caller::Anonymous))
    }
}
