//! A Redis of our own, without persistence, that ends with the demo.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// A running redis-server. Dropping it ends it.
pub(super) struct PrivateRedis {
    process: Child,
    address: SocketAddr,
}

impl PrivateRedis {
    /// Starts one if `redis-server` is on the PATH; `None` if not, or if it does not come up.
    pub(super) fn start() -> Option<Self> {
        let server = on_path("redis-server")?;
        let address = free_address()?;
        // Its memory is all it has: nothing is written, so it needs no folder of its own.
        let process = launcher(server)
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .args(["--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru"])
            .arg("--dir")
            .arg(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C goes to the whole group of the terminal, but Redis must outlive the requests in flight.
            .process_group(0)
            .spawn()
            .ok()?;
        let redis = Self { process, address };
        redis.is_up().then_some(redis)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn is_up(&self) -> bool {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if TcpStream::connect_timeout(&self.address, READY_WITHIN).is_ok() {
                return true;
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
        false
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Where `setpriv` exists (util-linux), the kernel ends Redis with us even if we are killed.
fn launcher(server: PathBuf) -> Command {
    let Some(setpriv) = on_path("setpriv") else {
        return Command::new(server);
    };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL"]).arg(server);
    command
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Free a moment ago; should somebody take it before Redis does, the demo runs without L2.
fn free_address() -> Option<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()
}
