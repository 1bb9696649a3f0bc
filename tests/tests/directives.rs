//! `Cache-Control` of requests (RFC 9111, section 5.2.1), and the lifetimes that settings give.

use std::time::Duration;

use serde_json::json;
use transom_tests::{CacheStatus, Database, Http, Node, NodeBuilder, Postgres, Redis, Reply, Response, eventually};

const UNITED: &str = "/airlines?carrier=eq.UA";

async fn node() -> (Database, Node) {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    (database, node)
}

async fn asked(http: &Http, cache_control: &str) -> Response {
    http.get(UNITED).header("cache-control", cache_control).send().await
}

async fn gist(http: &Http, cache_control: &str) -> String {
    CacheStatus::of(&asked(http, cache_control).await).gist()
}

/// Reads once, and waits until what was stored is at least so many seconds old.
async fn aged(http: &Http, seconds: u64) {
    asked(http, "no-cache").await;
    eventually("the entry is older", Duration::from_secs(10), async || {
        asked(http, "max-stale").await.header("age").parse::<u64>().is_ok_and(|age| age >= seconds)
    })
    .await;
}

#[tokio::test]
async fn no_cache_and_pragma_ask_postgres_and_refresh_what_is_stored() {
    let (database, node) = node().await;
    asked(node.rest(), "max-age=100").await;
    database.execute("update airlines set name = 'behind its back' where carrier = 'UA'").await;
    assert!(!asked(node.rest(), "max-age=100").await.text().contains("behind its back"), "a hit");
    assert!(asked(node.rest(), "no-cache").await.text().contains("behind its back"));
    let hit = asked(node.rest(), "max-age=100").await;
    assert_eq!(CacheStatus::of(&hit).gist(), "detail=l1; hit");
    assert!(hit.text().contains("behind its back"));
    for pragma in ["no-cache", "No-Cache", "other, no-cache"] {
        let answer = node.rest().get(UNITED).header("pragma", pragma).send().await;
        assert_eq!(CacheStatus::of(&answer).gist(), "detail=no-cache; fwd=request; stored", "{pragma}");
    }
    // Cache-Control silences Pragma (section 5.4).
    let answer = node.rest().get(UNITED).header("pragma", "no-cache").header("cache-control", "max-age=9").send().await;
    assert_eq!(CacheStatus::of(&answer).gist(), "detail=l1; hit");
}

#[tokio::test]
async fn no_store_leaves_no_trace_in_either_tier() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let node = NodeBuilder::on(&database).redis(&redis).start().await;
    for _ in 0..3 {
        assert_eq!(gist(node.rest(), "no-store").await, "detail=no-store; fwd=request");
    }
    assert_eq!(gist(node.rest(), "only-if-cached").await, "detail=only-if-cached");
    // The node waits for its stores when it ends, so afterwards everything is there that will ever be.
    node.drain().await;
    let keys = redis.command(&["KEYS", "transom:default:e:*"]).await.unwrap();
    assert!(matches!(&keys, Reply::Array(keys) if keys.is_empty()), "{keys:?}");
}

#[tokio::test]
async fn a_no_store_request_does_not_replace_what_others_stored() {
    let (database, node) = node().await;
    asked(node.rest(), "max-age=100").await;
    database.execute("update airlines set name = 'behind its back' where carrier = 'UA'").await;
    assert!(asked(node.rest(), "no-store").await.text().contains("behind its back"));
    let hit = asked(node.rest(), "only-if-cached").await;
    assert!(!hit.text().contains("behind its back"), "{hit:?}");
}

#[tokio::test]
async fn max_age_and_min_fresh_bound_what_may_be_reused() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).set("cache_ttl_seconds", "60").set("ttl_jitter", "0%").start().await;
    let http = node.rest();
    assert_eq!(gist(http, "max-age=0").await, "fwd=uri-miss; stored");
    aged(http, 1).await;
    assert_eq!(gist(http, "max-age=50").await, "detail=l1; hit");
    assert_eq!(gist(http, "min-fresh=20").await, "detail=l1; hit");
    assert_eq!(gist(http, "min-fresh=61").await, "detail=expired; fwd=stale; stored");
    aged(http, 1).await;
    assert_eq!(gist(http, "max-age=0").await, "detail=expired; fwd=stale; stored");
    // What is malformed is ignored; a number beyond counting is as good as the largest (section 1.2.2).
    for harmless in
        ["max-age", "max-age=x", "max-age=-1", "min-fresh=", "max-age=99999999999999999999999", "nonsense=1"]
    {
        assert_eq!(gist(http, harmless).await, "detail=l1; hit", "{harmless}");
    }
    assert_eq!(gist(http, "min-fresh=99999999999999999999999").await, "detail=expired; fwd=stale; stored");
    assert_eq!(gist(http, "MAX-AGE=\"50\", Min-Fresh=1").await, "detail=l1; hit");
}

