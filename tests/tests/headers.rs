//! What the headers of an answer say, for every way in which an answer can come about.

use std::time::Duration;

use serde_json::json;
use transom_tests::{CacheStatus, Database, Node, NodeBuilder, Postgres, Redis, Response, eventually};

const UNITED: &str = "/airlines?carrier=eq.UA";

async fn node() -> (Database, Node) {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    (database, node)
}

fn gist(response: &Response) -> String {
    CacheStatus::of(response).gist()
}

async fn read(node: &Node, target: &str) -> Response {
    node.rest().get(target).send().await
}

async fn gist_of(node: &Node, target: &str) -> String {
    gist(&read(node, target).await)
}

#[tokio::test]
async fn cache_status_tells_a_first_read_a_hit_an_invalidation_and_a_fill_after_it() {
    let (_database, node) = node().await;
    let first = read(&node, UNITED).await;
    assert_eq!(gist(&first), "fwd=uri-miss; stored");
    // The jitter takes at most a tenth of the hour.
    assert!((3_239..=3_600).contains(&CacheStatus::of(&first).ttl()), "{first:?}");
    let hit = read(&node, UNITED).await;
    assert_eq!(gist(&hit), "detail=l1; hit");
    assert!(CacheStatus::of(&hit).ttl() <= CacheStatus::of(&first).ttl());
    let written = node.rest().patch(UNITED, &json!({ "name": "Untied" })).send().await.expect_status(204);
    assert_eq!(gist(&written), "fwd=method");
    assert_eq!(gist_of(&node, UNITED).await, "detail=incoherent; fwd=stale; stored");
    assert_eq!(gist_of(&node, UNITED).await, "detail=l1; hit");
}

#[tokio::test]
async fn cache_status_tells_an_expired_entry() {
    let database = Postgres::shared().await.database().await;
    let builder = NodeBuilder::on(&database).set("cache_ttl_seconds", "1").set("ttl_jitter", "0%");
    let node = builder.start().await;
    assert_eq!(gist_of(&node, UNITED).await, "fwd=uri-miss; stored");
    eventually("the entry expires", Duration::from_secs(5), async || {
        let gist = gist_of(&node, UNITED).await;
        if gist == "detail=expired; fwd=stale; stored" { Ok(()) } else { Err(gist) }
    })
    .await;
    assert_eq!(gist_of(&node, UNITED).await, "detail=l1; hit");
}

#[tokio::test]
async fn cache_status_tells_what_the_request_forbade() {
    let (_database, node) = node().await;
    for (directive, expected) in [
        ("no-cache", "detail=no-cache; fwd=request; stored"),
        ("no-store", "detail=no-store; fwd=request"),
        ("only-if-cached", "detail=l1; hit"),
    ] {
        let answer = node.rest().get(UNITED).header("cache-control", directive).send().await.expect_status(200);
        assert_eq!(gist(&answer), expected, "{directive}");
    }
}

#[tokio::test]
async fn cache_status_tells_an_answer_too_large_to_store() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).set("entry_bytes_max", "2KiB").start().await;
    for _ in 0..2 {
        let large = read(&node, "/airports").await.expect_status(200);
        assert_eq!(gist(&large), "detail=too-large; fwd=uri-miss");
        assert!(large.body.len() > 100_000, "it is served whole all the same");
    }
    assert_eq!(gist_of(&node, UNITED).await, "fwd=uri-miss; stored");
}

#[tokio::test]
async fn cache_status_tells_a_table_that_a_setting_keeps_out() {
    let database = Postgres::shared().await.database().await;
    let toml = "[tables.\"public.airlines\"]\ncache = false\n[tables.\"public.airports\"]\nttl = \"5s\"\n";
    let node = NodeBuilder::on(&database).toml(toml).start().await;
    for _ in 0..2 {
        let answer = read(&node, UNITED).await.expect_status(200);
        assert_eq!(gist(&answer), "detail=cache-off; fwd=bypass");
    }
    let short = read(&node, "/airports?limit=1").await;
    assert!(CacheStatus::of(&short).ttl() <= 5, "{short:?}");
    assert!(CacheStatus::of(&read(&node, "/planes?limit=1").await).ttl() > 5);
}

