//! Locks on three nodes, while nothing fails.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use futures_util::future::join_all;
use serde_json::{Value, json};
use transom_tests::{Node, Postgres, Redis};

use super::*;

const OWNER: &str = "the-owner-of-a-lock";

fn fence(answer: &Value) -> u64 {
    answer["fence"].as_u64().unwrap_or_else(|| panic!("no fence: {answer}"))
}

fn with(backend: &str, mut body: Value) -> Value {
    body["backend"] = json!(backend);
    body
}

async fn nodes_with_tables() -> (Database, Redis, [Node; 3]) {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    setup(&database, &["--state"]).expect("the superuser may");
    let nodes = three(&builder(&database, &redis)).await;
    (database, redis, nodes)
}

#[tokio::test]
async fn one_node_gives_what_the_others_keep() {
    let (_database, _redis, [a, b, c]) = nodes_with_tables().await;
    for backend in ["redis", "postgres"] {
        let acquire = with(backend, json!({ "ttl_ms": 60_000, "owner": OWNER }));
        let other = with(backend, json!({ "ttl_ms": 60_000 }));
        let release = with(backend, json!({ "owner": OWNER }));
        let look = format!("/locks/jobs%2Fnightly?backend={backend}");

        let first = post(&a, "/locks/jobs%2Fnightly/acquire", &acquire).await.expect_status(200).json();
        assert_eq!((&first["name"], &first["owner"]), (&json!("jobs/nightly"), &json!(OWNER)));
        let refused = post(&b, "/locks/jobs%2Fnightly/acquire", &other).await.expect_status(409);
        assert_eq!(refused.json()["code"], "TRANSOM24");
        assert!((1..=60).contains(&refused.header("retry-after").parse().expect("seconds")), "{refused:?}");
        let again = post(&b, "/locks/jobs%2Fnightly/acquire", &acquire).await.expect_status(200).json();
        assert_eq!(fence(&again), fence(&first), "the same owner has the same lock");
        let seen = keyed(at(c.port()).get(&look)).send().await.expect_status(200).json();
        assert_eq!((&seen["held"], fence(&seen)), (&json!(true), fence(&first)));
        assert!(seen.get("owner").is_none(), "who looks does not learn how to release: {seen}");

        let stranger = with(backend, json!({ "owner": "somebody-else-altogether", "ttl_ms": 60_000 }));
        assert_eq!(post(&c, "/locks/jobs%2Fnightly/renew", &stranger).await.expect_status(409).json()["code"], {
            "TRANSOM25"
        });
        let stranger = with(backend, json!({ "owner": "somebody-else-altogether" }));
        post(&c, "/locks/jobs%2Fnightly/release", &stranger).await.expect_status(409);
        let renewed = post(&b, "/locks/jobs%2Fnightly/renew", &acquire).await.expect_status(200).json();
        assert_eq!(fence(&renewed), fence(&first));
        post(&c, "/locks/jobs%2Fnightly/release", &release).await.expect_status(200);
        post(&a, "/locks/jobs%2Fnightly/release", &release).await.expect_status(409);
        let free = keyed(at(a.port()).get(&look)).send().await.expect_status(200).json();
        assert_eq!(free, json!({ "name": "jobs/nightly", "held": false }));

        let next = post(&b, "/locks/jobs%2Fnightly/acquire", &other).await.expect_status(200).json();
        assert!(fence(&next) > fence(&first), "{next} {first}");
    }
    assert_eq!(a.metric("transom_locks_total{operation=\"acquire\",result=\"done\"}").await, 2.0);
    assert_eq!(b.metric("transom_locks_total{operation=\"acquire\",result=\"refused\"}").await, 2.0);
    assert_eq!(b.metric("transom_requests_total{outcome=\"state\",route=\"state\",status=\"200\"}").await, 6.0);
}

#[tokio::test]
async fn who_waits_gets_it_when_it_is_released() {
    let (_database, _redis, [a, b, c]) = nodes_with_tables().await;
    for backend in ["redis", "postgres"] {
        post(&a, "/locks/job/acquire", &with(backend, json!({ "ttl_ms": 600_000, "owner": OWNER }))).await;
        let waits = with(backend, json!({ "ttl_ms": 600_000, "wait_ms": 600_000 }));
        let waiting = tokio::spawn(keyed(at(b.port()).post("/locks/job/acquire", &waits)).send());
        let briefly = with(backend, json!({ "ttl_ms": 600_000, "wait_ms": 50 }));
        post(&c, "/locks/job/acquire", &briefly).await.expect_status(409);
        assert!(!waiting.is_finished());
        post(&c, "/locks/job/release", &with(backend, json!({ "owner": OWNER }))).await.expect_status(200);
        waiting.await.expect("no panic").expect_status(200);
    }
}

/// Thirty clients of three nodes, each of which must be alone between its two looks at a counter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_ever_in_there_with_somebody_else() {
    let (_database, _redis, nodes) = nodes_with_tables().await;
    for (backend, rounds) in [("redis", 3), ("postgres", 1)] {
        let (inside, last) = (AtomicU64::new(0), AtomicU64::new(0));
        let clients = (0..30).map(|number| {
            let (node, inside, last) = (&nodes[number % 3], &inside, &last);
            async move {
                for _ in 0..rounds {
                    let acquire = with(backend, json!({ "ttl_ms": 600_000, "wait_ms": 15_000 }));
                    let granted = loop {
                        let answer = post(node, "/locks/crowd/acquire", &acquire).await;
                        if answer.status == 200 {
                            break answer.json();
                        }
                        answer.expect_status(409);
                    };
                    assert_eq!(inside.fetch_add(1, SeqCst), 0, "two at a time");
                    assert!(last.swap(fence(&granted), SeqCst) < fence(&granted), "fences grow");
                    tokio::task::yield_now().await;
                    assert_eq!(inside.fetch_sub(1, SeqCst), 1);
                    let release = with(backend, json!({ "owner": granted["owner"] }));
                    post(node, "/locks/crowd/release", &release).await.expect_status(200);
                }
            }
        });
        join_all(clients).await;
    }
}
