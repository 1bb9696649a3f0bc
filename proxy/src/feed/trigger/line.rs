//! The connection of the feed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify},
    time::timeout,
};
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::{Ended, objects::SCHEMA};
use crate::feed::endpoint::Endpoint;

/// A server that does not answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// A session, which is told when something was recorded.
pub(super) struct Line {
    client: Client,
    woken: Arc<Notify>,
    statements: Mutex<BTreeMap<&'static str, Statement>>,
}

impl Line {
    pub(super) async fn open(endpoint: &Endpoint) -> Result<Self, Ended> {
        let (client, woken) = endpoint.listening().await?;
        client.batch_execute(&format!("LISTEN {SCHEMA}")).await?;
        Ok(Self { client, woken, statements: Mutex::default() })
    }

    /// Runs one statement, which is prepared once.
    pub(super) async fn ask(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Ended> {
        let answer = timeout(PATIENCE, self.ask_patiently(sql, params)).await;
        Ok(answer.map_err(|_| Ended::Postgres("postgres does not answer".to_owned()))??)
    }

    /// The one row of a statement that always has one.
    pub(super) async fn ask_one(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Row, Ended> {
        let mut rows = self.ask(sql, params).await?;
        rows.pop().ok_or_else(|| Ended::Postgres("postgres answered with nothing".to_owned()))
    }

    /// Waits until something was recorded.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    async fn ask_patiently(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let mut statements = self.statements.lock().await;
        let statement = match statements.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.client.prepare(sql).await?;
                statements.insert(sql, statement.clone());
                statement
            }
        };
        drop(statements);
        self.client.query(&statement, params).await
    }
}
