//! Reads and writes together, through what a user would pick instead: PostgREST alone, and behind nginx with a lifetime of one
//! second. Whoever writes remembers what was acknowledged, so an answer that is older than that is known to be stale.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{Method, Request};
use http_body_util::Full;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use transom_tests::bench::{Answer, Spread, Usage, median};
use transom_tests::connection::Connection;
use transom_tests::{NodeBuilder, PostgRestBuilder, Postgres, Redis};

use super::peers;
use super::scenario::Zipf;
use super::server::{keep_load_apart, pin, usage};
use super::world::warm;

const ROWS: u64 = 10_000;
const CONNECTIONS: u64 = 32;
const ROUNDS: u64 = 3;
const LAP: Duration = Duration::from_secs(8);
const WRITES_PERCENT: u32 = 5;
/// Rows of a list.
const LIST: u64 = 20;

/// Whence an answer came that a cache gave.
const HIT: &str = "hit";

/// A server in the run, and what it did.
struct Contender {
    name: &'static str,
    port: u16,
    base: &'static str,
    pids: Vec<u32>,
    laps: Vec<Lap>,
}

/// What one lap brought.
#[derive(Default)]
struct Lap {
    reads: Spread,
    writes: Spread,
    took: Duration,
    hits: u64,
    /// reads that were none, by why
    forwarded: BTreeMap<String, u64>,
    stale: u64,
    /// processor time of the servers, and of Postgres
    used: (Duration, Duration),
    transactions: i64,
}

/// What was acknowledged, by row.
struct Versions(Vec<AtomicU64>);

pub(super) async fn measure() {
    keep_load_apart();
    let postgres = Postgres::own().await;
    let database = postgres.database().await;
    database
        .execute(&format!(
            "create table item (id int primary key, version bigint not null default 0, pad text not null);
             create table part (id int primary key, item_id int not null references item, name text not null);
             insert into item select id, 0, repeat('x', 400) from generate_series(0, {ROWS} + {LIST}) as id;
             insert into part select id, id / 3, 'part ' || id from generate_series(0, ({ROWS} + {LIST}) * 3) as id;
             create index on part (item_id);
             grant select on part to web_anon;
             grant select, update on item to web_anon"
        ))
        .await;
    database.execute("vacuum analyze item, part").await;
    let redis = Redis::start().await;
    let peer = PostgRestBuilder::on(&database).start().await;
    let nginx = peers::nginx_with_lifetime(peer.port(), "1s").await;
    let node = NodeBuilder::on(&database).redis(&redis).set("feed", "logical").unset("audit_share");
    let mut node = node.set("workers", "1").start_process().await;
    let mut contenders = vec![Contender::new("PostgREST 12.0.2", peer.port(), "", vec![peer.pid()])];
    if let Some(nginx) = &nginx {
        let pids = [nginx.process.family(), vec![peer.pid()]].concat();
        contenders.push(Contender::new("nginx, 1 s, before it", nginx.port, "", pids));
    }
    contenders.push(Contender::new("Transom", node.port(), "/rest/v1", vec![node.process().pid(), redis.pid()]));
    let versions = Arc::new(Versions((0..=ROWS + LIST).map(|_| AtomicU64::new(0)).collect()));
    let session = database.client().await;
    for contender in &contenders {
        pin(&contender.pids);
    }
    // What follows is the steady state: whoever keeps an answer for longer than a second has had every question once, and
    // the first lap of each is not counted.
    warm(node.port(), &questions("/rest/v1"), &[]).await;
    for round in 0..=ROUNDS {
        for contender in &mut contenders {
            let backends = postgres.family();
            pin(&backends);
            let before = (usage(&contender.pids), transactions(&session).await);
            let postgres_before = Usage::of_all(postgres.family());
            let mut lap = load(contender, &versions, round).await;
            lap.used =
                (usage(&contender.pids).since(before.0), Usage::of_all(postgres.family()).since(postgres_before));
            lap.transactions = transactions(&session).await - before.1;
            if round > 0 {
                contender.laps.push(lap);
            }
        }
    }
    print(&contenders);
}

