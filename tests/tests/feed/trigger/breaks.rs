//! What the feed by triggers rests on goes away, and what comes back is not what it was.

use std::time::Duration;

use transom_tests::{Lease, Postgres, Redis, Signal, eventually, within_bound};

use super::super::{MAX_STALENESS, NOISE, goes_on_after_an_empty_redis};
use super::{PLANE, UNITED, epoch, fed, nodes, own_plain, recording, see_changes, setup, until_hit, until_text};

#[tokio::test]
async fn a_trigger_that_was_disabled_or_dropped_uncovers_its_table() {
    let database = recording("").await;
    let redis = Redis::start().await;
    let nodes = nodes(&fed(&database).redis(&redis), 2).await;
    for broken in [
        "alter table airlines disable trigger transom_update",
        "drop trigger transom_update on airlines",
        "alter table airlines enable trigger transom_update",
    ] {
        for node in &nodes {
            until_hit(node.rest(), UNITED).await;
            until_hit(node.rest(), PLANE).await;
        }
        let before = epoch(&nodes[0]).await;
        let name = format!("Unheard {}", broken.len());
        database.execute(&format!("{broken}; update airlines set name = '{name}' where carrier = 'UA'")).await;
        for node in &nodes {
            within_bound("the unheard change shows within the bound", MAX_STALENESS + NOISE, async || {
                node.rest().get(UNITED).send().await.text().contains(&name)
            })
            .await;
            eventually("the table is known not to record", Duration::from_secs(10), async || {
                node.rest().get(UNITED).send().await.header("cache-status").contains("detail=not-in-feed")
            })
            .await;
            until_hit(node.rest(), PLANE).await;
        }
        assert_ne!(epoch(&nodes[0]).await, before, "{broken}");
        setup(&database, &["--feed", "trigger"]);
    }
    see_changes(&database, &nodes).await;
}

#[tokio::test]
async fn a_change_while_triggers_were_off_is_not_missed() {
    let database = recording("").await;
    let node = &nodes(&fed(&database), 1).await[0];
    until_hit(node.rest(), UNITED).await;
    // As a restore does it: in one transaction, and afterwards everything is as it was.
    database
        .execute(
            "begin; alter table airlines disable trigger user; update airlines set name = 'Unheard' where carrier = 'UA';
             alter table airlines enable always trigger transom_insert;
             alter table airlines enable always trigger transom_update;
             alter table airlines enable always trigger transom_delete;
             alter table airlines enable always trigger transom_truncate; commit",
        )
        .await;
    until_text(node.rest(), UNITED, "Unheard").await;
    until_hit(node.rest(), UNITED).await;
}

#[tokio::test]
async fn a_new_partition_uncovers_the_table_until_it_records_too() {
    let database = recording(
        "create table events (id int primary key, note text) partition by range (id);
         create table events_1 partition of events for values from (0) to (10);
         grant select on all tables in schema public to web_anon",
    )
    .await;
    let node = &nodes(&fed(&database), 1).await[0];
    until_hit(node.rest(), "/events").await;
    database.execute("create table events_2 partition of events for values from (10) to (20)").await;
    database.execute("insert into events_2 values (11, 'past the trigger')").await;
    within_bound("the row shows within the bound", MAX_STALENESS + NOISE, async || {
        node.rest().get("/events").send().await.text().contains("past the trigger")
    })
    .await;
    eventually("the table is known not to record", Duration::from_secs(10), async || {
        node.rest().get("/events").send().await.header("cache-status").contains("detail=not-in-feed")
    })
    .await;
    setup(&database, &["--feed", "trigger"]);
    until_hit(node.rest(), "/events").await;
    database.execute("insert into events_2 values (12, 'recorded')").await;
    until_text(node.rest(), "/events", "recorded").await;
}

#[tokio::test]
async fn an_outbox_that_nobody_read_for_long_is_full_and_a_new_epoch_begins() {
    let database = recording("").await;
    let redis = Redis::start().await;
    let mut node = fed(&database).redis(&redis).start_process().await;
    until_hit(node.rest(), UNITED).await;
    node.process().signal(Signal::Stop);
    // As if so many statements had been recorded.
    database.execute("select setval('transom.recorded', 300000)").await;
    database.execute("update airlines set name = 'Unheard' where carrier = 'UA'").await;
    let recorded = "select count(*) from transom.outbox where table_name = 'airlines'";
    assert_eq!(database.value(recorded).await.as_deref(), Some("0"), "nothing is added to a full outbox");
    // One that is still open when the recording goes on.
    let open = database.client().await;
    open.batch_execute("begin; update airlines set name = 'Open' where carrier = 'AA'").await.expect("a table");
    node.process().signal(Signal::Cont);
    within_bound("the unheard change shows within the bound", MAX_STALENESS + NOISE, async || {
        node.rest().get(UNITED).send().await.text().contains("Unheard")
    })
    .await;
    until_hit(node.rest(), "/airlines?carrier=eq.AA").await;
    open.batch_execute("commit").await.expect("it was open");
    until_text(node.rest(), "/airlines?carrier=eq.AA", "Open").await;
    until_hit(node.rest(), UNITED).await;
    database.execute("update airlines set name = 'Recorded' where carrier = 'UA'").await;
    until_text(node.rest(), UNITED, "Recorded").await;
}

#[tokio::test]
async fn redis_comes_back_empty_and_the_feed_goes_on() {
    let database = recording("").await;
    goes_on_after_an_empty_redis(&fed(&database), &database).await;
}

#[tokio::test]
async fn postgres_restarts_and_what_is_coherent_survives() {
    let mut postgres = own_plain().await;
    let database = postgres.database().await;
    setup(&database, &["--feed", "trigger"]);
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
        let answer = node.rest().get(UNITED).header("cache-control", "only-if-cached").send().await;
        assert!(answer.is_hit(), "{answer:?}");
    }
    assert_eq!(epoch(&nodes[0]).await, before, "the outbox goes on where it was");
    see_changes(&database, &nodes).await;
}

#[tokio::test]
async fn a_promoted_standby_begins_a_new_epoch() {
    let mut postgres: Postgres = own_plain().await;
    let database = postgres.database().await;
    setup(&database, &["--feed", "trigger"]);
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