#[tokio::test]
async fn max_stale_accepts_what_expired_and_says_so() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).set("cache_ttl_seconds", "1").set("ttl_jitter", "0%").start().await;
    let http = node.rest();
    aged(http, 2).await;
    for directive in ["max-stale", "max-stale=60"] {
        let stale = asked(http, directive).await.expect_status(200);
        let status = CacheStatus::of(&stale);
        assert_eq!(status.gist(), "detail=max-stale; hit", "{directive}");
        assert!(status.ttl() <= -1, "{stale:?}");
    }
    assert_eq!(gist(http, "max-stale, only-if-cached").await, "detail=max-stale; hit");
    assert_eq!(gist(http, "only-if-cached").await, "detail=only-if-cached");
    assert_eq!(gist(http, "max-stale=0").await, "detail=expired; fwd=stale; stored");
    // What is known to be wrong is not merely old.
    http.patch(UNITED, &json!({ "name": "Untied" })).send().await.expect_status(204);
    let answer = asked(http, "max-stale").await;
    assert_eq!(CacheStatus::of(&answer).gist(), "detail=incoherent; fwd=stale; stored");
    assert!(answer.text().contains("Untied"));
}

#[tokio::test]
async fn only_if_cached_is_refused_in_postgrests_shape_and_asks_nobody() {
    let (database, node) = node().await;
    let refused = asked(node.rest(), "only-if-cached").await.expect_status(504);
    let body = refused.json();
    assert_eq!(body["code"], "TRANSOM08");
    for key in ["message", "details", "hint"] {
        assert!(body.get(key).is_some(), "{body}");
    }
    asked(node.rest(), "only-if-cached, no-cache").await.expect_status(504);
    assert_eq!(database.calls("%from%airlines%carrier%").await, 0);
    asked(node.rest(), "").await.expect_status(200);
    assert_eq!(gist(node.rest(), "only-if-cached").await, "detail=l1; hit");
}

#[tokio::test]
async fn stale_while_revalidate_answers_at_once_and_fills_behind() {
    let database = Postgres::shared().await.database().await;
    let settings = [("cache_ttl_seconds", "1"), ("ttl_jitter", "0%"), ("stale_while_revalidate", "1m")];
    let builder =
        settings.into_iter().fold(NodeBuilder::on(&database), |builder, (name, value)| builder.set(name, value));
    let node = builder.start().await;
    let http = node.rest();
    aged(http, 1).await;
    database.execute("update airlines set name = 'behind its back' where carrier = 'UA'").await;
    let stale = asked(http, "").await;
    assert_eq!(CacheStatus::of(&stale).gist(), "detail=stale-while-revalidate; hit");
    assert!(!stale.text().contains("behind its back"));
    eventually("the fill behind it makes it fresh", Duration::from_secs(5), async || {
        let answer = asked(http, "").await;
        answer.text().contains("behind its back") && CacheStatus::of(&answer).has("hit")
    })
    .await;
    // A reader that wants no part in it has a way to say so.
    aged(http, 1).await;
    assert_eq!(gist(http, "max-stale=0, max-age=0").await, "detail=expired; fwd=stale; stored");
}

#[tokio::test]
async fn lifetimes_are_shortened_by_chance_within_the_bounds_of_the_jitter() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).set("cache_ttl_seconds", "1000").set("ttl_jitter", "40%").start().await;
    let mut lifetimes = Vec::new();
    for day in 0..60 {
        let answer = node.rest().get(&format!("/flights?limit=1&offset={day}&select=id")).send().await;
        lifetimes.push(CacheStatus::of(&answer).ttl());
    }
    // Two seconds for a slow fill.
    assert!(lifetimes.iter().all(|ttl| (597..=1_000).contains(ttl)), "{lifetimes:?}");
    let (least, most) = (lifetimes.iter().min().unwrap(), lifetimes.iter().max().unwrap());
    assert!(most - least > 100, "60 draws out of 400 seconds: {lifetimes:?}");
}

#[tokio::test]
async fn a_lifetime_of_zero_stores_nothing_that_is_ever_served() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).set("cache_ttl_seconds", "0").start().await;
    for _ in 0..3 {
        let answer = asked(node.rest(), "").await.expect_status(200);
        assert!(!CacheStatus::of(&answer).has("hit"), "{answer:?}");
    }
}
