//! The connection of the feed: one of its own, or, where the server has none to spare, the pool's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify},
    time::timeout,
};
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::{Ended, objects::SCHEMA};
use crate::{feed::endpoint::Endpoint, origin::Aside};

/// A server that does not answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the feed asks.
pub(super) enum Line {
    /// a session of its own, which is told when something was recorded
    Own(Box<Own>),
    /// whatever connection the pool has, now and then
    Pool(Aside),
}

/// See [`Line::Own`].
pub(super) struct Own {
    client: Client,
    woken: Arc<Notify>,
    statements: Mutex<BTreeMap<&'static str, Statement>>,
}

impl Line {
    /// A session of its own.
    pub(super) async fn open(endpoint: &Endpoint) -> Result<Self, Ended> {
        let (client, woken) = endpoint.listening().await?;
        client.batch_execute(&format!("LISTEN {SCHEMA}")).await?;
        Ok(Self::Own(Box::new(Own { client, woken, statements: Mutex::default() })))
    }

    /// Runs one statement, which is prepared once.
    pub(super) async fn ask(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Ended> {
        let asked = async {
            match self {
                Self::Own(own) => own.ask(sql, params).await.map_err(Ended::from),
                Self::Pool(aside) => aside.ask(sql, params).await.map_err(|error| Ended::Postgres(error.to_string())),
            }
        };
        timeout(PATIENCE, asked).await.map_err(|_| Ended::Postgres("postgres does not answer".to_owned()))?
    }

    /// The one row of a statement that always has one.
    pub(super) async fn ask_one(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Row, Ended> {
        let mut rows = self.ask(sql, params).await?;
        rows.pop().ok_or_else(|| Ended::Postgres("postgres answered with nothing".to_owned()))
    }

    /// Waits until something was recorded; forever, where nobody says so.
    pub(super) async fn woken(&self) {
        match self {
            Self::Own(own) => own.woken.notified().await,
            Self::Pool(_) => std::future::pending().await,
        }
    }
}

impl Own {
    async fn ask(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, tokio_postgres::Error> {
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