#[tokio::test]
async fn cache_status_tells_errors_by_name() {
    let (_database, node) = node().await;
    for (target, status, expected) in [
        ("/airlines?carrier=nonsense.UA", 400, "detail=refused"),
        ("/airlines?nonsense=eq.UA", 400, "detail=database-error"),
        ("/nonsense", 404, "detail=database-error"),
        ("/flights?id=eq.x", 400, "detail=database-error"),
    ] {
        let answer = read(&node, target).await.expect_status(status);
        assert_eq!(gist(&answer), expected, "{target}");
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    }
    let absent = node.rest().get(UNITED).header("cache-control", "only-if-cached").send().await.expect_status(504);
    assert_eq!(gist(&absent), "detail=only-if-cached");
}

#[tokio::test]
async fn an_answer_grows_older_and_a_new_one_is_young() {
    let (_database, node) = node().await;
    let age = async || read(&node, UNITED).await.header("age").parse::<u64>().expect("whole seconds");
    assert_eq!(age().await, 0);
    let ttl = CacheStatus::of(&read(&node, UNITED).await).ttl();
    eventually("its age shows", Duration::from_secs(5), async || age().await >= 1).await;
    let older = read(&node, UNITED).await;
    let aged: i64 = older.header("age").parse().unwrap();
    // Age and ttl are two views of one lifetime, each rounded down.
    assert!((ttl - CacheStatus::of(&older).ttl() - aged).abs() <= 1, "{older:?}");
    let fresh = node.rest().get(UNITED).header("cache-control", "no-cache").send().await;
    assert_eq!(fresh.header("age"), "0");
}

#[tokio::test]
async fn the_etag_is_strong_and_the_same_from_postgres_l1_l2_and_another_node() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let builder = NodeBuilder::on(&database).redis(&redis);
    let (a, b) = (builder.start().await, builder.start().await);
    let filled = read(&a, UNITED).await;
    let etag = filled.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "strong: {etag}");
    assert_eq!(read(&a, UNITED).await.header("etag"), etag);
    let from_l2 = eventually("b finds it in l2", Duration::from_secs(5), async || {
        let read = b.rest().get(UNITED).header("cache-control", "only-if-cached").send().await;
        (read.status == 200).then_some(read)
    })
    .await;
    assert_eq!(gist(&from_l2), "detail=l2; hit");
    assert_eq!(from_l2.header("etag"), etag);
    let past_the_cache = b.rest().get(UNITED).header("cache-control", "no-store").send().await;
    assert_eq!(past_the_cache.header("etag"), etag);
    assert_ne!(read(&a, "/airlines?carrier=eq.AA").await.header("etag"), etag);
    let csv = a.rest().get(UNITED).header("accept", "text/csv").send().await;
    assert_ne!(csv.header("etag"), etag, "another representation has another validator");
    for name in ["content-type", "content-range", "content-location", "vary"] {
        assert_eq!(from_l2.header(name), filled.header(name), "{name}");
    }
}

#[tokio::test]
async fn if_none_match_spares_the_body_whether_it_hits_or_misses() {
    let (_database, node) = node().await;
    let etag = read(&node, UNITED).await.header("etag").to_owned();
    let lists = [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"other\", {etag}"),
        format!("\"other\",W/{etag} , \"third\""),
        "*".to_owned(),
    ];
    for condition in &lists {
        for directive in ["max-age=3600", "no-cache", "no-store"] {
            let request = node.rest().get(UNITED).header("if-none-match", condition);
            let answer = request.header("cache-control", directive).send().await.expect_status(304);
            assert!(answer.body.is_empty());
            assert_eq!(answer.header("etag"), etag, "{condition} {directive}");
            assert_eq!(answer.header("content-type"), "", "{condition} {directive}");
            assert!(!answer.header("vary").is_empty() && !answer.header("age").is_empty());
            CacheStatus::of(&answer);
        }
    }
    for condition in ["\"other\"", "other", "", "W/\"other\"", &etag.replace('"', "")] {
        let answer = node.rest().get(UNITED).header("if-none-match", condition).send().await.expect_status(200);
        assert!(!answer.body.is_empty(), "{condition}");
    }
    // A cold key with the right validator: filled, stored, and still no body.
    node.rest().patch(UNITED, &json!({ "name": "United Air Lines Inc." })).send().await.expect_status(204);
    let miss = node.rest().get(UNITED).header("if-none-match", &etag).send().await.expect_status(304);
    assert_eq!(gist(&miss), "detail=incoherent; fwd=stale; stored");
    node.rest().patch(UNITED, &json!({ "name": "Untied" })).send().await.expect_status(204);
    node.rest().get(UNITED).header("if-none-match", &etag).send().await.expect_status(200);
}

