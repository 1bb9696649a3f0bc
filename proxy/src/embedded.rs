//! A real PostgreSQL 17 inside this process, with the sample data: what `transom demo` runs on.
//!
//! What it is not: it serves one connection at a time (a second one waits in the listen queue until the first is
//! closed), and it heeds neither `statement_timeout` nor a cancel request.

mod sample;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use pglite_oxide::PgliteServer;
use thiserror::Error;

/// Postgres in this process. Ends when dropped; close all connections before, or dropping waits for them.
pub struct Embedded {
    // Declared first, because it ends before the folder of its socket is removed.
    server: PgliteServer,
    _folder: SocketFolder,
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
        let server = PgliteServer::builder()
            .temporary()
            .unix(folder.path().join(".s.PGSQL.5432"))
            .start()
            .map_err(|error| EmbeddedError::Start(format!("{error:#}")))?;
        let embedded = Self { server, _folder: folder };
        sample::load(&embedded.url())?;
        Ok(embedded)
    }

    /// Where tokio-postgres finds it: a superuser, so that the node can become any role.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.database_url()
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
