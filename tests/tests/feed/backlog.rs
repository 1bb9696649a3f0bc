//! The log grew while nobody read it: whoever leads then reads through it, and is not taken for dead meanwhile.

use std::time::Duration;

use transom_tests::{Postgres, Redis, eventually};

use super::{UNITED, fed, until_hit, until_text};

/// Nobody publishes it, because it has no key; and it is not compressed.
const BALLAST: &str = "
    create schema aside; create table aside.ballast (x text);
    alter table aside.ballast alter column x set storage external";
/// More than a leader may be behind before it is coarse.
const MEBIBYTES: u32 = 300;

#[tokio::test]
async fn a_log_that_grew_while_nobody_read_it_is_read_at_last() {
    let postgres = Postgres::own().await;
    let database = postgres.database().await;
    database.execute(BALLAST).await;
    let redis = Redis::start().await;
    let builder = fed(&database).redis(&redis);
    let before = builder.start_process().await;
    until_hit(before.rest(), UNITED).await;
    drop(before);

    let grow = format!("insert into aside.ballast select repeat('x', 1048576) from generate_series(1, {MEBIBYTES})");
    database.execute(&grow).await;
    database.execute("update airlines set name = 'Behind' where carrier = 'UA'").await;
    let node = builder.start_process().await;
    eventually("it has read the log", Duration::from_secs(60), async || {
        let log = node.log();
        // A server that reads all of it before it says how much there is leaves no time to be behind.
        let caught_up = log.matches("announcing whole tables").count() == log.matches("announcing rows again").count();
        if log.contains("the first heartbeat came back") && caught_up { Ok(()) } else { Err(log) }
    })
    .await;
    until_text(node.rest(), UNITED, "Behind").await;
    until_hit(node.rest(), UNITED).await;
    let coarse = node.admin().get("/metrics").send().await.text();
    assert!(coarse.contains("\ntransom_feed_coarse 0"), "it announces rows again");
}