/// RFC 9110, section 13.2.1: a condition counts only where the answer would be a success without it.
#[tokio::test]
async fn if_none_match_does_not_turn_a_refused_range_into_not_modified() {
    let (_database, node) = node().await;
    for _ in 0..2 {
        let request = node.rest().get("/airlines?offset=1000").header("prefer", "count=exact");
        let answer = request.header("if-none-match", "*").send().await.expect_status(416);
        assert_eq!(answer.json()["code"], "PGRST103");
    }
}

/// RFC 9110, section 9.3.2: as GET, except for what only the content could tell.
#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let (_database, node) = node().await;
    for (target, prefer) in [
        (UNITED, "count=none"),
        ("/airlines?limit=3", "count=exact"),
        ("/airlines?offset=2&limit=3", "count=exact"),
        ("/airlines", "count=exact"),
    ] {
        for round in ["miss", "hit"] {
            let get = node.rest().get(target).header("prefer", prefer).send().await;
            let head = node.rest().head(target).header("prefer", prefer).send().await;
            assert_eq!(head.status, get.status, "{target}");
            assert!(head.body.is_empty());
            for name in ["content-type", "content-range", "content-location", "vary", "preference-applied"] {
                assert_eq!(head.header(name), get.header(name), "{name} of {target}, {round}");
            }
            assert_eq!(gist(&head), gist(&get), "{target}, {round}");
            // Postgres built no body, so its length and its validator are unknown; a wrong one would be worse than none.
            for name in ["content-length", "etag"] {
                assert!(["", get.header(name)].contains(&head.header(name)), "{name} of {target}: {head:?}");
            }
        }
    }
    node.rest().head("/nonsense").send().await.expect_status(404);
    node.rest().head("/airlines?nonsense=eq.1").send().await.expect_status(400);
}

#[tokio::test]
async fn vary_names_every_header_that_selects_an_answer() {
    let (_database, node) = node().await;
    let vary = read(&node, UNITED).await.header("vary").to_ascii_lowercase();
    for (name, value) in [("accept", "text/csv"), ("prefer", "count=exact"), ("range", "0-0")] {
        assert!(vary.split(", ").any(|varied| varied == name), "{name} in {vary}");
        let other = node.rest().get(UNITED).header(name, value).send().await;
        assert_eq!(gist(&other), "fwd=uri-miss; stored", "{name} makes another answer");
        assert_eq!(other.header("vary").to_ascii_lowercase(), vary);
    }
    let same = node.rest().get(UNITED).header("user-agent", "other").header("cookie", "a=b").send().await;
    assert_eq!(gist(&same), "detail=l1; hit");
}

#[tokio::test]
async fn server_timing_is_on_every_answer_and_parses() {
    let (_database, node) = node().await;
    let answers = [
        read(&node, UNITED).await,
        read(&node, UNITED).await,
        read(&node, "/airlines?carrier=x.1").await,
        node.rest().patch(UNITED, &json!({ "name": "Untied" })).send().await,
    ];
    for (answer, word) in answers.iter().zip(["miss", "hit", "error", "write"]) {
        let timing = answer.header("server-timing");
        let mut parts = timing.split(';').map(str::trim);
        assert_eq!(parts.next(), Some("transom"), "{timing}");
        let rest: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        assert!(rest.iter().any(|(name, value)| *name == "desc" && value.contains(word)), "{timing}");
        let duration = rest.iter().find(|(name, _)| *name == "dur").and_then(|(_, value)| value.parse::<f64>().ok());
        assert!(duration.is_some_and(|milliseconds| (0.0..30_000.0).contains(&milliseconds)), "{timing}");
    }
}

