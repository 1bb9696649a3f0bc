//! A server that is measured: its port and its process.

use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::{Folder, Process, Signal, eventually};

const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// A server that was started for a benchmark, ended when dropped.
pub struct Server {
    /// what it is called in a table
    pub name: &'static str,
    /// where it listens
    pub port: u16,
    /// its process
    pub process: Process,
    _folder: Folder,
}

impl Server {
    /// Starts it and waits until it accepts connections.
    ///
    /// # Panics
    /// If it ends, or does not listen within half a minute.
    pub async fn start(name: &'static str, port: u16, command: Command, folder: Folder) -> Self {
        let mut process = Process::start("server", command, &folder, Signal::Term);
        eventually(name, LISTENS_WITHIN, || {
            process.expect_running();
            TcpStream::connect(("127.0.0.1", port))
        })
        .await;
        Self { name, port, process, _folder: folder }
    }
}
