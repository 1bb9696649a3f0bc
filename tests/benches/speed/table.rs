//! Rounds, and what is printed of them.

use std::time::Duration;

use tokio::net::TcpStream;
use transom_tests::Signal;
use transom_tests::bench::{Answer, Server, median};

use super::bare;
use super::load::{Lap, Load};
use super::peers::{self, Setting};
use super::scenario::Scenario;
use super::server::{pin, usage};
use super::world::{World, ask, warm};

const ROUNDS: usize = 5;
const LAP_SECONDS: u64 = 3;
/// Headers of a node that say how it came by an answer, or that caches do without.
const OWN: [&str; 6] = ["age", "cache-status", "server-timing", "x-request-id", "vary", "date"];

/// A server in the run, and what it did.
struct Contender {
    name: &'static str,
    port: u16,
    pids: Vec<u32>,
    laps: Vec<(Lap, Duration)>,
    _server: Option<Server>,
}

/// Runs these scenarios and prints a table for each.
pub(super) async fn measure(scenarios: Vec<&'static Scenario>, world: &mut World) {
    for scenario in scenarios {
        run(scenario, world).await;
    }
}

async fn run(scenario: &Scenario, world: &mut World) {
    let targets = scenario.targets.each();
    let headers = world.headers(scenario.asking, &targets[0]).await;
    let node = world.node.port();
    warm(node, &targets, &headers).await;
    let origin = peers::hyper("the origin", &bare::written(&cacheable(ask(node, &targets[0], &[]).await))).await;
    let answer = bare::written(&ask(node, &targets[0], &headers).await);
    let setting = Setting { answer: &answer, origin: origin.port };
    let mut contenders = Vec::new();
    for peer in scenario.peers {
        let Some(server) = peer.start(&setting).await else { continue };
        warm(server.port, &targets, &headers).await;
        contenders.push(Contender::of(server));
    }
    let pids = world.node.process().family();
    contenders.push(Contender { name: "Transom", port: node, pids, laps: Vec::new(), _server: None });
    // Whoever asks it from now on would wait for ever: a cache that does not cache cannot pass.
    origin.process.signal(Signal::Stop);
    let before = world.hits().await;
    let load = Load::new(scenario, headers);
    for contender in &mut contenders {
        pin(&contender.pids);
    }
    for round in 0..=ROUNDS {
        for contender in &mut contenders {
            let idle = connect(contender.port, scenario.idle).await;
            let used = usage(&contender.pids);
            // The first round warms up.
            let lap = load.run(contender.name, contender.port, if round == 0 { 1 } else { LAP_SECONDS }).await;
            let used = usage(&contender.pids).since(used);
            if round > 0 {
                contender.laps.push((lap, used));
            }
            drop(idle);
        }
    }
    let after = world.hits().await;
    let [hits, all] = [0, 1].map(|index| after[index] - before[index]);
    assert!(hits * 1_000 >= all * 999, "{hits} of {all} were hits");
    print(scenario, &contenders);
}

impl Contender {
    fn of(server: Server) -> Self {
        let pids = server.process.family();
        Self { name: server.name, port: server.port, pids, laps: Vec::new(), _server: Some(server) }
    }

    fn rates(&self) -> Vec<f64> {
        self.laps.iter().map(|(lap, _)| lap.rate()).collect()
    }

    /// Processor time per request, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn costs(&self) -> Vec<f64> {
        self.laps.iter().map(|(lap, used)| used.as_secs_f64() * 1e6 / lap.requests as f64).collect()
    }

    fn row(&self, ceiling: (f64, f64)) -> String {
        let (rates, costs) = (self.rates(), self.costs());
        let millis =
            |of: fn(&Lap) -> Duration| median(self.laps.iter().map(|(lap, _)| of(lap).as_secs_f64() * 1e3).collect());
        let (rate, cost) = (median(rates.clone()), median(costs.clone()));
        let (worst, best) = (least(&rates), greatest(&rates));
        format!(
            "| {} | {rate:.0} | {worst:.0} to {best:.0} | {:.2} | {cost:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            self.name,
            rate / ceiling.0,
            least(&costs),
            cost / ceiling.1,
            millis(|lap| lap.median),
            millis(|lap| lap.p99),
        )
    }
}

fn print(scenario: &Scenario, contenders: &[Contender]) {
    let ceiling = (median(contenders[0].rates()), median(contenders[0].costs()));
    println!("\n### `{}`: {}\n", scenario.name, scenario.about);
    println!("| server | requests/s | spread | ratio | CPU us/request | best | ratio | median ms | p99 ms |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for contender in contenders {
        println!("{}", contender.row(ceiling));
    }
}

fn least(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::INFINITY, f64::min)
}

fn greatest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

/// The answer as a cache is glad to have it.
fn cacheable(mut answer: Answer) -> Answer {
    for name in OWN {
        answer.headers.remove(name);
    }
    answer.headers.insert("cache-control", http::HeaderValue::from_static("public, max-age=3600"));
    answer
}

/// Connections that say nothing.
async fn connect(port: u16, count: usize) -> Vec<TcpStream> {
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        idle.push(TcpStream::connect(("127.0.0.1", port)).await.expect("there is room for them"));
    }
    idle
}
