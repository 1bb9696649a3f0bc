//! A real PostgreSQL 17 inside this process, with the sample data: what `transom demo` runs on.
//!
//! It serves one connection; a [`switchboard`] lets any number of sessions take turns on it, so that a node with its feed and
//! somebody with psql find room. What it is not: it heeds neither `statement_timeout` nor a cancel request, and what runs
//! long in one session holds up all others.

mod sample;
mod switchboard;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pglite_oxide::PgliteServer;
use thiserror::Error;

use self::switchboard::{DATABASE, Switchboard, USER};

/// A session that has a transaction open, and says nothing for so long, is ended: nobody else is served meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where the server itself listens, and where sessions connect: Postgres' names for the sockets of two ports.
const SERVER_SOCKET: &str = ".s.PGSQL.5433";
const SESSIONS_SOCKET: &str = ".s.PGSQL.5432";
/// What may stand in a URL, and between quotes in a shell, as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// Postgres in this process. Ends when dropped, with all its sessions.
pub struct Embedded {
    // In the order in which they end: the server waits for its connection to be closed, and the sockets are in the folder.
    _sessions: Switchboard,
    _server: PgliteServer,
    folder: SocketFolder,
}

/// Why the embedded Postgres is not there.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// it does not start
    #[error("the embedded Postgres does not start: {0}")]
    Start(String),
    /// it does not take the sample data
    #[error("the embedded Postgres does not take the sample data ({step}): {problem}")]
    Sample {
        /// the file or statement in question
        step: &'static str,
        /// what it says
        problem: String,
    },
}

impl Embedded {
    /// Starts Postgres and loads the sample data. Blocks for about a second; not to be called from async code.
    ///
    /// # Errors
    /// If the temporary folder cannot be written, or Postgres refuses to start or to load.
    pub fn start() -> Result<Self, EmbeddedError> {
        let folder = SocketFolder::create().map_err(|error| EmbeddedError::Start(error.to_string()))?;
        // Not TCP: its server writes answers in small pieces without TCP_NODELAY, so each query would wait 40 ms for
        // a delayed acknowledgment.
        let socket = folder.path().join(SERVER_SOCKET);
        let server = PgliteServer::builder()
            .temporary()
            .unix(&socket)
            .username(USER)
            .database(DATABASE)
            .start()
            .map_err(|error| EmbeddedError::Start(format!("{error:#}")))?;
        sample::load(&server.database_url())?;
        let sessions = Switchboard::start(socket, &folder.path().join(SESSIONS_SOCKET), PATIENCE)
            .map_err(|error| EmbeddedError::Start(error.to_string()))?;
        Ok(Self { _sessions: sessions, _server: server, folder })
    }

    /// Where tokio-postgres and psql find it: a superuser, so that the node can become any role.
    #[must_use]
    pub fn url(&self) -> String {
        let folder = self.folder.path().to_string_lossy();
        format!("postgres://{USER}@/{DATABASE}?host={}&port=5432", utf8_percent_encode(&folder, PLAIN))
    }

    /// The role that may use the sample data.
    pub const ANON_ROLE: &'static str = "web_anon";
}

/// A folder for one socket, removed with its content.
struct SocketFolder(PathBuf);

impl SocketFolder {
    /// Short, because the path of a Unix socket has at most 107 bytes.
    fn create() -> std::io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("transom-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        private_folder(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        // What cannot be removed is one empty folder among temporary ones.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Only this user may connect: the database asks for no password.
fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(test)]
mod tests;
