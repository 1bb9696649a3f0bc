//! A server under test: its port, its processes, and the core it is kept on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use transom_tests::bench::Usage;
use transom_tests::{Folder, Process, Signal, eventually};

/// The servers have this core for themselves, as far as the machine lets them.
const SERVERS: &str = "1";
/// The load has this one.
pub(super) const LOAD: &str = "0";

const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// A server that was started here.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) port: u16,
    pub(super) process: Process,
    _folder: Folder,
}

impl Server {
    /// Starts it and waits until it accepts connections.
    pub(super) async fn start(name: &'static str, port: u16, command: Command, folder: Folder) -> Self {
        let mut process = Process::start("server", command, &folder, Signal::Term);
        eventually(name, LISTENS_WITHIN, || {
            process.expect_running();
            tokio::net::TcpStream::connect(("127.0.0.1", port))
        })
        .await;
        Self { name, port, process, _folder: folder }
    }
}

/// Keeps processes, with all their threads, on the core of the servers.
pub(super) fn pin(pids: &[u32]) {
    pids.iter().for_each(|pid| keep_on(SERVERS, *pid));
}

/// A process that ended meanwhile needs no core.
fn keep_on(core: &str, pid: u32) {
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", core, &pid.to_string()]);
    taskset.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("taskset comes with Linux");
}

/// Keeps this process, which is the load, on the core of the load.
pub(super) fn keep_load_apart() {
    keep_on(LOAD, std::process::id());
}

/// What they used of the processor up to now.
pub(super) fn usage(pids: &[u32]) -> Usage {
    Usage::of_all(pids.iter().copied())
}

/// Whether a program is there.
pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    folders.into_iter().any(|folder| Path::new(folder).join(program).exists())
}
