//! Who may use shared state, and what those who may not are told.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use transom_tests::{Node, NodeBuilder, Postgres, Redis, Request, Response};

use super::*;

pub(super) const SECRET: &str = "a secret of the tests, which is long enough for HS256";

fn token(role: &str) -> String {
    signed(json!({ "role": role }))
}

/// A token that says this, for ten minutes.
pub(super) fn signed(mut claims: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs();
    claims["exp"] = json!(now + 600);
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("it can be signed")
}

fn acquire(node: &Node) -> Request {
    at(node.port()).post("/locks/a/acquire", &json!({ "ttl_ms": 60_000, "owner": "the-owner-of-a-lock" }))
}

fn code(response: &Response) -> (u16, String) {
    (response.status, response.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn who_shows_neither_a_token_nor_the_key_is_refused() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = builder(&database, &redis).set("jwt_secret", SECRET).set("state_roles", "worker, clerk");
    let node = builder.start().await;
    let refused = (401, "TRANSOM20".to_owned());
    let answer = acquire(&node).send().await;
    assert_eq!(code(&answer), refused);
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(code(&acquire(&node).header("transom-service-key", "another-key").send().await), refused);
    assert_eq!(code(&acquire(&node).header("transom-service-key", "").send().await), refused);
    let with = |role: &str| acquire(&node).header("authorization", format!("Bearer {}", token(role)));
    assert_eq!(code(&with("web_anon").send().await), refused, "the anonymous role is nobody");
    assert_eq!(code(&with("visitor").send().await), (403, "TRANSOM21".to_owned()));
    assert_eq!(code(&acquire(&node).header("authorization", "Bearer nonsense").send().await).0, 401);
    with("clerk").send().await.expect_status(200);
    keyed(acquire(&node)).send().await.expect_status(200);

    let without = NodeBuilder::on(&database).redis(&redis).set("jwt_secret", SECRET).start().await;
    assert_eq!(code(&acquire(&without).header("transom-service-key", "").send().await), refused, "there is no key");
    acquire(&without).header("authorization", format!("Bearer {}", token("visitor"))).send().await.expect_status(200);
}

#[tokio::test]
async fn what_cannot_be_understood_is_said() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = builder(&database, &redis).start().await;
    for (target, body, details) in [
        ("/locks/a/acquire", json!({}), "missing field `ttl_ms`"),
        ("/locks/a/acquire", json!({ "ttl_ms": 99 }), "ttl_ms is 99, but must be from 100 to 86400000"),
        ("/locks/a/acquire", json!({ "ttl_ms": 86_400_001 }), "must be from 100 to 86400000"),
        ("/locks/a/acquire", json!({ "ttl_ms": 100, "owner": "short" }), "an owner has 16 to 128"),
        ("/locks/a/acquire", json!({ "ttl_ms": 100, "backend": "memory" }), "unknown variant `memory`"),
        ("/locks/a/acquire", json!({ "ttl_ms": 100, "tll": 1 }), "unknown field `tll`"),
        ("/locks/a%7Bb/acquire", json!({ "ttl_ms": 100 }), "no braces"),
        ("/locks/a/renew", json!({ "ttl_ms": 100 }), "missing field `owner`"),
        ("/locks/a/release", json!(["the-owner-of-a-lock"]), "a JSON object is expected"),
    ] {
        let answer = post(&node, target, &body).await;
        assert_eq!(code(&answer), (400, "TRANSOM23".to_owned()), "{target} {body} {}", answer.text());
        assert!(answer.text().contains(details), "{}", answer.text());
    }
    let state = at(node.port());
    let answer = keyed(state.get("/locks/a?backend=paper")).send().await;
    assert_eq!(code(&answer), (400, "TRANSOM23".to_owned()));
    let answer = keyed(state.get("/locks/a/acquire")).send().await;
    assert_eq!(code(&answer), (405, "TRANSOM22".to_owned()));
    assert_eq!(answer.header("allow"), "POST");
    assert_eq!(code(&keyed(state.get("/nothing")).send().await), (404, "TRANSOM22".to_owned()));
    let large = keyed(state.post("/locks/a/acquire", &json!({ "owner": "x".repeat(100_000) }))).send().await;
    assert_eq!(code(&large), (413, "TRANSOM05".to_owned()));
    node.rest().get("/airlines?limit=1").send().await.expect_status(200);
}

#[tokio::test]
async fn what_is_missing_below_is_said_and_costs_little() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let alone = NodeBuilder::on(&database).set("state_service_key", KEY).start().await;
    assert_eq!(code(&keyed(acquire(&alone)).send().await), (503, "TRANSOM26".to_owned()));
    let strict = json!({ "ttl_ms": 1_000, "backend": "postgres" });
    let answer = post(&alone, "/locks/a/acquire", &strict).await;
    assert_eq!(code(&answer), (503, "TRANSOM27".to_owned()));
    assert!(answer.text().contains("transom setup --state"), "{}", answer.text());

    let node = builder(&database, &redis).set("redis_timeout", "200ms").start().await;
    redis.pause();
    let began = Instant::now();
    for _ in 0..20 {
        let answer = keyed(acquire(&node)).send().await;
        assert_eq!(code(&answer), (503, "TRANSOM26".to_owned()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "twenty requests took {:?}", began.elapsed());
    assert_eq!(node.metric("transom_locks_total{operation=\"acquire\",result=\"failed\"}").await, 20.0);
    redis.resume();
    transom_tests::eventually("redis is asked again", SOON, async || keyed(acquire(&node)).send().await.status == 200)
        .await;
}
