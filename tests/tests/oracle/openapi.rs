//! The description of the API at the root, as PostgREST writes it.

use reqwest::Method;
use serde_json::Value;
use transom_tests::CacheStatus;

use super::exchange::{Ask, Exchange};
use super::pair::Pair;

/// What may differ, by its place in the document: the program's version; and where it is reached, which Transom leaves out
/// unless a setting says it, because a host that is left out is the one that was asked (OpenAPI 2.0, `host`).
const OWN: [&str; 4] = ["/info/version", "/host", "/schemes", "/basePath"];

/// Every place where two documents differ.
fn differences(at: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or(Value::Null);
                differences(&format!("{at}/{key}"), &of(a), &of(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{at}/{index}"), a, b, found);
            }
        }
        _ if theirs != ours => found.push(format!("{at}:\n  PostgREST {theirs}\n  Transom   {ours}")),
        _ => {}
    }
}

fn assert_same_document(exchange: &Exchange, own: &[&str]) {
    let Exchange { theirs, ours, .. } = exchange;
    assert_eq!((theirs.status, ours.status), (200, 200), "{exchange}");
    assert_eq!(exchange.differing_headers().collect::<Vec<_>>(), Vec::<&str>::new(), "{exchange}");
    let mut found = Vec::new();
    differences("", &theirs.json(), &ours.json(), &mut found);
    found.retain(|difference| !own.iter().any(|own| difference.starts_with(&format!("{own}:"))));
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found[..found.len().min(30)].join("\n"));
}

#[tokio::test]
async fn the_api_is_described_alike_in_every_schema() {
    let pair = Pair::reading().await;
    for profile in ["shop", "odd", "public"] {
        for exchange in pair.ask(&Ask::get("/").header("Accept-Profile", profile)).await {
            assert_same_document(&exchange, &OWN);
            let status = CacheStatus::of(&exchange.ours);
            assert_eq!((status.get("fwd"), status.get("detail")), ("bypass", "system-catalog"));
        }
    }
}

#[tokio::test]
async fn the_description_follows_its_settings() {
    let settings = [
        ("openapi_mode", "ignore-privileges"),
        ("openapi_security_active", "true"),
        ("openapi_server_proxy_uri", "https://example.org/base"),
    ];
    let pair = Pair::with(&settings).await;
    for exchange in pair.ask(&Ask::get("/")).await {
        assert_same_document(&exchange, &["/info/version"]);
        assert!(exchange.ours.json()["definitions"]["hidden"].is_object(), "a privilege is asked for");
    }
}

/// PostgREST looks for a table without a name.
#[tokio::test]
async fn the_root_cannot_be_written_to() {
    let pair = Pair::reading().await;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let answer = Ask::new(method, "/").of(pair.node.rest()).await.expect_status(405);
        assert_eq!(answer.json()["code"], "PGRST117");
    }
}

#[tokio::test]
async fn requests_for_the_root_are_answered_alike() {
    let accepts = ["application/openapi+json", "application/json", "text/csv", "*/*", "text/html, */*;q=0.1"];
    let mut asks: Vec<Ask> = accepts.map(|accept| Ask::new(Method::HEAD, "/").header("Accept", accept)).into();
    asks.push(Ask::get("/").header("Accept", "text/csv"));
    asks.push(Ask::get("/").header("Accept-Profile", "nosuch"));
    Pair::reading().await.compare(asks).await;
    let disabled = Pair::with(&[("openapi_mode", "disabled")]).await;
    disabled.compare(vec![Ask::new(Method::HEAD, "/")]).await;
    let exchange = disabled.ask_once(&Ask::get("/")).await;
    // As for other paths: what has an empty object for a body there has a code here.
    assert_eq!((exchange.theirs.status, exchange.ours.status), (404, 404), "{exchange}");
    assert_eq!(exchange.ours.json()["code"], "PGRST126");
    let root = vec![Ask::get("/"), Ask::get("/?a=1"), Ask::new(Method::HEAD, "/")];
    Pair::with(&[("db_root_spec", "one_out")]).await.compare(root).await;
}
