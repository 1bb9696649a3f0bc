//! Lists between bounds, and pages in order: a change of a row leaves alone those that it is not in.

use std::time::Duration;

use serde_json::Value;
use transom_tests::{Postgres, Redis, eventually};

use super::stage::Stage;
use super::triggers::recording;

const COUNTERS: &str = "
    create table counters (id int primary key, kind int, n int);
    create table notes (id int primary key, counter_id int references counters, text text);
    insert into counters select n, n % 10, 0 from generate_series(1, 20000) n;
    insert into notes select n, n, 'note ' || n from generate_series(1, 2000) n;
    grant select, update on counters to web_anon; grant select on notes to web_anon";
/// In the bucket of none but the last page.
const NEUTRAL: &str = "update counters set n = n + 1 where id = 20000";

const BETWEEN: &str = "/counters?id=gte.1000&id=lt.1032&order=n";
const BELOW: &str = "/counters?id=lt.30&select=n";
const FIRST: &str = "/counters?order=id&limit=10";
const FROM_100: &str = "/counters?id=gte.100&order=id&limit=20";
/// The column of the order is not in the answer.
const UNSEEN: &str = "/counters?select=n,kind&id=gt.99&order=id&limit=20";
const DOWN: &str = "/counters?select=number:id,n&id=lt.500&order=id.desc&limit=10";
const SECOND: &str = "/counters?id=gte.100&order=id&limit=10&offset=40";
const SOME_KINDS: &str = "/counters?id=gte.100&kind=lt.5&order=id&limit=10";
const WITH_NOTES: &str = "/counters?select=n,notes(text)&id=gte.700&order=id&limit=5";
/// Not full: whatever comes behind it is in it.
const LAST: &str = "/counters?id=gte.19990&order=id&limit=20";

const TARGETS: [&str; 10] = [BETWEEN, BELOW, FIRST, FROM_100, UNSEEN, DOWN, SECOND, SOME_KINDS, WITH_NOTES, LAST];

async fn play(stage: &Stage<'_>) {
    stage.change("update counters set n = n + 1 where id = 10000", &[LAST]).await;
    stage.change("update counters set n = n + 1 where id = 1010", &[BETWEEN, LAST]).await;
    stage.change("update counters set n = n + 1 where id = 1040", &[LAST]).await;
    stage.change("update counters set n = n + 1 where id = 20", &[BELOW, LAST]).await;
    stage.change("update counters set n = n + 1 where id = 3", &[BELOW, FIRST, LAST]).await;
    stage.change("update counters set n = n + 1 where id = 101", &[FROM_100, UNSEEN, SECOND, SOME_KINDS, LAST]).await;
    // A page that an offset moves depends on what it passes over, and ends where it ends.
    stage.change("update counters set n = n + 1 where id = 145", &[SECOND, LAST]).await;
    stage.change("update counters set n = n + 1 where id = 180", &[LAST]).await;
    stage.change("update counters set n = n + 1 where id = 495", &[DOWN, LAST]).await;
    stage.change("update counters set n = n + 1 where id = 520", &[LAST]).await;
    // Gone from within, and put elsewhere: to the front of the first, and behind all.
    stage.change("delete from counters where id = 2010", &[LAST]).await;
    stage.change("update counters set id = -7 where id = 3000", &[BELOW, FIRST, LAST]).await;
    stage.change("update counters set id = 30000 where id = -7", &[BELOW, FIRST, LAST]).await;
    stage.change("update notes set counter_id = 2 where id = 110", &[WITH_NOTES]).await;
    stage.change("delete from counters where id = 110", &[FROM_100, UNSEEN, SECOND, SOME_KINDS, LAST]).await;
    // Now they reach further.
    stage.change("update counters set n = n + 1 where id = 120", &[FROM_100, UNSEEN, SECOND, SOME_KINDS, LAST]).await;
    stage.change("insert into counters values (110, 0, 5)", &[FROM_100, UNSEEN, SECOND, SOME_KINDS, LAST]).await;
    stage.change("update counters set n = n + 1 where id between 1 and 16000", &TARGETS).await;
    stage.change("truncate counters, notes", &TARGETS).await;
}

#[tokio::test]
async fn a_change_touches_the_pages_that_its_row_is_in_on_two_nodes_around_a_redis() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    play(&Stage::set(&database, Some(&redis), 2, COUNTERS, NEUTRAL, &TARGETS).await).await;
}

#[tokio::test]
async fn a_change_that_is_recorded_touches_the_pages_that_its_row_is_in() {
    let database = recording(COUNTERS).await;
    play(&Stage::of("trigger", &database, None, 1, NEUTRAL, &TARGETS).await).await;
}

/// The fill of a page begins with more tags than it ends with. Those must not keep a peer from what is stored.
#[tokio::test]
async fn a_page_is_found_in_l2_after_changes_of_other_rows() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let stage = Stage::set(&database, Some(&redis), 2, COUNTERS, NEUTRAL, &[FROM_100]).await;
    // Another key of the same template, which the second node has not seen.
    let target = "/counters?id=gte.5000&order=id&limit=20";
    let count = "return tostring(#redis.call('KEYS', 'transom:*:e:*'))";
    let are_there = async || {
        let reply = redis.command(&["EVAL", count, "0"]).await.map_err(|error| error.to_string())?;
        if reply.text().as_deref() == Some("2") { Ok(()) } else { Err(format!("{reply:?}")) }
    };
    let filled = stage.nodes[0].rest().get(target).send().await.expect_status(200);
    assert!(filled.header("cache-status").contains("; stored"), "{filled:?}");
    eventually("both are in l2", Duration::from_secs(10), are_there).await;
    stage.commit("update counters set n = n + 1 where id = 7000").await;
    let found = stage.nodes[1].rest().get(target).send().await.expect_status(200);
    assert!(found.header("cache-status").contains("detail=l2"), "{found:?}");
    stage.commit("update counters set n = 77 where id = 5003").await;
    for node in &stage.nodes {
        let rows = node.rest().get(target).send().await.expect_status(200).json();
        assert_eq!(rows[3]["n"], Value::from(77));
    }
}

/// How many there are in all depends on all.
#[tokio::test]
async fn a_page_that_is_counted_depends_on_every_row() {
    let database = Postgres::shared().await.database().await;
    let stage = Stage::set(&database, None, 1, COUNTERS, NEUTRAL, &[FROM_100]).await;
    let node = &stage.nodes[0];
    let counted = async || {
        let answer = node.rest().get(FROM_100).header("prefer", "count=exact").send().await;
        answer.expect_status(206).header("content-range").to_owned()
    };
    assert_eq!(counted().await, "0-19/19901");
    stage.commit("delete from counters where id = 15000").await;
    assert_eq!(counted().await, "0-19/19900");
}
