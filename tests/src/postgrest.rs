//! A real PostgREST, to ask what Transom is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, Signal};
use crate::{Database, Folder, Http, eventually, free_port, repository};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A PostgREST being described, with the settings that [`NodeBuilder`](crate::NodeBuilder) gives a node too.
#[derive(Debug, Clone)]
pub struct PostgRestBuilder {
    variables: BTreeMap<String, String>,
}

/// A running PostgREST 12.0.2: the reference.
#[derive(Debug)]
pub struct PostgRest {
    rest: Http,
    port: u16,
    process: Process,
    _folder: Folder,
}

impl PostgRestBuilder {
    /// On this database, as the anonymous role of the sample.
    #[must_use]
    pub fn on(database: &Database) -> Self {
        let variables = [
            ("PGRST_DB_URI", database.url()),
            ("PGRST_DB_ANON_ROLE", "web_anon".to_owned()),
            ("PGRST_DB_CHANNEL_ENABLED", "false".to_owned()),
            ("PGRST_DB_CONFIG", "false".to_owned()),
            ("PGRST_SERVER_HOST", "127.0.0.1".to_owned()),
            ("PGRST_LOG_LEVEL", "crit".to_owned()),
        ];
        Self { variables: variables.map(|(name, value)| (name.to_owned(), value)).into() }
    }

    /// With this setting, by the name it has in Transom too: `db_schemas`.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(format!("PGRST_{}", name.to_uppercase()), value.into());
        self
    }

    /// Starts it; ready when this returns.
    ///
    /// # Panics
    /// If it was not fetched, or does not get ready.
    pub async fn start(&self) -> PostgRest {
        let (port, admin_port) = (free_port(), free_port());
        let folder = Folder::new("postgrest");
        let mut command = Command::new(program());
        command.envs(&self.variables);
        command.env("PGRST_SERVER_PORT", port.to_string()).env("PGRST_ADMIN_SERVER_PORT", admin_port.to_string());
        let mut process = Process::start("postgrest", command, &folder, Signal::Term);
        let admin = Http::new(format!("http://127.0.0.1:{admin_port}"));
        eventually("PostgREST is ready", READY_WITHIN, || {
            process.expect_running();
            let (asking, log) = (admin.get("/ready").try_send(), process.log());
            async move { if asking.await.is_ok_and(|answer| answer.status == 200) { Ok(()) } else { Err(log) } }
        })
        .await;
        PostgRest { rest: Http::new(format!("http://127.0.0.1:{port}")), port, process, _folder: folder }
    }
}

impl PostgRest {
    /// Its API.
    #[must_use]
    pub fn rest(&self) -> &Http {
        &self.rest
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The port of its API.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn program() -> PathBuf {
    let program = repository().join("target/tools/postgrest/postgrest");
    assert!(program.exists(), "{} is missing: run tests/install", program.display());
    program
}