async fn transactions(session: &tokio_postgres::Client) -> i64 {
    let query = "select pg_stat_clear_snapshot(), xact_commit from pg_stat_database where datname = current_database()";
    session.query_one(query, &[]).await.expect("a view of Postgres").get(1)
}

async fn load(contender: &Contender, versions: &Arc<Versions>, round: u64) -> Lap {
    let began = Instant::now();
    let zipf = Arc::new(Zipf::new(ROWS));
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        let user = User {
            connection: Connection::to(contender.port),
            number,
            base: contender.base,
            versions: versions.clone(),
            zipf: zipf.clone(),
            random: StdRng::seed_from_u64(round * CONNECTIONS + number),
        };
        connections.push(tokio::spawn(user.work(began)));
    }
    let mut all = Lap::default();
    for connection in connections {
        let lap = connection.await.expect("the load does not panic");
        all.reads.merge(&lap.reads);
        all.writes.merge(&lap.writes);
        all.hits += lap.hits;
        all.stale += lap.stale;
        for (why, count) in lap.forwarded {
            *all.forwarded.entry(why).or_default() += count;
        }
    }
    all.took = began.elapsed();
    all
}

/// One connection that reads and writes.
struct User {
    connection: Connection,
    number: u64,
    base: &'static str,
    versions: Arc<Versions>,
    zipf: Arc<Zipf>,
    random: StdRng,
}

impl User {
    async fn work(mut self, began: Instant) -> Lap {
        let mut lap = Lap::default();
        while began.elapsed() < LAP {
            let row = self.zipf.row(self.random.random());
            let sent = Instant::now();
            if self.random.random_ratio(WRITES_PERCENT, 100) {
                self.write(row).await;
                lap.writes.add(sent.elapsed());
            } else {
                let (status, stale) = self.read(row).await;
                lap.reads.add(sent.elapsed());
                if status == HIT {
                    lap.hits += 1;
                } else {
                    *lap.forwarded.entry(status).or_default() += 1;
                }
                lap.stale += u64::from(stale);
            }
        }
        lap
    }

    /// Raises the version of a row that no other connection writes to.
    async fn write(&mut self, row: u64) {
        let row = row - row % CONNECTIONS + self.number;
        let version = self.versions.acknowledged(row) + 1;
        let target = format!("{}/item?id=eq.{row}", self.base);
        self.ask(Method::PATCH, &target, format!("{{\"version\":{version}}}"), 204).await;
        self.versions.0[usize::try_from(row).expect("a row")].store(version, Relaxed);
    }

    /// Says whence the answer came, [`HIT`] or the kind of read and why not, and whether it was stale.
    async fn read(&mut self, row: u64) -> (String, bool) {
        let base = self.base;
        let (kind, target, rows) = match self.random.random_range(0..10) {
            0 => ("list", list(base, row), LIST),
            1 => ("embed", embed(base, row), 1),
            _ => ("point", point(base, row), 1),
        };
        let least: Vec<u64> = (row..row + rows).map(|row| self.versions.acknowledged(row)).collect();
        let answer = self.ask(Method::GET, &target, String::new(), 200).await;
        let stale = found(&answer).zip(least).any(|(found, least)| found < least);
        let status = answer.header("cache-status");
        if status.starts_with("transom; hit") || answer.header("x-cache") == "HIT" {
            return (HIT.to_owned(), stale);
        }
        let said = status.split("; ").filter(|word| word.starts_with("fwd=") || word.starts_with("detail="));
        (said.fold(kind.to_owned(), |all, word| all + " " + word), stale)
    }

