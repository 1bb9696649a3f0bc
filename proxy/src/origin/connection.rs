//! One connection with its prepared statements.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use bb8_postgres::PostgresConnectionManager;
use lru::LruCache;
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

/// Prepared statements kept per connection; Postgres holds a plan for each.
const STATEMENTS_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
/// A host that does not even refuse is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes connections for the pool.
#[derive(Clone)]
pub(super) struct Manager(PostgresConnectionManager<NoTls>);

/// A connection to Postgres.
pub(super) struct Connection {
    client: Client,
    statements: LruCache<Arc<str>, Statement>,
    /// between the start and the end of a transaction; a connection that comes back to the pool like this was dropped
    /// by a request that went away, and whatever state it is in, nobody else must get it
    in_transaction: bool,
}

impl Manager {
    pub(super) fn new(mut config: Config) -> Self {
        if config.get_application_name().is_none() {
            config.application_name("transom");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        Self(PostgresConnectionManager::new(config, NoTls))
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self) -> Result<Connection, Error> {
        let client = self.0.connect().await?;
        Ok(Connection { client, statements: LruCache::new(STATEMENTS_MAX), in_transaction: false })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), Error> {
        self.0.is_valid(&mut connection.client).await
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.in_transaction || connection.client.is_closed()
    }
}

impl Connection {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The statement if it is prepared already.
    pub(super) fn prepared(&mut self, sql: &str) -> Option<Statement> {
        self.statements.get(sql).cloned()
    }

    /// Prepares a statement and remembers it; the one used longest ago is closed if there are too many.
    pub(super) async fn prepare(&mut self, sql: &Arc<str>) -> Result<Statement, Error> {
        let statement = self.client.prepare(sql).await?;
        self.statements.put(sql.clone(), statement.clone());
        Ok(statement)
    }

    /// Forgets a statement that Postgres does not accept any more (the table changed under it).
    pub(super) fn forget(&mut self, sql: &str) {
        self.statements.pop(sql);
    }

    pub(super) fn begin(&mut self) {
        self.in_transaction = true;
    }

    pub(super) fn end(&mut self) {
        self.in_transaction = false;
    }
}
