//! From the start of the process until it is ready, with many tables.

use std::time::{Duration, Instant};

use transom_tests::bench::{Client, median};
use transom_tests::{NodeBuilder, Postgres, Redis};

const TABLES: u32 = 500;
const STARTS: usize = 7;
/// How often it is asked whether it is ready.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) async fn measure() {
    let postgres = Postgres::own().await;
    let database = postgres.database().await;
    let tables: String = (0..TABLES)
        .map(|number| {
            let references = if number == 0 { String::new() } else { format!(" references t{}", number - 1) };
            format!(
                "create table t{number} (id int primary key, name text not null, made timestamptz, other int{references});
                 grant select on t{number} to web_anon;"
            )
        })
        .collect();
    database.execute(&tables).await;
    let redis = Redis::start().await;
    println!("\n### `startup`: from the start to ready, {TABLES} tables, {STARTS} starts\n");
    println!("| with | median ms | spread |");
    println!("|---|--:|--:|");
    let alone = NodeBuilder::on(&database);
    let settings =
        [("Postgres alone", alone.clone()), ("Redis and the change feed", alone.redis(&redis).set("feed", "logical"))];
    for (with, builder) in settings {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            times.push(start(&builder).await.as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let (least, greatest) = (times[0], times[STARTS - 1]);
        println!("| {with} | {:.0} | {least:.0} to {greatest:.0} |", median(times));
    }
}

/// Until the first answer: a request for a row that is not there.
async fn start(builder: &NodeBuilder) -> Duration {
    let began = Instant::now();
    let node = builder.spawn_process();
    while tokio::net::TcpStream::connect(("127.0.0.1", node.port())).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    // It accepts before it is ready, and answers when it is.
    Client::to(node.port()).get("/rest/v1/t7?id=eq.1").await;
    began.elapsed()
}
