//! One server process: started as a user who may not do much, stopped by pid, never by name.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Folder, eventually};

/// How long a dropped process may take to end before it is killed.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What can be sent to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// end in good order
    Term,
    /// end quickly (Postgres: fast shutdown)
    Int,
    /// end at once (Postgres: immediate shutdown, as after a crash)
    Quit,
    /// be gone
    Kill,
    /// freeze
    Stop,
    /// go on
    Cont,
    /// what a service does with it is its own choice
    Usr1,
    /// likewise
    Usr2,
}

impl Signal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
        }
    }

    /// Sends the signal. A process that is gone already is no error.
    pub(crate) fn send(self, pid: u32) {
        // The shell's own `kill`: this workspace forbids unsafe code, and the separate program may not be installed.
        let _ = Command::new("sh")
            .args(["-c", "kill -$0 $1", self.as_str(), &pid.to_string()])
            .stderr(Stdio::null())
            .status();
    }
}

/// A running process, ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    end_by: Signal,
    pid_file: PathBuf,
    log_file: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `<folder>/<name>.log`; `end_by` is the signal that ends it when dropped.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command, folder: &Folder, end_by: Signal) -> Self {
        let log_file = folder.path().join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&log_file).expect("the folder is ours");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log)
            // Its own group: an interrupt from the terminal reaches the tests, and they or the watcher end the servers.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
        let pid_file = folder.path().join(format!("{name}.pid"));
        fs::write(&pid_file, format!("{} {}\n", end_by.as_str(), child.id())).expect("the folder is ours");
        Self { child, name: name.to_owned(), end_by, pid_file, log_file }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        signal.send(self.pid());
    }

    /// It and the processes it started.
    #[must_use]
    pub fn family(&self) -> Vec<u32> {
        std::iter::once(self.pid()).chain(self.children()).collect()
    }

    /// The processes it started.
    #[must_use]
    pub(crate) fn children(&self) -> Vec<u32> {
        let parent_of = |pid: u32| -> Option<u32> {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // "pid (name) state ppid ...": the name may hold anything, so count from its closing parenthesis.
            stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
        };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| parent_of(pid) == Some(self.pid())).collect()
    }

    /// Whether it ended already.
    ///
    /// # Panics
    /// If the system refuses to say.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    /// For use while waiting for it to be ready.
    ///
    /// # Panics
    /// With its log if it ended instead.
    pub fn expect_running(&mut self) {
        if let Some(status) = self.exit_status() {
            panic!("{} ended with {status}: {}", self.name, self.log());
        }
    }

    /// Waits until it ended by itself or by a signal sent before.
    ///
    /// # Panics
    /// If it still runs after `within`; the message ends with its log.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} (pid {}) ends", self.name, self.pid());
        eventually(&what, within, || std::future::ready(self.exit_status().ok_or_else(|| self.log()))).await
    }

    /// Everything it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log_file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // A frozen process would never see the signal that ends it.
            self.signal(Signal::Cont);
            self.signal(self.end_by);
            let deadline = Instant::now() + END_WITHIN;
            while matches!(self.child.try_wait(), Ok(None)) {
                if Instant::now() > deadline {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    break;
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// A command that will run as the user for servers: initdb and postgres refuse to run as root.
#[must_use]
pub fn unprivileged(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    // The test's own folder may be closed to that user.
    command.current_dir("/");
    command
}

/// Lets the user for servers write there.
pub(crate) fn give_to_server_user(path: &Path) {
    if let Some((uid, gid)) = server_user() {
        chown(path, Some(uid), Some(gid)).expect("root may give away its files");
    }
}

/// User and group for the servers if this process runs as root; else they run as who we are.
fn server_user() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    if !is_root {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("a Unix system has users");
    let find = |name: &str| {
        let mut fields = passwd.lines().map(|line| line.split(':')).find(|f| f.clone().next() == Some(name))?;
        Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("there is a user `postgres` or `nobody`"))
}
