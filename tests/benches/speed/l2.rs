//! Hits on L2 alone, beside what Redis gives to its own benchmark. The node has an L1 that holds a few dozen entries, and is
//! asked for each of 10 000 in turn. Nothing is kept on a core here: a hit takes two servers and the load.

use std::process::Command;

use transom_tests::bench::{Usage, median};
use transom_tests::{NodeBuilder, NodeProcess};

use super::load::{Lap, Load};
use super::scenario::{self, Scenario, Targets};
use super::world::{World, warm};

const ROUNDS: usize = 5;
const LAP_SECONDS: u64 = 3;
/// What the node may keep itself.
const L1_BYTES: &str = "64KiB";
/// Commands of Redis' benchmark in one lap.
const COMMANDS: &str = "200000";

pub(super) async fn measure(world: &World) {
    let scenario = Scenario { targets: Targets::Evenly(10_000), ..scenario::PLAIN };
    let targets = scenario.targets.each();
    warm(world.node.port(), &targets, &[]).await;
    let builder = NodeBuilder::on(&world.database).redis(&world.redis).set("feed", "logical").unset("audit_share");
    let builder = builder.set("l1_bytes_max", L1_BYTES).set("entry_bytes_max", "32KiB");
    let mut node = builder.start_process().await;
    warm(node.port(), &targets, &[]).await;
    let before = outcomes(&node).await;
    let (load, pid) = (Load::new(&scenario, Vec::new()), node.process().pid());
    let (mut redis, mut laps) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        redis.push(redis_benchmark(world.redis.port()).await);
        let used = Usage::of(pid);
        let lap = load.run("Transom", node.port(), LAP_SECONDS).await;
        laps.push((lap, Usage::of(pid).since(used)));
    }
    let after = outcomes(&node).await;
    let [hits, all] = [0, 1].map(|index| after[index] - before[index]);
    println!("\n### `l2`: {hits} of {all} requests were hits on L2, 1 KiB\n");
    println!("| | per second | ratio | CPU us/request | median ms | p99 ms |");
    println!("|---|--:|--:|--:|--:|--:|");
    let ceiling = median(redis);
    println!("| `redis-benchmark -c 50 -P 1`, GET | {ceiling:.0} | 1.00 | | | |");
    let rate = median(laps.iter().map(|(lap, _)| lap.rate()).collect());
    let millis = |of: fn(&Lap) -> f64| median(laps.iter().map(|(lap, _)| of(lap) * 1e3).collect());
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let cost = median(laps.iter().map(|(lap, used)| used.as_secs_f64() * 1e6 / lap.requests as f64).collect());
    let (half, p99) = (millis(|lap| lap.median.as_secs_f64()), millis(|lap| lap.p99.as_secs_f64()));
    println!("| Transom | {rate:.0} | {:.2} | {cost:.1} | {half:.2} | {p99:.2} |", rate / ceiling);
}

/// Requests that were hits on L2, and all.
async fn outcomes(node: &NodeProcess) -> [u64; 2] {
    super::world::counted(node.admin(), "outcome=\"hit_l2\"").await
}

/// GETs per second of values like an entry.
async fn redis_benchmark(port: u16) -> f64 {
    let mut command = Command::new("redis-benchmark");
    command.args([
        "-p",
        &port.to_string(),
        "-c",
        "50",
        "-P",
        "1",
        "-t",
        "set,get",
        "-d",
        "1400",
        "-n",
        COMMANDS,
        "--csv",
    ]);
    let output = tokio::process::Command::from(command).output().await.expect("redis-benchmark is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("\"GET\",\""));
    let figure = line.and_then(|line| line.split('"').next()?.parse().ok());
    figure.unwrap_or_else(|| panic!("redis-benchmark failed: {said}"))
}
