//! The main job: a read fills, later reads hit, a write anywhere is seen everywhere.

use std::time::Duration;

use serde_json::json;
use transom_tests::{Node, NodeBuilder, Postgres, Redis, Response, eventually};

/// The default of the setting.
const MAX_STALENESS: Duration = Duration::from_secs(1);
const UNITED: &str = "/airlines?carrier=eq.UA";

async fn cluster(size: usize) -> (transom_tests::Database, Redis, Vec<Node>) {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    // On a busy machine Redis may take longer than the default, and a write that could not be announced has no token.
    let builder = NodeBuilder::on(&database).redis(&redis).set("redis_timeout", "2s");
    let mut nodes = Vec::new();
    for _ in 0..size {
        nodes.push(builder.start().await);
    }
    (database, redis, nodes)
}

fn name_in(response: &Response) -> String {
    response.json()[0]["name"].as_str().unwrap_or_else(|| panic!("no name in {}", response.text())).to_owned()
}

#[tokio::test]
async fn the_first_read_fills_l1_and_the_second_hits_it() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let first = node.rest().get(UNITED).send().await;
    assert_eq!(first.text(), r#"[{"carrier":"UA","name":"United Air Lines Inc."}]"#);
    assert!(first.header("cache-status").starts_with("transom; fwd=uri-miss; stored; ttl="), "{first:?}");
    let second = node.rest().get(UNITED).send().await;
    assert!(second.header("cache-status").starts_with("transom; hit; detail=l1; ttl="), "{second:?}");
    assert_eq!(second.text(), first.text());
    assert_eq!(second.header("etag"), first.header("etag"));
    assert_eq!(database.calls("%from%airlines%carrier%").await, 1, "the second read asked Postgres");
}

#[tokio::test]
async fn after_a_write_the_same_node_answers_with_the_new_value_at_once() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    for round in 0..50 {
        let name = format!("United {round}");
        node.rest().get(UNITED).send().await;
        node.rest().patch(UNITED, &json!({ "name": name })).send().await.expect_status(204);
        assert_eq!(name_in(&node.rest().get(UNITED).send().await), name);
    }
}

#[tokio::test]
async fn one_node_fills_another_hits_l2_and_a_write_on_a_third_reaches_both() {
    let (_database, _redis, nodes) = cluster(3).await;
    let [a, b, c] = [0, 1, 2].map(|n: usize| nodes[n].rest());
    let filled = a.get(UNITED).send().await;
    assert!(filled.header("cache-status").contains("fwd=uri-miss; stored"), "{filled:?}");
    let hit = eventually("b finds the entry in l2", Duration::from_secs(10), async || {
        // A node that has just lost its lease to a busy machine does not store to l2: fill again.
        a.get(UNITED).header("cache-control", "no-cache").send().await.expect_status(200);
        let read = b.get(UNITED).header("cache-control", "only-if-cached").send().await;
        (read.status == 200).then_some(read)
    })
    .await;
    assert!(hit.header("cache-status").starts_with("transom; hit; detail=l2"), "{hit:?}");
    let again = b.get(UNITED).send().await;
    assert!(again.header("cache-status").starts_with("transom; hit; detail=l1"), "promoted: {again:?}");

    let written = c.patch(UNITED, &json!({ "name": "Untied" })).send().await;
    let token = written.header("transom-token").to_owned();
    assert!(!token.is_empty(), "{written:?}");
    for node in [a, b] {
        let read = node.get(UNITED).header("transom-min-token", &token).send().await;
        assert_eq!(name_in(&read), "Untied");
    }
    for node in [a, b] {
        // Milliseconds on an idle machine; never more than the bound.
        eventually("the new name without a token", MAX_STALENESS, async || {
            name_in(&node.get(UNITED).send().await) == "Untied"
        })
        .await;
    }
}

#[tokio::test]
async fn a_thousand_readers_of_a_cold_key_cost_one_query() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let target = "/flights?order=dep_delay.desc.nullslast&limit=500";
    let readers = (0..1_000).map(|_| node.rest().get(target).send());
    let answers = futures_util::future::join_all(readers).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == answers[0].text()));
    assert_eq!(database.calls("%from%flights%dep_delay%").await, 1);
    assert!(node.metric("transom_collapsed_total{end=\"shared\"}").await > 0.0);
}
