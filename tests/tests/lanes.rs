//! A worker's own copies of answers: nobody can tell them from what L1 has.

use http::{HeaderMap, Method};
use transom_tests::{CacheStatus, Database, Node, NodeBuilder, Postgres, Response};

const UNITED: &str = "/airlines?carrier=eq.UA";

async fn node() -> (Database, Node) {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    (database, node)
}

async fn asked(node: &Node, headers: &[(&str, &str)]) -> Response {
    let request = node.rest().request(Method::GET, UNITED);
    headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
}

/// Headers that are the same for every hit.
fn lasting(response: &Response) -> HeaderMap {
    let mut headers = response.headers.clone();
    for name in ["server-timing", "x-request-id", "age", "cache-status", "date"] {
        assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
        headers.remove(name);
    }
    headers
}

#[tokio::test]
async fn every_hit_is_answered_alike() {
    let (_database, node) = node().await;
    let etag = asked(&node, &[]).await.header("etag").to_owned();
    for headers in
        [&[][..], &[("origin", "https://a.example")], &[("if-none-match", &etag)], &[("if-none-match", "\"x\"")]]
    {
        // From L1, which the copy is made of; then from the copy, and now and then from L1 again.
        let first = asked(&node, headers).await;
        for number in 0..40 {
            let next = asked(&node, headers).await;
            assert_eq!((next.status, &next.body), (first.status, &first.body), "{number} {headers:?}");
            assert_eq!(lasting(&next), lasting(&first), "{number} {headers:?}");
            assert_eq!(CacheStatus::of(&next).gist(), "detail=l1; hit");
            assert!(next.header("server-timing").starts_with("transom;desc=hit_l1;dur="), "{next:?}");
        }
    }
}

#[tokio::test]
async fn every_hit_is_counted() {
    let (_database, node) = node().await;
    for _ in 0..101 {
        asked(&node, &[]).await;
    }
    let requests = "transom_requests_total{outcome=\"hit_l1\",route=\"rest\",status=\"200\"}";
    assert_eq!(node.metric(requests).await, 100.0);
    assert_eq!(node.metric("transom_tier_lookups_total{result=\"hit\",tier=\"l1\"}").await, 100.0);
    assert_eq!(node.metric("transom_request_duration_seconds_count{outcome=\"hit_l1\"}").await, 100.0);
    asked(&node, &[]).await;
    assert_eq!(node.metric(requests).await, 101.0);
}

#[tokio::test]
async fn a_copy_goes_when_what_is_stored_is_replaced() {
    let (database, node) = node().await;
    for _ in 0..3 {
        asked(&node, &[]).await;
    }
    database.execute("update airlines set name = 'behind its back' where carrier = 'UA'").await;
    assert!(!asked(&node, &[]).await.text().contains("behind its back"), "nothing announces it: there is no feed");
    assert!(asked(&node, &[("cache-control", "no-cache")]).await.text().contains("behind its back"));
    for _ in 0..3 {
        let hit = asked(&node, &[]).await;
        assert_eq!(CacheStatus::of(&hit).gist(), "detail=l1; hit");
        assert!(hit.text().contains("behind its back"));
    }
}

#[tokio::test]
async fn a_request_with_a_wish_is_not_answered_by_a_copy() {
    let (_database, node) = node().await;
    for _ in 0..3 {
        asked(&node, &[]).await;
    }
    for (name, value, gist) in [
        ("cache-control", "no-store", "detail=no-store; fwd=request"),
        ("pragma", "no-cache", "detail=no-cache; fwd=request; stored"),
        ("transom-min-token", "ffffffffffffffff:1", "detail=token; fwd=request; stored"),
    ] {
        assert_eq!(CacheStatus::of(&asked(&node, &[(name, value)]).await).gist(), gist, "{name}");
    }
}
