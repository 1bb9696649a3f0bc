//! How exact invalidation is: half of the rows are written all the time, the other half is only read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;
use transom_tests::bench::Client;

use super::world::{World, is_hit, point, until_hit};

const ROWS: u64 = 2_000;
const RUN: Duration = Duration::from_secs(20);

/// How readers and the writer go about it.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// with this pause after each answer, as clients that have something else to do
    Pausing(Duration),
    /// without any: they take from the nodes, from Redis and from Postgres the processor that these need, and leases lapse
    Breathless,
}

/// Answers, and how many of them came from the cache.
#[derive(Default)]
struct Counted {
    reads: u64,
    hits: u64,
}

pub(super) async fn measure() {
    println!("## How exact invalidation is\n");
    println!(
        "Rows 1 to {0} are written all the time by SQL, the next {0} are only read; three nodes, six readers, {RUN:?}. Nothing but a \
         lease that lapsed (`transom_lease_lapses_total`) should cost an entry of a row that is only read.\n",
        ROWS / 2
    );
    println!("| readers and writer | row changes | rows | reads | hits | hit ratio | without a lease | lapses |");
    println!("|---|--:|---|--:|--:|--:|--:|---|");
    let world = World::start(ROWS, 3).await;
    for pace in [Pace::Pausing(Duration::from_millis(1)), Pace::Breathless] {
        run(&world, pace).await;
    }
    println!();
}

async fn run(world: &World, pace: Pace) {
    for node in &world.nodes {
        let mut client = Client::to(node.port());
        for id in 1..=ROWS {
            until_hit(&mut client, id).await;
        }
    }
    let (unproven, lapses) = (unproven(world).await, lapses(world).await);
    let writes = Arc::new(AtomicU64::new(0));
    let writer: JoinHandle<()> = tokio::spawn(write(world.session().await, writes.clone(), pace));
    let readers: Vec<_> = world
        .nodes
        .iter()
        .flat_map(|node| [0, ROWS / 2].map(|half| (half > 0, tokio::spawn(read(node.port(), half, pace)))))
        .collect();
    let (mut written, mut unwritten) = (Counted::default(), Counted::default());
    for (quiet, reader) in readers {
        let counted = reader.await.expect("a reader does not panic");
        let all = if quiet { &mut unwritten } else { &mut written };
        all.reads += counted.reads;
        all.hits += counted.hits;
    }
    writer.abort();
    let (unproven, lapses) = (self::unproven(world).await - unproven, self::lapses(world).await - lapses);
    let writes = writes.load(Relaxed);
    for (name, Counted { reads, hits }) in [("written", &written), ("only read", &unwritten)] {
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let ratio = *hits as f64 * 100.0 / *reads as f64;
        println!("| {pace:?} | {writes} | {name} | {reads} | {hits} | {ratio:.3} % | {unproven} | {lapses} |");
    }
}

/// Reads one half of the rows in turn.
async fn read(port: u16, half: u64, pace: Pace) -> Counted {
    let mut client = Client::to(port);
    let (mut counted, began) = (Counted::default(), Instant::now());
    while began.elapsed() < RUN {
        let answer = client.get(&point(half + counted.reads % (ROWS / 2) + 1)).await;
        counted.reads += 1;
        counted.hits += u64::from(is_hit(&answer));
        pace.pause().await;
    }
    counted
}

async fn write(session: tokio_postgres::Client, writes: Arc<AtomicU64>, pace: Pace) {
    let update = session.prepare("update item set version = version + 1 where id = $1").await.expect("well formed");
    for number in 0.. {
        let id = i32::try_from(number % (ROWS / 2) + 1).expect("small");
        session.execute(&update, &[&id]).await.expect("the update runs");
        writes.fetch_add(1, Relaxed);
        pace.pause().await;
    }
}

impl Pace {
    async fn pause(self) {
        match self {
            Self::Pausing(pause) => sleep(pause).await,
            Self::Breathless => {}
        }
    }
}

/// Lookups that found an entry which no announcement spoke against, on a node without a lease.
async fn unproven(world: &World) -> u64 {
    sum(world, "transom_tier_lookups_total{result=\"unproven\",tier=\"l1\"} ").await
}

async fn lapses(world: &World) -> u64 {
    sum(world, "transom_lease_lapses_total{").await
}

/// Of all series that begin like this, on all nodes.
async fn sum(world: &World, begin: &str) -> u64 {
    let mut all = 0;
    for node in &world.nodes {
        let text = node.admin().get("/metrics").send().await.text();
        let figures = text.lines().filter(|line| line.starts_with(begin)).filter_map(|line| line.rsplit(' ').next());
        all += figures.map(|figure| figure.parse::<u64>().expect("a counter")).sum::<u64>();
    }
    all
}
