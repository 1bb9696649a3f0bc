//! The log grew while nobody read it: whoever leads then catches up by whole tables, so that the server need not keep it.

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
async fn a_leader_that_is_far_behind_the_log_announces_tables_until_it_has_read_it() {
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
        let said = ["announcing whole tables until it is read", "announcing rows again"];
        if said.iter().all(|words| log.contains(words)) { Ok(()) } else { Err(log) }
    })
    .await;
    until_text(node.rest(), UNITED, "Behind").await;
    until_hit(node.rest(), UNITED).await;
    let coarse = node.admin().get("/metrics").send().await.text();
    assert!(coarse.contains("\ntransom_feed_coarse 0"), "it announces rows again");
}
