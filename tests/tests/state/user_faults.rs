//! What users lose while servers die and cables are cut, and under load.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use serde_json::json;
use transom_tests::consistency::cable::{Cable, Heal, Scope};
use transom_tests::{Node, NodeBuilder, Postgres, Redis, eventually};

use super::users::{accepted, furnish, happened, judging, jwt_of, now, read, refused};
use super::*;

async fn world(settings: &[(&str, &str)]) -> (Database, Redis, NodeBuilder) {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    furnish(&database).await;
    let builder = judging(&builder(&database, &redis));
    let builder = settings.iter().fold(builder, |builder, (name, value)| builder.set(name, *value));
    (database, redis, builder)
}

const HASTY: [(&str, &str); 2] = [("max_staleness", "400ms"), ("redis_timeout", "200ms")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_holds_while_redis_is_frozen_dead_and_empty() {
    let (_database, mut redis, builder) = world(&HASTY).await;
    let nodes = three(&builder).await;
    let [frozen, killed, emptied, keeps] = ["a", "b", "c", "d"].map(|user| jwt_of(user, now()));
    for token in [&frozen, &killed, &emptied, &keeps] {
        accepted(&nodes, token).await;
    }
    redis.pause();
    happened(&nodes[0], "a", "banned", &json!({})).await;
    for node in &nodes {
        read(node, &frozen).await.expect_status(401);
    }
    accepted(&nodes, &keeps).await;
    redis.resume();
    for node in &nodes {
        read(node, &frozen).await.expect_status(401);
    }
    redis.kill();
    happened(&nodes[1], "b", "logout", &json!({})).await;
    for node in &nodes {
        read(node, &killed).await.expect_status(401);
    }
    accepted(&nodes, &keeps).await;
    redis.restart_empty().await;
    happened(&nodes[2], "c", "password-changed", &json!({})).await;
    refused(&nodes, &emptied).await;
    refused(&nodes, &frozen).await;
    accepted(&nodes, &keeps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_holds_on_both_sides_of_a_cut_cable() {
    let (_database, redis, builder) = world(&HASTY).await;
    let cable = Cable::to(redis.port()).await;
    let far = builder.clone().set("redis_url", format!("redis://127.0.0.1:{}", cable.port())).start().await;
    let nodes = [builder.start().await, builder.start().await, far];
    for round in 0..4 {
        let user = format!("user-{round}");
        let token = jwt_of(&user, now());
        accepted(&nodes, &token).await;
        cable.hold(Scope::All);
        if round % 2 == 1 {
            nodes[2].until_lease(transom_tests::Lease::Lapsed).await;
            accepted(&nodes, &token).await;
        }
        happened(&nodes[if round < 2 { 2 } else { 0 }], &user, "banned", &json!({})).await;
        for node in &nodes {
            read(node, &token).await.expect_status(401);
        }
        cable.heal(Heal::Drop);
        nodes[2].until_lease(transom_tests::Lease::Held).await;
        for node in &nodes {
            read(node, &token).await.expect_status(401);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_redis_keep_the_promise_too() {
    let database = Postgres::shared().await.database().await;
    furnish(&database).await;
    let builder = NodeBuilder::on(&database).set("state_service_key", KEY).set("max_staleness", "400ms");
    let nodes = three(&judging(&builder)).await;
    for round in 0..3 {
        let user = format!("user-{round}");
        let token = jwt_of(&user, now());
        accepted(&nodes, &token).await;
        happened(&nodes[round], &user, "logout", &json!({})).await;
        for node in &nodes {
            read(node, &token).await.expect_status(401);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_nobody_is_accepted_by_guess() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    furnish(&database).await;
    let builder = NodeBuilder::on(&database).set("state_service_key", KEY).set("max_staleness", "300ms");
    let node = judging(&builder).start().await;
    let (known, banned) = (jwt_of("alice", now()), jwt_of("mallory", now()));
    accepted(std::slice::from_ref(&node), &known).await;
    happened(&node, "mallory", "banned", &json!({})).await;
    postgres.crash().await;
    eventually("its proof is over", SOON, async || read(&node, &known).await.status == 503).await;
    let answer = read(&node, &known).await.expect_status(503);
    assert!(!answer.header("retry-after").is_empty());
    assert!([401, 503].contains(&read(&node, &banned).await.status));
    assert_eq!(post(&node, "/users/alice/banned", &json!({})).await.status, 503, "nothing is revoked by guess either");
    postgres.start().await;
    eventually("postgres is back", SOON, async || read(&node, &known).await.status == 200).await;
    read(&node, &banned).await.expect_status(401);
}

/// With Redis and without Postgres, what the nodes can prove still counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_what_is_proven_by_redis_counts() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    furnish(&database).await;
    let redis = Redis::start().await;
    let nodes = three(&judging(&builder(&database, &redis)).set("max_staleness", "4s").set("feed", "none")).await;
    let (known, banned, unknown) = (jwt_of("alice", now()), jwt_of("mallory", now()), jwt_of("bob", now()));
    accepted(&nodes, &known).await;
    happened(&nodes[0], "mallory", "banned", &json!({})).await;
    for node in &nodes {
        read(node, &banned).await.expect_status(401);
        // Until the tiers know it by more than youth.
        eventually("the notes are read", SOON, async || {
            accepted(std::slice::from_ref(node), &known).await;
            read(node, &banned).await.status == 401
        })
        .await;
    }
    postgres.crash().await;
    let began = std::time::Instant::now();
    // Long after what was read from Postgres has stopped to be young.
    while began.elapsed() < Duration::from_secs(9) {
        accepted(&nodes, &known).await;
    }
    for node in &nodes {
        assert_ne!(read(node, &banned).await.status, 200);
        read(node, &unknown).await.expect_status(503);
    }
    postgres.start().await;
    refused_soon(&nodes, &banned).await;
}

async fn refused_soon(nodes: &[Node], token: &str) {
    for node in nodes {
        eventually("postgres is back", SOON, async || read(node, token).await.status == 401).await;
    }
}

/// Whoever asks after the call has returned is refused, however many ask meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_none_is_accepted_that_was_asked_after_the_call_returned() {
    let (_database, _redis, builder) = world(&[("max_staleness", "400ms")]).await;
    let nodes = Arc::new(three(&builder).await);
    for round in 0..3 {
        let user = format!("user-{round}");
        let token = Arc::new(jwt_of(&user, now()));
        accepted(&nodes[..], &token).await;
        let (over, stop, accepted_late, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicU64::new(0)),
        );
        let clients: Vec<_> = (0..6)
            .map(|at| {
                let (nodes, token, over, stop) = (nodes.clone(), token.clone(), over.clone(), stop.clone());
                let (accepted_late, asked) = (accepted_late.clone(), asked.clone());
                tokio::spawn(async move {
                    while !stop.load(SeqCst) {
                        let late = over.load(SeqCst);
                        let status = read(&nodes[at % 3], &token).await.status;
                        assert!([200, 401].contains(&status), "{status}");
                        if late {
                            asked.fetch_add(1, SeqCst);
                        }
                        if late && status == 200 {
                            accepted_late.fetch_add(1, SeqCst);
                        }
                    }
                })
            })
            .collect();
        happened(&nodes[round], &user, "role-changed", &json!({})).await;
        over.store(true, SeqCst);
        eventually("they go on asking", SOON, async || asked.load(SeqCst) > 200).await;
        stop.store(true, SeqCst);
        for client in clients {
            client.await.expect("it asks on");
        }
        assert_eq!(accepted_late.load(SeqCst), 0);
    }
}
