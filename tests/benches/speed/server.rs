//! The core that servers under test are kept on, and what they use of it.

use std::path::Path;
use std::process::{Command, Stdio};

use transom_tests::bench::Usage;

/// The servers have this core for themselves, as far as the machine lets them.
const SERVERS: &str = "1";
/// The load has this one.
pub(super) const LOAD: &str = "0";

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
