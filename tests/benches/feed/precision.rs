//! How exact invalidation is: half of the rows are written all the time, the other half is only read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinHandle;
use transom_tests::bench::{Client, Lap, Load, Until};

use super::world::{World, is_hit, point, until_hit};

const ROWS: u64 = 2_000;
const RUN: Duration = Duration::from_secs(10);

pub(super) async fn measure() {
    println!("## How exact invalidation is\n");
    println!(
        "Rows 1 to {0} are written all the time by SQL, the next {0} are only read; three nodes, {RUN:?}.\n",
        ROWS / 2
    );
    let world = World::start(ROWS, 3).await;
    for node in &world.nodes {
        let mut client = Client::to(node.port());
        for id in 1..=ROWS {
            until_hit(&mut client, id).await;
        }
    }
    let session = world.session().await;
    let writes = Arc::new(AtomicU64::new(0));
    let writer: JoinHandle<()> = tokio::spawn(write(session, writes.clone()));
    let mut loads = Vec::new();
    for node in &world.nodes {
        for half in [0, ROWS / 2] {
            let load = Load { port: node.port(), connections: 1, until: Until::Elapsed(RUN) };
            let run = async move {
                load.run(move |number| point(half + number % (ROWS / 2) + 1), |_, answer| is_hit(answer)).await
            };
            loads.push((half > 0, tokio::spawn(run)));
        }
    }
    let (mut written, mut unwritten) = (Lap::default(), Lap::default());
    for (quiet, load) in loads {
        let lap = load.await.expect("the load does not panic");
        let all = if quiet { &mut unwritten } else { &mut written };
        all.latency.merge(&lap.latency);
        all.counted += lap.counted;
    }
    writer.abort();
    println!("{} row changes were made meanwhile.\n", writes.load(Relaxed));
    println!("| rows | reads | hits | hit ratio |\n|---|--:|--:|--:|");
    for (name, lap) in [("written", &written), ("only read", &unwritten)] {
        let (reads, hits) = (lap.latency.count(), lap.counted);
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let ratio = hits as f64 * 100.0 / reads as f64;
        println!("| {name} | {reads} | {hits} | {ratio:.3} % |");
    }
    println!("\n{} lookups found an entry that no announcement spoke against, on a node without a lease.\n", unproven(&world).await);
}

/// What a starved machine costs: nodes whose polls or heartbeats are late serve only what is young.
async fn unproven(world: &World) -> u64 {
    const SERIES: &str = "transom_tier_lookups_total{result=\"unproven\",tier=\"l1\"} ";
    let mut all = 0;
    for node in &world.nodes {
        let text = node.admin().get("/metrics").send().await.text();
        let figure = text.lines().find_map(|line| line.strip_prefix(SERIES));
        all += figure.and_then(|figure| figure.parse::<u64>().ok()).expect("the metric is there");
    }
    all
}

async fn write(session: tokio_postgres::Client, writes: Arc<AtomicU64>) {
    let update = session.prepare("update item set version = version + 1 where id = $1").await.expect("well formed");
    for number in 0.. {
        let id = i32::try_from(number % (ROWS / 2) + 1).expect("small");
        session.execute(&update, &[&id]).await.expect("the update runs");
        writes.fetch_add(1, Relaxed);
    }
}
