//! The load: wrk for HTTP/1.1 and h2load for HTTP/2, on a core of their own.

use std::fmt::Write as _;
use std::process::{Command, Output};
use std::time::Duration;

use transom_tests::Folder;

use super::scenario::{Protocol, Scenario};
use super::server::LOAD;

const CONNECTIONS: &str = "64";
/// Requests that are made before the load begins, and then sent in turn.
const PREPARED: usize = 65_536;

/// What one lap brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lap {
    pub(super) requests: u64,
    pub(super) took: Duration,
    pub(super) median: Duration,
    pub(super) p99: Duration,
}

impl Lap {
    /// Answers per second.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(super) fn rate(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }
}

/// A load that can be sent to any server.
pub(super) struct Load {
    protocol: Protocol,
    headers: Vec<(String, String)>,
    /// wrk's script, or h2load's list of targets
    folder: Folder,
}

impl Load {
    pub(super) fn new(scenario: &Scenario, headers: Vec<(String, String)>) -> Self {
        let folder = Folder::new("load");
        let targets = scenario.targets.some(PREPARED);
        match scenario.protocol {
            Protocol::Http1 => folder.write("load.lua", script(&targets)),
            Protocol::Http2 => folder.write("targets", targets.join("\n")),
        };
        Self { protocol: scenario.protocol, headers, folder }
    }

    /// Sends it for so long.
    ///
    /// # Panics
    /// If there is no answer, or any is an error: a benchmark of failures would measure nothing.
    pub(super) async fn run(&self, server: &str, port: u16, seconds: u64) -> Lap {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", LOAD]);
        match self.protocol {
            Protocol::Http1 => self.wrk(&mut command, port, seconds),
            Protocol::Http2 => self.h2load(&mut command, port, seconds),
        };
        let output = tokio::process::Command::from(command).output().await.expect("taskset comes with Linux");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let lap = match self.protocol {
            Protocol::Http1 => read_wrk(&said),
            Protocol::Http2 => read_h2load(&said, seconds),
        };
        lap.unwrap_or_else(|| panic!("the load on {server} failed: {said}{}", errors(&output)))
    }

    fn wrk(&self, command: &mut Command, port: u16, seconds: u64) {
        command.args(["wrk", "-t1", "-c", CONNECTIONS, &format!("-d{seconds}s"), "--latency"]);
        for (name, value) in &self.headers {
            command.arg("-H").arg(format!("{name}: {value}"));
        }
        command.arg("-s").arg(self.folder.path().join("load.lua")).arg(format!("http://127.0.0.1:{port}/"));
    }

    fn h2load(&self, command: &mut Command, port: u16, seconds: u64) {
        command.args(["h2load", "-t1", "-c", CONNECTIONS, "-m1", &format!("-D{seconds}")]);
        for (name, value) in &self.headers {
            command.arg("-H").arg(format!("{name}: {value}"));
        }
        command.arg("-i").arg(self.folder.path().join("targets")).arg("-B").arg(format!("http://127.0.0.1:{port}"));
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A script that sends these in turn, and says at the end what came of it.
fn script(targets: &[String]) -> String {
    let mut text = String::from("local targets = {\n");
    for target in targets {
        writeln!(text, "{target:?},").expect("writing to memory does not fail");
    }
    text + "}
local requests, next = {}, 0
init = function()
    for number, target in ipairs(targets) do requests[number] = wrk.format('GET', target) end
end
request = function()
    next = next % #requests + 1
    return requests[next]
end
done = function(summary, latency)
    local errors = summary.errors
    print(string.format('lap %d %d %d %d %d', summary.requests, summary.duration, latency:percentile(50),
        latency:percentile(99), errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
"
}

fn read_wrk(said: &str) -> Option<Lap> {
    let figures = said.lines().find_map(|line| line.strip_prefix("lap "))?;
    let figures: Vec<u64> = figures.split(' ').filter_map(|figure| figure.parse().ok()).collect();
    let [requests, took, median, p99, 0] = figures[..] else { return None };
    let [took, median, p99] = [took, median, p99].map(Duration::from_micros);
    (requests > 0).then_some(Lap { requests, took, median, p99 })
}

/// h2load names no quantiles; its mean stands for the median, and its maximum for the 99th percentile.
fn read_h2load(said: &str, seconds: u64) -> Option<Lap> {
    let line = |start: &str| said.lines().find_map(|line| line.trim_start().strip_prefix(start));
    let counts = line("requests:")?;
    let count = |what: &str| -> Option<u64> {
        counts.split(", ").find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    let (requests, failed) = (count("succeeded")?, count("failed")?);
    let mut times = line("time for request:")?.split_whitespace().skip(1).map(read_time);
    let (worst, mean) = (times.next()??, times.next()??);
    (failed == 0 && requests > 0).then_some(Lap {
        requests,
        took: Duration::from_secs(seconds),
        median: mean,
        p99: worst,
    })
}

fn read_time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|char: char| char.is_ascii_alphabetic())?);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        _ => number,
    };
    Some(Duration::from_secs_f64(seconds))
}
