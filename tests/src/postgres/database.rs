//! A database for one test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::connect;

const DROP_WITHIN: Duration = Duration::from_secs(10);

/// A copy of the sample that nobody else uses. Dropping it cuts its sessions, drops its replication slots and the
/// database.
#[derive(Debug)]
pub struct Database {
    port: u16,
    socket_folder: PathBuf,
    name: String,
}

impl Database {
    pub(super) async fn create(port: u16, socket_folder: PathBuf) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = connect(port, "postgres").await.expect("the cluster runs");
        admin.batch_execute(&format!("create database {name} template nyc")).await.expect("the template is idle");
        Self { port, socket_folder, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port of its server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// For `DATABASE_URL`: over TCP, as the superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// The same through another port, such as that of an HAProxy.
    #[must_use]
    pub fn url_through(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{}", self.name)
    }

    /// For `DATABASE_URL`: over the Unix socket.
    #[must_use]
    pub fn socket_url(&self) -> String {
        // A slash in the place of a host must be escaped.
        let host = self.socket_folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{host}:{}/{}", self.port, self.name)
    }

    /// A session of its own.
    ///
    /// # Panics
    /// If Postgres refuses.
    pub async fn client(&self) -> Client {
        connect(self.port, &self.name).await.expect("the cluster runs")
    }

    /// A session through another port, such as that of an HAProxy.
    ///
    /// # Errors
    /// What the connection said.
    pub async fn client_through(&self, port: u16) -> Result<Client, tokio_postgres::Error> {
        connect(port, &self.name).await
    }

    /// Runs statements behind the proxy's back.
    ///
    /// # Panics
    /// If Postgres refuses.
    pub async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The first column of the first row, as text; `None` if there is no row or it is NULL.
    ///
    /// # Panics
    /// If Postgres refuses.
    pub async fn value(&self, sql: &str) -> Option<String> {
        let messages = self.client().await.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
            _ => None,
        })?
    }

    /// How many sessions of a node wait for a lock.
    ///
    /// # Panics
    /// If Postgres refuses.
    pub async fn waiting_for_locks(&self) -> usize {
        let sql = "select count(*) from pg_stat_activity where datname = current_database() \
                   and application_name = 'transom' and state = 'active' and wait_event_type = 'Lock'";
        self.value(sql).await.and_then(|count| count.parse().ok()).expect("a count")
    }

    /// How often this database ran statements whose normalized text matches `like`, since it was made.
    ///
    /// # Panics
    /// If Postgres refuses.
    pub async fn calls(&self, like: &str) -> i64 {
        let sql = "select coalesce(sum(calls), 0)::bigint from statements.pg_stat_statements \
                   where dbid = (select oid from pg_database where datname = current_database()) \
                   and query ilike $1 and query not like '%pg_stat_statements%'";
        let parameters: [&(dyn ToSql + Sync); 1] = [&like];
        self.client().await.query_one(sql, &parameters).await.expect("the extension is installed").get(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (port, name) = (self.port, self.name.clone());
        // Dropping is not async, and the runtime of the test may have one thread only: so a thread with its own.
        let dropped = thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            // A server that is stopped, frozen or gone drops nothing; its folder takes the rest with it.
            let _ = runtime.block_on(async { timeout(DROP_WITHIN, drop_database(port, &name)).await });
        });
        let _ = dropped.join();
    }
}

async fn drop_database(port: u16, name: &str) -> Result<(), tokio_postgres::Error> {
    let admin = connect(port, "postgres").await?;
    let slots = format!(
        "select pg_terminate_backend(active_pid, 1000) from pg_replication_slots
         where database = '{name}' and active_pid is not null;
         select pg_drop_replication_slot(slot_name) from pg_replication_slots
         where database = '{name}' and active_pid is null;"
    );
    // A slot that somebody took back in between keeps the database, which does no harm.
    let _ = admin.batch_execute(&slots).await;
    admin.batch_execute(&format!("drop database if exists {name} with (force)")).await
}
