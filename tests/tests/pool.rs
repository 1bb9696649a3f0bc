//! Reads while connections are short: those that ask the same with other values are answered together.

use std::time::Duration;

use tokio::task::JoinHandle;
use transom_tests::{Database, Node, NodeBuilder, Postgres, Response, eventually};

/// What sets up the session of a transaction.
const SESSION: &str = "select set_config(%";
const SOON: Duration = Duration::from_secs(10);

/// A node with one connection, which a read of this row holds until the lock is dropped.
async fn busy_node() -> (Database, Node, JoinHandle<Response>, tokio_postgres::Client) {
    let database = Postgres::shared().await.database().await;
    database
        .execute(
            "create table item (id int primary key, name text);
             insert into item select id, 'item ' || id from generate_series(0, 100) as id;
             grant select on item to web_anon",
        )
        .await;
    let node = NodeBuilder::on(&database).set("db_pool_max", "1").start().await;
    let lock = database.client().await;
    lock.batch_execute("begin; lock table item").await.expect("nobody holds it");
    let first = asked(&node, "/item?id=eq.0");
    eventually("a read waits for the lock", SOON, async || database.waiting_for_locks().await == 1).await;
    (database, node, first, lock)
}

fn asked(node: &Node, target: &str) -> JoinHandle<Response> {
    let request = node.rest().get(target);
    tokio::spawn(async move { request.send().await })
}

/// Asks for these rows one after the other, each when the one before waits.
async fn rows_asked_in_turn(node: &Node, values: &[&str]) -> Vec<JoinHandle<Response>> {
    asked_in_turn(node, values.iter().map(|value| format!("/item?id=eq.{value}"))).await
}

async fn asked_in_turn(node: &Node, targets: impl IntoIterator<Item = String>) -> Vec<JoinHandle<Response>> {
    let mut reads = Vec::new();
    for target in targets {
        reads.push(asked(node, &target));
        let waiting = f64::from(u32::try_from(reads.len()).expect("a few"));
        eventually("it waits for the connection", SOON, async || {
            node.metric("transom_pool_waiting_reads").await >= waiting
        })
        .await;
    }
    reads
}

#[tokio::test]
async fn reads_that_wait_share_a_transaction_and_each_gets_its_own_answer() {
    let (database, node, first, lock) = busy_node().await;
    let values: Vec<String> = (1..=11).map(|id| id.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let reads = rows_asked_in_turn(&node, &values).await;
    let other = asked(&node, "/item?name=eq.item%2050");
    eventually("another one waits", SOON, async || node.metric("transom_pool_waiting_reads").await >= 12.0).await;
    drop(lock);
    first.await.expect("no panic").expect_status(200);
    for (value, read) in values.iter().zip(reads) {
        let answer = read.await.expect("no panic").expect_status(200);
        assert_eq!(answer.text(), format!("[{{\"id\":{value},\"name\":\"item {value}\"}}]"));
    }
    assert_eq!(other.await.expect("no panic").expect_status(200).text(), "[{\"id\":50,\"name\":\"item 50\"}]");
    // The first, eight, three more, and the one that asks something else.
    assert_eq!(database.calls(SESSION).await, 4);
    assert!(node.metric("transom_pool_waiting_reads").await < 1.0);
    for value in values {
        let again = node.rest().get(&format!("/item?id=eq.{value}")).send().await;
        assert!(again.is_hit(), "each was stored as its own: {:?}", again.header("cache-status"));
    }
}

#[tokio::test]
async fn pages_that_wait_share_a_transaction_too() {
    let (database, node, first, lock) = busy_node().await;
    let page = |after| format!("/item?select=name&id=gt.{after}&order=id&limit=1");
    let pages = asked_in_turn(&node, [10, 20, 30].map(page)).await;
    drop(lock);
    first.await.expect("no panic").expect_status(200);
    for (after, page) in [10, 20, 30].iter().zip(pages) {
        let answer = page.await.expect("no panic").expect_status(200);
        assert_eq!(answer.text(), format!("[{{\"name\":\"item {}\"}}]", after + 1));
    }
    assert_eq!(database.calls(SESSION).await, 2, "the first, and all pages");
}

#[tokio::test]
async fn a_read_that_fails_fails_alone() {
    let (_database, node, first, lock) = busy_node().await;
    let reads = rows_asked_in_turn(&node, &["1", "2", "none", "3", "4"]).await;
    drop(lock);
    first.await.expect("no panic").expect_status(200);
    let mut statuses = Vec::new();
    for read in reads {
        statuses.push(read.await.expect("no panic").status);
    }
    assert_eq!(statuses, [200, 200, 400, 200, 200]);
}

#[tokio::test]
async fn who_waited_too_long_leaves_the_others_their_turn() {
    let (_database, node, first, lock) = busy_node().await;
    let reads = rows_asked_in_turn(&node, &["1", "2"]).await;
    let gone = node.rest().get("/item?id=eq.3").header("cache-control", "no-cache").send();
    assert!(tokio::time::timeout(Duration::from_millis(50), gone).await.is_err(), "it gave up");
    drop(lock);
    first.await.expect("no panic").expect_status(200);
    for read in reads {
        read.await.expect("no panic").expect_status(200);
    }
    eventually("nobody waits", SOON, async || node.metric("transom_pool_waiting_reads").await < 1.0).await;
}
