//! Postgres: one cluster for a test binary, a fresh copy of the sample for each test, or a cluster of one's own.

mod database;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use crate::process::{Process, Signal, unprivileged};
use crate::{Folder, eventually, free_port, load_sample};

pub use self::database::Database;

/// initdb and a start on a busy machine take their time.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Nothing here survives a power cut and nothing has to: `fsync` and `full_page_writes` cost most of the time.
/// `synchronous_commit` stays on, for it decides what other sessions see when.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
max_connections = 300
shared_buffers = 64MB
wal_level = logical
max_wal_senders = 50
max_replication_slots = 50
max_wal_size = 4GB
shared_preload_libraries = 'pg_stat_statements'
track_counts = on
timezone = 'UTC'
";

/// Out of `public`, which the tests serve as the API.
const STATEMENTS: &str = "create schema statements; create extension pg_stat_statements schema statements";

/// A cluster. The template database in it holds the sample.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    folder: Folder,
    port: u16,
}

impl Postgres {
    /// The cluster all tests of this binary share. A test that stops or freezes Postgres takes [`Postgres::own`].
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::own).await
    }

    /// A cluster for one test alone: about two seconds on a quiet machine.
    pub async fn own() -> Self {
        let postgres = Self::bare().await;
        postgres.make_template().await;
        postgres
    }

    /// As [`Postgres::own`], without the sample: it has no database to copy.
    pub async fn bare() -> Self {
        let mut postgres = Self::at_rest();
        postgres.initialize();
        postgres.start().await;
        postgres
    }

    /// A hot standby of this server, which follows it through a port of its own choice: a cable that can be cut.
    ///
    /// # Panics
    /// If the server cannot be copied.
    pub async fn standby(&self, through: u16) -> Self {
        let mut standby = Self::at_rest();
        let mut copy = unprivileged(program("pg_basebackup"));
        copy.args(["--host=127.0.0.1", "--username=postgres", "--checkpoint=fast", "--wal-method=stream", "--no-sync"]);
        copy.arg(format!("--port={}", self.port)).arg("--pgdata").arg(standby.data());
        let output = tokio::process::Command::from(copy).output().await.expect("pg_basebackup comes with postgres");
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        let follow =
            format!("primary_conninfo = 'host=127.0.0.1 port={through} user=postgres application_name=standby'");
        standby.configure(&follow);
        std::fs::write(standby.data().join("standby.signal"), "").expect("the folder is ours");
        standby.start().await;
        standby
    }

    fn at_rest() -> Self {
        Self { process: None, port: free_port(), folder: Folder::new("pg") }
    }

    /// A fresh copy of the sample, dropped when the value is.
    ///
    /// # Panics
    /// If Postgres refuses.
    pub async fn database(&self) -> Database {
        Database::create(self.port, self.folder.path().to_path_buf()).await
    }

    /// The port it listens on; the same after every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the cluster lies: what the postgres image calls `PGDATA`.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A session in the maintenance database, for what concerns the whole cluster.
    ///
    /// # Panics
    /// If Postgres refuses.
    pub async fn admin(&self) -> Client {
        connect(self.port, "postgres").await.expect("it runs")
    }

    /// Starts it after [`Postgres::stop`] or [`Postgres::crash`] and waits until it takes queries.
    pub async fn start(&mut self) {
        let mut command = unprivileged(program("postgres"));
        command.arg("-D").arg(self.data());
        let process = self.process.insert(Process::start("postgres", command, &self.folder, Signal::Quit));
        eventually("Postgres takes queries", READY_WITHIN, || {
            process.expect_running();
            connect(self.port, "postgres")
        })
        .await;
    }

    /// Fast shutdown: sessions are cut, data is kept, connections are refused from now on.
    pub async fn stop(&mut self) {
        self.end(Signal::Int).await;
    }

    /// As after a crash: the next start recovers from the WAL.
    pub async fn crash(&mut self) {
        self.end(Signal::Quit).await;
    }

    /// The processes of the server and of all its sessions.
    #[must_use]
    pub fn family(&self) -> Vec<u32> {
        self.running().family()
    }

    /// SIGSTOP for the server and all its sessions: connections stay open and nothing answers.
    pub fn pause(&self) {
        // The parent first, lest it start another child behind our back.
        self.running().signal(Signal::Stop);
        for child in self.running().children() {
            Signal::Stop.send(child);
        }
    }

    /// SIGCONT for all of them.
    pub fn resume(&self) {
        for child in self.running().children() {
            Signal::Cont.send(child);
        }
        self.running().signal(Signal::Cont);
    }

    /// Restarts it as a hot standby that follows nobody: it says that it is in recovery, and it refuses writes.
    pub async fn demote(&mut self) {
        self.stop().await;
        std::fs::write(self.data().join("standby.signal"), "").expect("the folder is ours");
        self.start().await;
    }

    /// Ends the recovery that [`Postgres::demote`] began.
    ///
    /// # Panics
    /// If Postgres does not manage within a minute.
    pub async fn promote(&self) {
        let promoted: bool =
            self.admin().await.query_one("select pg_promote()", &[]).await.expect("it is a standby").get(0);
        assert!(promoted, "it is still a standby");
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("postgres was not stopped before")
    }

    fn initialize(&self) {
        let mut initdb = unprivileged(program("initdb"));
        initdb.args(["--no-sync", "--no-instructions", "--auth=trust", "--username=postgres"]);
        initdb.args(["--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"]).arg(self.data());
        let output = initdb.output().expect("initdb is installed");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        self.configure("");
    }

    fn configure(&self, more: &str) {
        let folder = self.folder.path().display();
        let settings = format!("{SETTINGS}port = {}\nunix_socket_directories = '{folder}'\n{more}\n", self.port);
        std::fs::write(self.data().join("postgresql.auto.conf"), settings).expect("the folder is ours");
    }

    async fn make_template(&self) {
        let admin = self.admin().await;
        admin.batch_execute("create database nyc").await.expect("the cluster is empty");
        let nyc = connect(self.port, "nyc").await.expect("it was just made");
        nyc.batch_execute(STATEMENTS).await.expect("the contrib modules are installed");
        load_sample(&nyc).await;
        drop(nyc);
        // Nobody may be connected to a database that is being copied.
        admin
            .batch_execute("alter database nyc with allow_connections false is_template true")
            .await
            .expect("it is ours");
    }

    async fn end(&mut self, signal: Signal) {
        let mut process = self.process.take().expect("postgres was not stopped before");
        process.signal(signal);
        process.ended(READY_WITHIN).await;
    }
}

/// A program of the newest Postgres here: on the path, or where Debian puts it.
pub fn program(name: &str) -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::env::split_paths(&on_path).map(|folder| folder.join(name)).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    versions.sort_by_key(|path| {
        let version = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
        std::cmp::Reverse(version)
    });
    found.extend(versions.into_iter().map(|version| version.join("bin").join(name)));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("{name} is not installed"))
}

/// A session as the superuser `postgres`.
pub(crate) async fn connect(port: u16, database: &str) -> Result<Client, tokio_postgres::Error> {
    let settings = format!("host=127.0.0.1 port={port} user=postgres dbname={database} connect_timeout=10");
    let (client, connection) = tokio_postgres::connect(&settings, NoTls).await?;
    // It ends when the client is dropped; what goes wrong before is seen by the client's callers.
    tokio::spawn(connection);
    Ok(client)
}
