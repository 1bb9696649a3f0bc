//! A miss beside PostgREST: the same requests, the same Postgres, the same run, in turn.
//!
//! `cargo build --release -p transom && cargo bench -p transom-tests --bench miss`
//!
//! No request is asked twice of the same server, so Transom answers each from Postgres. All have ten connections to it.
//! Between the two stands what no proxy of this kind can do without ([`bare`]).
//! The machine's state changes within seconds: so rounds are short, the servers take turns within a round, every figure is
//! the median of the rounds, and the last columns say in how many of them the median and p99 were lower than PostgREST's.
//!
//! `-- 1` after the command measures with one connection only, and so on.

mod bare;

use std::time::Duration;

use transom_tests::bench::{Answer, Lap, Load, Until, Usage, median};
use transom_tests::{Database, NodeBuilder, PostgRestBuilder, Postgres, Redis};

const ROWS: u64 = 600_000;
/// A number of connections, and how many rounds it takes until the figures can be believed.
struct Step {
    connections: usize,
    rounds: u64,
    lap: Duration,
}

/// One connection leaves the processors idle most of the time, which makes its figures the most fickle.
const STEPS: [Step; 3] = [
    Step { connections: 1, rounds: 11, lap: Duration::from_millis(900) },
    Step { connections: 10, rounds: 5, lap: Duration::from_millis(1_000) },
    Step { connections: 64, rounds: 5, lap: Duration::from_millis(1_000) },
];
/// Requests of one lap at most: the rounds of a scenario must not ask the same.
const LAP_MAX: u64 = ROWS / (STEPS[0].rounds + STEPS[1].rounds + STEPS[2].rounds);

/// A kind of request. The number makes each one different.
struct Scenario {
    name: &'static str,
    target: fn(u64) -> String,
    /// the same for who knows nothing else
    sql: &'static str,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "a point",
        target: |number| format!("/item?id=eq.{}", number + 1),
        sql: "select json_agg(i)::text from (select * from item where id = $1) i",
    },
    Scenario {
        name: "a list of 100",
        target: |number| format!("/item?id=gt.{number}&order=id&limit=100"),
        sql: "select json_agg(i)::text from (select * from item where id > $1 order by id limit 100) i",
    },
    Scenario {
        name: "a point with 3 embedded",
        target: |number| format!("/item?select=id,name,part(id,name)&id=eq.{}", number + 1),
        sql: "select json_agg(i)::text from (select id, name, (select json_agg(p) from (select id, name from part
                  where item_id = item.id) p) part from item where id = $1) i",
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, port, redis, postgres, sql] = &arguments[..]
        && first == bare::NAME
    {
        bare::serve(port, redis, postgres, sql);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(measure());
}

async fn measure() {
    let postgres = Postgres::own().await;
    let database = database(&postgres).await;
    let redis = Redis::start().await;
    println!(
        "| scenario | connections | server | requests/s | ratio | median ms | p99 ms | own CPU per request | rounds with \
         the lower median | and p99 |"
    );
    println!("|---|--:|---|--:|--:|--:|--:|--:|--:|--:|");
    let only: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for scenario in &SCENARIOS {
        // Fresh ones for each scenario: what was cached before is of no use.
        let peer = PostgRestBuilder::on(&database).set("db_pool", "10").start().await;
        let mut node = NodeBuilder::on(&database)
            .redis(&redis)
            .unset("redis_timeout")
            .set("feed", "logical")
            .start_process()
            .await;
        let bare = bare::start(&redis, &database, scenario.sql).await;
        let mut contenders = [
            Contender::new("PostgREST 12.0.2", peer.port(), peer.pid(), ""),
            Contender::new(bare.name, bare.port, bare.process.pid(), ""),
            Contender::new("Transom", node.port(), node.process().pid(), "/rest/v1"),
        ];
        let mut asked = 0;
        for step in STEPS.iter().filter(|step| only.is_empty() || only.contains(&step.connections)) {
            run(scenario, step, &mut asked, &mut contenders).await;
        }
    }
}

async fn run(scenario: &Scenario, step: &Step, asked: &mut u64, contenders: &mut [Contender; 3]) {
    contenders.iter_mut().for_each(|contender| contender.laps.clear());
    for _ in 0..step.rounds {
        let first = *asked;
        *asked += LAP_MAX;
        for contender in &mut *contenders {
            let load = Load { port: contender.port, connections: step.connections, until: Until::Elapsed(step.lap) };
            let (target, base) = (scenario.target, contender.base);
            let before = Usage::of(contender.pid);
            let lap = load.run(move |number| format!("{base}{}", target(first + number % LAP_MAX)), is_hit).await;
            let used = Usage::of(contender.pid).since(before);
            contender.laps.push((lap, used));
        }
    }
    let [peer, others @ ..] = &*contenders;
    peer.print(scenario, step, peer, "| ");
    for other in others {
        let (medians, tails) = (other.rounds_below(peer, 0.5), other.rounds_below(peer, 0.99));
        other.print(scenario, step, peer, &format!("{medians} of {} | {tails}", step.rounds));
    }
}

impl Contender {
    fn new(name: &'static str, port: u16, pid: u32, base: &'static str) -> Self {
        Self { name, port, pid, base, laps: Vec::new() }
    }

    fn rate(&self) -> f64 {
        median(self.laps.iter().map(|(lap, _)| lap.rate()).collect())
    }

    /// The median over the rounds of a quantile, in milliseconds.
    fn millis(&self, share: f64) -> f64 {
        median(self.laps.iter().map(|(lap, _)| lap.latency.quantile(share).as_secs_f64() * 1e3).collect())
    }

    /// In how many rounds this quantile was lower than another server's.
    fn rounds_below(&self, other: &Self, share: f64) -> usize {
        let quantile = |(lap, _): &(Lap, Duration)| lap.latency.quantile(share);
        self.laps.iter().zip(&other.laps).filter(|(mine, its)| quantile(mine) < quantile(its)).count()
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn print(&self, scenario: &Scenario, step: &Step, peer: &Self, won: &str) {
        let requests: u64 = self.laps.iter().map(|(lap, _)| lap.latency.count()).sum();
        let hits: u64 = self.laps.iter().map(|(lap, _)| lap.counted).sum();
        assert!(hits * 1_000 <= requests, "{hits} of {requests} were no misses");
        let used: Duration = self.laps.iter().map(|(_, used)| *used).sum();
        let micros = used.as_secs_f64() * 1e6 / requests as f64;
        let (rate, ratio) = (self.rate(), self.rate() / peer.rate());
        println!(
            "| {} | {} | {} | {rate:.0} | {ratio:.2} | {:.2} | {:.2} | {micros:.0} us | {won} |",
            scenario.name,
            step.connections,
            self.name,
            self.millis(0.5),
            self.millis(0.99),
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