    async fn ask(&mut self, method: Method, target: &str, body: String, expected: u16) -> Answer {
        let request = Request::builder().method(method).uri(target).header("host", "bench");
        let request = request.header("content-type", "application/json").body(Full::from(body));
        let answer = self.connection.send(request.expect("a well-formed request")).await;
        let answer = answer.unwrap_or_else(|reason| panic!("{target}: {reason:?}"));
        assert_eq!(answer.status, expected, "{target}: {:?}", answer.body);
        answer
    }
}

impl Versions {
    fn acknowledged(&self, row: u64) -> u64 {
        self.0[usize::try_from(row).expect("a row")].load(Relaxed)
    }
}

fn list(base: &str, row: u64) -> String {
    format!("{base}/item?select=version,pad&id=gte.{row}&order=id&limit={LIST}")
}

fn embed(base: &str, row: u64) -> String {
    format!("{base}/item?select=version,pad,part(id,name)&id=eq.{row}")
}

fn point(base: &str, row: u64) -> String {
    format!("{base}/item?select=version,pad&id=eq.{row}")
}

/// All that may be asked.
fn questions(base: &str) -> Vec<String> {
    (0..ROWS).flat_map(|row| [list(base, row), embed(base, row), point(base, row)]).collect()
}

/// The versions in an answer, in its order.
fn found(answer: &Answer) -> impl Iterator<Item = u64> {
    let text = std::str::from_utf8(&answer.body).expect("JSON is UTF-8");
    text.split("\"version\":").skip(1).map(|rest| {
        let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().expect("a number")
    })
}

impl Contender {
    fn new(name: &'static str, port: u16, base: &'static str, pids: Vec<u32>) -> Self {
        Self { name, port, base, pids, laps: Vec::new() }
    }

    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    fn rate(&self) -> f64 {
        let rate = |lap: &Lap| (lap.reads.count() + lap.writes.count()) as f64 / lap.took.as_secs_f64();
        median(self.laps.iter().map(rate).collect())
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn print(contenders: &[Contender]) {
    println!(
        "\n### `mixed`: points, lists and embeds (Zipf, {ROWS} rows), {WRITES_PERCENT} % writes, {CONNECTIONS} connections\n"
    );
    println!(
        "| server | requests/s | ratio | reads: median ms | p99 ms | max ms | writes: median ms | p99 ms | max ms | hits | \
         stale reads | own CPU us/request | CPU of Postgres | transactions/request |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for contender in contenders {
        let (mut reads, mut writes) = (Spread::default(), Spread::default());
        contender.laps.iter().for_each(|lap| reads.merge(&lap.reads));
        contender.laps.iter().for_each(|lap| writes.merge(&lap.writes));
        let requests = (reads.count() + writes.count()) as f64;
        let sum = |of: fn(&Lap) -> f64| contender.laps.iter().map(of).sum::<f64>();
        println!(
            "| {} | {:.0} | {:.2} | {reads} | {writes} | {:.1} % | {} of {} | {:.0} | {:.0} | {:.3} |",
            contender.name,
            contender.rate(),
            contender.rate() / contenders[0].rate(),
            100.0 * sum(|lap| lap.hits as f64) / reads.count() as f64,
            sum(|lap| lap.stale as f64),
            reads.count(),
            sum(|lap| lap.used.0.as_secs_f64()) * 1e6 / requests,
            sum(|lap| lap.used.1.as_secs_f64()) * 1e6 / requests,
            sum(|lap| lap.transactions as f64) / requests,
        );
    }
    let Some(transom) = contenders.last() else { return };
    println!("\nReads that Transom did not answer from its memory or Redis:\n");
    let reads: u64 = transom.laps.iter().map(|lap| lap.reads.count()).sum();
    let mut why: BTreeMap<&str, u64> = BTreeMap::new();
    for (said, count) in transom.laps.iter().flat_map(|lap| &lap.forwarded) {
        *why.entry(said).or_default() += count;
    }
    for (said, count) in why {
        println!("* {said}: {:.1} %", 100.0 * count as f64 / reads as f64);
    }
}
