//! Redis: an instance per test, because tests kill, freeze and empty it.

mod cluster;
mod sentinel;

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

pub use self::cluster::RedisCluster;
pub use self::sentinel::RedisSentinel;
use crate::process::{Process, Signal, unprivileged};
use crate::{Folder, Reply, eventually, free_port, resp};

const READY_WITHIN: Duration = Duration::from_secs(20);

/// How a Redis is to be started.
#[derive(Debug, Default)]
pub struct RedisBuilder {
    settings: Vec<(String, String)>,
}

impl RedisBuilder {
    /// Any setting, as in `redis.conf`.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Keeps the data over [`Redis::restart`].
    #[must_use]
    pub fn persistent(self) -> Self {
        self.set("appendonly", "yes").set("appendfsync", "always")
    }

    /// Starts it and waits until it answers.
    pub async fn start(self) -> Redis {
        let folder = Folder::new("redis");
        let mut redis =
            Redis { process: None, data: folder.subfolder("data"), folder, port: free_port(), settings: self.settings };
        redis.launch().await;
        redis
    }
}

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    data: std::path::PathBuf,
    folder: Folder,
    port: u16,
    settings: Vec<(String, String)>,
}

impl Redis {
    /// Settings to be changed before the start.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// Starts one that keeps nothing on disk.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// The port it listens on; the same after every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it was stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").pid()
    }

    /// For `REDIS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends one command and returns the answer.
    ///
    /// # Errors
    /// What the connection or Redis said. A paused Redis does not answer: give the wait a deadline.
    pub async fn command(&self, words: &[&str]) -> io::Result<Reply> {
        resp::command(self.port, words).await
    }

    /// A section of what Redis tells of itself.
    ///
    /// # Panics
    /// If it does not.
    pub async fn info(&self, section: &str) -> String {
        self.command(&["INFO", section]).await.expect("Redis answers").text().expect("a text")
    }

    /// Calls of a command since Redis began; its name in small letters.
    ///
    /// # Panics
    /// If Redis does not tell.
    pub async fn calls(&self, command: &str) -> u64 {
        let info = self.info("commandstats").await;
        let prefix = format!("cmdstat_{command}:calls=");
        let calls = info.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next());
        calls.map_or(0, |calls| calls.parse().expect("a number"))
    }

    /// Cuts the connection of every subscriber and says how many there were.
    ///
    /// # Panics
    /// If Redis does not answer.
    pub async fn kill_pubsub_clients(&self) -> i64 {
        match self.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await {
            Ok(Reply::Integer(count)) => count,
            other => panic!("CLIENT KILL answered {other:?}"),
        }
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.running().signal(Signal::Stop);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.running().signal(Signal::Cont);
    }

    /// SIGKILL: connections are refused from now on.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again without any data, after killing it if it still runs.
    ///
    /// # Panics
    /// If its data cannot be removed.
    pub async fn restart_empty(&mut self) {
        self.process = None;
        for entry in self.data.read_dir().expect("the folder is ours").flatten() {
            remove(&entry.path()).expect("its data can be removed");
        }
        self.launch().await;
    }

    /// Stops it in good order, if it still runs, and starts it again with what it kept on disk.
    pub async fn restart(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::Term);
            process.ended(READY_WITHIN).await;
        }
        self.launch().await;
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("redis was not killed before")
    }

    async fn launch(&mut self) {
        let mut command = unprivileged("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""]);
        command.arg("--dir").arg(&self.data);
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        let process = self.process.insert(Process::start("redis", command, &self.folder, Signal::Kill));
        eventually("redis answers", READY_WITHIN, || {
            process.expect_running();
            resp::command(self.port, &["PING"])
        })
        .await;
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

/// Runs `redis-cli` for what only it can do.
async fn redis_cli(words: &[&str]) {
    let mut command = tokio::process::Command::from(unprivileged("redis-cli"));
    let output = command.args(words).output().await.expect("redis-cli comes with redis");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "redis-cli {words:?} failed: {said}");
}
