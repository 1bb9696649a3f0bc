//! A miss beside PostgREST: the same requests, the same Postgres, the same run, in turn.
//!
//! `cargo build --release -p transom && cargo bench -p transom-tests --bench miss`
//!
//! No request is asked twice of the same server, so Transom answers each from Postgres. Both have ten connections to it.

use std::time::Duration;

use transom_tests::bench::{Answer, Lap, Load, Spread, Until, Usage, median};
use transom_tests::{Database, NodeBuilder, NodeProcess, PostgRest, PostgRestBuilder, Postgres, Redis};

const ROWS: u64 = 600_000;
const ROUNDS: u64 = 3;
const CONNECTIONS: [usize; 3] = [1, 10, 64];
const LAP: Duration = Duration::from_secs(3);
/// Requests of one lap at most: the rounds of a scenario must not ask the same.
const LAP_MAX: u64 = ROWS / (ROUNDS * CONNECTIONS.len() as u64);

/// A kind of request. The number makes each one different.
struct Scenario {
    name: &'static str,
    target: fn(u64) -> String,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "a point", target: |number| format!("/item?id=eq.{}", number + 1) },
    Scenario { name: "a list of 100", target: |number| format!("/item?id=gt.{number}&order=id&limit=100") },
    Scenario {
        name: "a point with 3 embedded",
        target: |number| format!("/item?select=id,name,part(id,name)&id=eq.{}", number + 1),
    },
];

/// A server under test.
struct Contender {
    name: &'static str,
    port: u16,
    pid: u32,
    base: &'static str,
    laps: Vec<(Lap, Duration)>,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(measure());
}

async fn measure() {
    let postgres = Postgres::own().await;
    let database = database(&postgres).await;
    let redis = Redis::start().await;
    println!(
        "| scenario | connections | server | requests/s | ratio | median ms | p99 ms | max ms | own CPU per request |"
    );
    println!("|---|--:|---|--:|--:|--:|--:|--:|--:|");
    for scenario in &SCENARIOS {
        // Fresh ones for each scenario: what was cached before is of no use.
        let peer = PostgRestBuilder::on(&database).set("db_pool", "10").start().await;
        let mut node = NodeBuilder::on(&database)
            .redis(&redis)
            .unset("redis_timeout")
            .set("feed", "logical")
            .start_process()
            .await;
        for (step, connections) in (0..).zip(CONNECTIONS) {
            run(scenario, step, connections, &peer, &mut node).await;
        }
    }
}

async fn run(scenario: &Scenario, step: u64, connections: usize, peer: &PostgRest, node: &mut NodeProcess) {
    let mut contenders = [
        Contender { name: "PostgREST 12.0.2", port: peer.port(), pid: peer.pid(), base: "", laps: Vec::new() },
        Contender { name: "Transom", port: node.port(), pid: node.process().pid(), base: "/rest/v1", laps: Vec::new() },
    ];
    for round in 0..ROUNDS {
        let first = (step * ROUNDS + round) * LAP_MAX;
        for contender in &mut contenders {
            let load = Load { port: contender.port, connections, until: Until::Elapsed(LAP) };
            let (target, base) = (scenario.target, contender.base);
            let before = Usage::of(contender.pid);
            let lap = load.run(move |number| format!("{base}{}", target(first + number % LAP_MAX)), is_hit).await;
            let used = Usage::of(contender.pid).since(before);
            contender.laps.push((lap, used));
        }
    }
    let peers_rate = contenders[0].rate();
    for contender in &contenders {
        contender.print(scenario, connections, peers_rate);
    }
}

impl Contender {
    fn rate(&self) -> f64 {
        median(self.laps.iter().map(|(lap, _)| lap.rate()).collect())
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn print(&self, scenario: &Scenario, connections: usize, peers_rate: f64) {
        let mut latency = Spread::default();
        self.laps.iter().for_each(|(lap, _)| latency.merge(&lap.latency));
        let hits: u64 = self.laps.iter().map(|(lap, _)| lap.counted).sum();
        assert!(hits * 1_000 <= latency.count(), "{hits} of {} were no misses", latency.count());
        let used: Duration = self.laps.iter().map(|(_, used)| *used).sum();
        let (name, rate) = (self.name, self.rate());
        let micros = used.as_secs_f64() * 1e6 / latency.count() as f64;
        println!(
            "| {} | {connections} | {name} | {rate:.0} | {:.2} | {latency} | {micros:.0} us |",
            scenario.name,
            rate / peers_rate,
        );
    }
}

fn is_hit(_: u64, answer: &Answer) -> bool {
    answer.header("cache-status").starts_with("transom; hit")
}

async fn database(postgres: &Postgres) -> Database {
    let database = postgres.database().await;
    database
        .execute(&format!(
            "create table item (id int primary key, name text not null, price int not null, note text);
             create table part (id int primary key, item_id int not null references item, name text not null);
             insert into item select id, 'item ' || id, id % 1000, repeat('n', 40) from generate_series(1, {ROWS}) as id;
             insert into part select id, (id - 1) / 3 + 1, 'part ' || id from generate_series(1, {ROWS} * 3) as id;
             create index on part (item_id);
             grant select on item, part to web_anon"
        ))
        .await;
    database.execute("vacuum analyze item, part").await;
    database
}
