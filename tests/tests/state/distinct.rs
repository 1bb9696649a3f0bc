//! How many different keys are asked of a table, by how many different users: what all nodes say of all nodes.

use serde_json::{Value, json};
use transom_tests::{Node, Postgres, Redis, Request, eventually};

use super::access::{SECRET, signed};
use super::*;

async fn report(node: &Node) -> Value {
    node.admin().get("/distinct").send().await.expect_status(200).json()
}

/// The counts of the table of airlines in this window, or the one before.
fn of_airlines(report: &Value, window: &str) -> (u64, u64) {
    let tables = report["tables"].as_array().unwrap_or_else(|| panic!("no tables: {report}"));
    let airlines = tables.iter().find(|table| table["table"] == "public.airlines");
    let count = |what: &str| airlines.and_then(|table| table[window][what].as_u64()).unwrap_or(0);
    (count("keys"), count("users"))
}

fn as_user(request: Request, user: usize) -> Request {
    let token = signed(json!({ "role": "web_anon", "sub": format!("user-{user}") }));
    request.header("authorization", format!("Bearer {token}"))
}

#[tokio::test]
async fn keys_and_users_are_counted_once_on_whichever_node_they_ask() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let nodes = three(&builder(&database, &redis).set("jwt_secret", SECRET)).await;
    for round in 0..3 {
        for number in 0..60 {
            let node = &nodes[(number + round) % 3];
            let target = format!("/airlines?select=name&limit={}", 1 + number % 30);
            as_user(node.rest().get(&target), number % 12).send().await.expect_status(200);
        }
    }
    // Hits say nothing new, from whichever tier, or the lane of a worker.
    for _ in 0..100 {
        nodes[0].rest().get("/airlines?select=name&limit=1").send().await.expect_status(200);
    }
    // Whoever is asked sends what it knows; the others do by themselves.
    let known = async || {
        let (keys, users) = of_airlines(&report(&nodes[1]).await, "now");
        // 30 and 13. In one of forty runs two keys share a register of 16 384, and count as one.
        if (28..=31).contains(&keys) && (11..=14).contains(&users) { Ok(()) } else { Err(format!("{keys}, {users}")) }
    };
    eventually("all is counted", SOON, known).await;
    let said = report(&nodes[2]).await;
    assert_eq!((&said["window_ms"], &said["dropped"]), (&json!(86_400_000), &json!(0)));
    assert!(said["since"].as_u64().is_some_and(|since| since % 86_400 == 0), "{said}");
    assert_eq!(said["tables"].as_array().map(Vec::len), Some(1), "{said}");
}

#[tokio::test]
async fn a_window_begins_anew_and_knows_the_one_before() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = builder(&database, &redis).set("distinct_window", "12s").start().await;
    let ask = async || node.rest().get("/airlines?limit=1").send().await.expect_status(200);
    // A question that is remembered, and a copy in a lane.
    for _ in 0..40 {
        ask().await;
    }
    let first = report(&node).await;
    assert_eq!(of_airlines(&first, "now"), (1, 1));
    eventually("the next window begins", SOON * 2, async || report(&node).await["since"] != first["since"]).await;
    assert_eq!(of_airlines(&report(&node).await, "before"), (1, 1));
    assert!(ask().await.is_hit());
    eventually("it is counted anew", SOON, async || of_airlines(&report(&node).await, "now") == (1, 1)).await;
}

#[tokio::test]
async fn counting_waits_for_redis_and_can_be_switched_off() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let off = builder(&database, &redis).set("distinct_window", "0s").start().await;
    off.rest().get("/airlines?limit=1").send().await.expect_status(200);
    assert_eq!(report(&off).await, json!({ "window_ms": 0, "since": 0, "dropped": 0, "tables": [] }));
    let alone = NodeBuilder::on(&database).start().await;
    assert_eq!(report(&alone).await["window_ms"], 0, "there is no Redis to count in");

    let node = builder(&database, &redis).set("redis_timeout", "300ms").start().await;
    redis.pause();
    for number in 1..=5 {
        node.rest().get(&format!("/airlines?limit={number}")).send().await.expect_status(200);
    }
    let away = node.admin().get("/distinct").send().await.expect_status(503);
    assert!(away.text().contains("redis does not answer"), "{}", away.text());
    redis.resume();
    eventually("what was asked meanwhile is counted", SOON, async || {
        let answer = node.admin().get("/distinct").send().await;
        answer.status == 200 && of_airlines(&answer.json(), "now") == (5, 1)
    })
    .await;
}
