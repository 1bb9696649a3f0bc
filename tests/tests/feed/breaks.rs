//! What the feed rests on goes away, and what comes back is not what it was.

use std::time::{Duration, Instant};

use transom_tests::consistency::gremlin::DROP_SLOT;
use transom_tests::{Lease, Postgres, Redis, Signal, eventually, within_bound};

use super::{
    MAX_STALENESS, NOISE, PLANE, SOON, UNITED, epoch, fed, goes_on_after_an_empty_redis, nodes, see_changes, until_hit,
};

#[tokio::test]
async fn a_slot_that_was_dropped_begins_a_new_epoch_and_nothing_stale_is_fresh() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let node = &nodes(&fed(&database).redis(&redis), 1).await[0];
    until_hit(node.rest(), UNITED).await;
    let before = epoch(node).await;
    // The slot goes, and with it the change, before the node can take it back.
    database.execute(&format!("{DROP_SLOT}; update airlines set name = 'Unheard' where carrier = 'UA'")).await;
    let changed = Instant::now();
    within_bound("the unheard change shows within the bound", MAX_STALENESS + NOISE, async || {
        node.rest().get(UNITED).send().await.text().contains("Unheard")
    })
    .await;
    eventually("a new epoch", Duration::from_secs(10), async || {
        node.metric("transom_feed_epochs_total{reason=\"slot\"}").await > 0.0 && epoch(node).await != before
    })
    .await;
    node.until_lease(Lease::Held).await;
    assert!(until_hit(node.rest(), UNITED).await.text().contains("Unheard"), "{:?}", changed.elapsed());
    see_changes(&database, std::slice::from_ref(node)).await;
}

#[tokio::test]
async fn a_publication_that_lost_a_table_does_not_vouch_for_it() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let nodes = nodes(&fed(&database).redis(&redis), 2).await;
    for node in &nodes {
        until_hit(node.rest(), UNITED).await;
        until_hit(node.rest(), PLANE).await;
    }
    database.execute("alter publication transom drop table airlines").await;
    database.execute("update airlines set name = 'Unheard' where carrier = 'UA'").await;
    for node in &nodes {
        within_bound("the unheard change shows within the bound", MAX_STALENESS + NOISE, async || {
            node.rest().get(UNITED).send().await.text().contains("Unheard")
        })
        .await;
        eventually("the table is known to be left out", Duration::from_secs(10), async || {
            node.rest().get(UNITED).send().await.header("cache-status").contains("detail=not-in-feed")
        })
        .await;
        until_hit(node.rest(), PLANE).await;
    }
    database.execute("alter publication transom add table airlines").await;
    for node in &nodes {
        until_hit(node.rest(), UNITED).await;
    }
    see_changes(&database, &nodes).await;
}

#[tokio::test]
async fn a_publication_that_was_dropped_is_made_anew() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let node = &nodes(&fed(&database).redis(&redis), 1).await[0];
    until_hit(node.rest(), UNITED).await;
    database.execute("drop publication transom; update airlines set name = 'Unheard' where carrier = 'UA'").await;
    within_bound("the unheard change shows within the bound", MAX_STALENESS + NOISE, async || {
        node.rest().get(UNITED).send().await.text().contains("Unheard")
    })
    .await;
    until_hit(node.rest(), UNITED).await;
    see_changes(&database, std::slice::from_ref(node)).await;
}

#[tokio::test]
async fn redis_comes_back_empty_and_the_feed_goes_on() {
    let database = Postgres::shared().await.database().await;
    goes_on_after_an_empty_redis(&fed(&database), &database).await;
}

#[tokio::test]
async fn postgres_restarts_and_what_is_coherent_survives() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    let redis = Redis::start().await;
    let nodes = nodes(&fed(&database).redis(&redis), 2).await;
    for node in &nodes {
        until_hit(node.rest(), UNITED).await;
    }
    let before = epoch(&nodes[0]).await;
    postgres.crash().await;
    for node in &nodes {
        node.until_lease(Lease::Lapsed).await;
    }
    postgres.start().await;
    for node in &nodes {
        node.until_lease(Lease::Held).await;
        let answer = node.rest().get("/airlines?carrier=eq.UA").header("cache-control", "only-if-cached").send().await;
        assert!(answer.is_hit(), "{answer:?}");
    }
    assert_eq!(epoch(&nodes[0]).await, before, "the slot goes on where it was");
    see_changes(&database, &nodes).await;
}

#[tokio::test]
async fn a_promoted_standby_begins_a_new_epoch() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    let redis = Redis::start().await;
    let node = &nodes(&fed(&database).redis(&redis), 1).await[0];
    until_hit(node.rest(), UNITED).await;
    let before = epoch(node).await;
    postgres.demote().await;
    node.until_lease(Lease::Lapsed).await;
    postgres.promote().await;
    node.until_lease(Lease::Held).await;
    assert_ne!(epoch(node).await, before, "commits that were cached may be lost");
    assert_eq!(node.metric("transom_feed_epochs_total{reason=\"database\"}").await, 1.0);
    see_changes(&database, std::slice::from_ref(node)).await;
}

#[tokio::test]
async fn a_slot_whose_log_was_thrown_away_is_made_anew() {
    let postgres = Postgres::own().await;
    let database = postgres.database().await;
    let redis = Redis::start().await;
    let mut node = fed(&database).redis(&redis).start_process().await;
    until_hit(node.rest(), UNITED).await;
    node.process().signal(Signal::Stop);
    let admin = postgres.admin().await;
    admin.batch_execute("alter system set max_slot_wal_keep_size = '1MB'").await.expect("it is ours");
    admin.batch_execute("select pg_reload_conf()").await.expect("it is ours");
    eventually("the slot is lost", Duration::from_secs(20), async || {
        database.execute("update airlines set name = 'Unheard' where carrier = 'UA'").await;
        admin.batch_execute("select pg_switch_wal()").await.expect("it is ours");
        admin.batch_execute("checkpoint").await.expect("it is ours");
        database.value("select wal_status from pg_replication_slots").await.as_deref() == Some("lost")
    })
    .await;
    node.process().signal(Signal::Cont);
    within_bound("the unheard change shows", MAX_STALENESS + NOISE, async || {
        node.rest().get(UNITED).send().await.text().contains("Unheard")
    })
    .await;
    until_hit(node.rest(), UNITED).await;
    eventually("a new epoch", SOON, async || {
        let text = node.admin().get("/metrics").send().await.text();
        text.contains("transom_feed_epochs_total{reason=\"slot\"} 1")
    })
    .await;
}