#[tokio::test]
async fn the_request_id_is_echoed_or_made() {
    let (_database, node) = node().await;
    for target in [UNITED, "/nonsense", "/airlines?x=y"] {
        let echoed = node.rest().get(target).header("x-request-id", "7f3c-41").send().await;
        assert_eq!(echoed.header("x-request-id"), "7f3c-41", "{target}");
        let (one, other) = (read(&node, target).await, read(&node, target).await);
        assert!(!one.header("x-request-id").is_empty());
        assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    }
    let long = node.rest().get(UNITED).header("x-request-id", "x".repeat(4_000)).send().await;
    assert!(long.header("x-request-id").len() <= 128);
}

#[tokio::test]
async fn ranges_are_answered_as_postgrest_answers_them_from_every_tier() {
    let (_database, node) = node().await;
    // 16 airlines: (target, range, prefer) -> (status, content-range)
    for (target, range, prefer, status, expected) in [
        ("/airlines", "", "", 200, "0-15/*"),
        ("/airlines", "", "count=exact", 200, "0-15/16"),
        ("/airlines", "0-4", "", 200, "0-4/*"),
        ("/airlines", "0-4", "count=exact", 206, "0-4/16"),
        ("/airlines", "4-", "count=exact", 206, "4-15/16"),
        ("/airlines", "0-15", "count=exact", 200, "0-15/16"),
        ("/airlines?limit=5&offset=10", "", "count=exact", 206, "10-14/16"),
        ("/airlines?limit=0", "", "count=exact", 206, "*/16"),
        ("/airlines?offset=100", "", "count=exact", 416, "*/16"),
        ("/airlines?carrier=eq.none", "", "count=exact", 200, "*/0"),
        ("/airlines", "9-4", "", 416, ""),
        ("/airlines", "nonsense", "count=exact", 200, "0-15/16"),
    ] {
        for round in ["first", "second"] {
            let mut request = node.rest().get(target);
            for (name, value) in [("range", range), ("prefer", prefer)] {
                request = if value.is_empty() { request } else { request.header(name, value) };
            }
            let answer = request.send().await.expect_status(status);
            assert_eq!(answer.header("content-range"), expected, "{target} {range} {prefer}, {round}");
        }
    }
}

#[tokio::test]
async fn a_token_is_given_only_for_what_changed_something() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    // On a busy machine Redis may take longer than the default, and a write that could not be announced has no token.
    let node = NodeBuilder::on(&database).redis(&redis).set("redis_timeout", "2s").start().await;
    let name = json!({ "name": "Untied" });
    let changed = node.rest().patch(UNITED, &name).send().await.expect_status(204);
    let (epoch, seq) = changed.header("transom-token").split_once(':').expect("epoch:seq");
    assert_eq!(epoch.len(), 16, "{changed:?}");
    let seq: u64 = seq.parse().unwrap();
    for unchanged in [
        node.rest().patch("/airlines?carrier=eq.none", &name).send().await.expect_status(204),
        node.rest().delete("/airlines?carrier=eq.none").send().await.expect_status(204),
        node.rest().post("/airlines", &json!([])).send().await.expect_status(201),
        node.rest().post("/airlines", &json!({ "carrier": "UA", "name": "twice" })).send().await.expect_status(409),
        read(&node, UNITED).await,
    ] {
        assert_eq!(unchanged.header("transom-token"), "", "{unchanged:?}");
    }
    let next = node.rest().patch(UNITED, &name).send().await;
    assert_eq!(next.header("transom-token"), format!("{epoch}:{}", seq + 1), "nothing was announced in between");
    // A token of the future is no reason for an old answer: the read goes to Postgres.
    let ahead = node.rest().get(UNITED).header("transom-min-token", format!("{epoch}:{}", seq + 1_000)).send().await;
    assert_eq!(gist(&ahead), "detail=token; fwd=request; stored");
    let broken = node.rest().get(UNITED).header("transom-min-token", "nonsense").send().await.expect_status(400);
    assert_eq!(broken.json()["code"], "TRANSOM09");
}
