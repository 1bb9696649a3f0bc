//! Row changes per second that the leader announces, with ever more entries in the cache.

use std::time::Instant;

use transom_tests::bench::{Client, Load, Until, Usage};

use super::world::{World, is_hit, point, until_version};

const ENTRIES: [u64; 3] = [1, 1_000, 1_000_000];
/// In transactions of this many rows.
const ROWS_EACH: u64 = 100;
const TRANSACTIONS: u64 = 4_000;

pub(super) async fn measure() {
    println!("## Row changes the leader keeps up with\n");
    println!(
        "{TRANSACTIONS} transactions of {ROWS_EACH} rows, as fast as one session commits them; from the first until the leader's \
         node serves the last.\n"
    );
    println!(
        "| cached entries, each with its own equality | row changes/s | leader CPU per row change | L1 bytes per entry |"
    );
    println!("|--:|--:|--:|--:|");
    let mut world = World::start(*ENTRIES.last().expect("there are some"), 1).await;
    let mut filled = 0;
    for entries in ENTRIES {
        fill(&world, filled, entries).await;
        filled = entries;
        let bytes = l1_bytes(&world).await / f64::from(u32::try_from(entries).expect("small"));
        let (rate, cpu) = keep_up(&mut world).await;
        println!("| {entries} | {rate:.0} | {cpu:.1} us | {bytes:.0} |");
    }
    println!();
}

/// Caches the rows up to `to`, each by its own request.
async fn fill(world: &World, from: u64, to: u64) {
    let load = Load { port: world.nodes[0].port(), connections: 16, until: Until::Sent(to - from) };
    load.run(move |number| point(from + number + 1), |_, _| true).await;
    // One that is cached from before shows that nothing was evicted to make room.
    let mut client = Client::to(world.nodes[0].port());
    client.get(&point(to)).await;
    assert!(is_hit(&client.get(&point(to)).await), "the last one is cached");
}

async fn l1_bytes(world: &World) -> f64 {
    let text = world.nodes[0].admin().get("/metrics").send().await.text();
    let line = text.lines().find_map(|line| line.strip_prefix("transom_l1_bytes "));
    line.and_then(|bytes| bytes.parse().ok()).expect("the metric is there")
}

/// Row changes per second, and microseconds of the leader's processor for each.
async fn keep_up(world: &mut World) -> (f64, f64) {
    let session = world.session().await;
    let mut client = Client::to(world.nodes[0].port());
    let leader = world.leader().await;
    // Rows that are cached by a few, by some, or by all: changes do not depend on who reads.
    let sql = "update item set version = version + 1 where id between $1 and $2";
    let update = session.prepare(sql).await.expect("well formed");
    let (began, before) = (Instant::now(), Usage::of(leader));
    for transaction in 0..TRANSACTIONS {
        let first = i32::try_from(transaction * ROWS_EACH + 2).expect("small");
        let last = first + i32::try_from(ROWS_EACH).expect("small") - 1;
        session.execute(&update, &[&first, &last]).await.expect("the update runs");
    }
    let last: i64 = session
        .query_one("update item set version = version + 1 where id = 1 returning version", &[])
        .await
        .expect("the update runs")
        .get(0);
    until_version(&mut client, 1, u64::try_from(last).expect("counted up")).await;
    let (took, used) = (began.elapsed(), Usage::of(leader).since(before));
    let rows = f64::from(u32::try_from(TRANSACTIONS * ROWS_EACH).expect("small"));
    (rows / took.as_secs_f64(), used.as_secs_f64() * 1e6 / rows)
}
