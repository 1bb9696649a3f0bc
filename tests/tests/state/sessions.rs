//! Sessions on three nodes, while nothing fails.

use futures_util::future::join_all;
use serde_json::{Value, json};
use transom_tests::{Node, Postgres, Redis, Reply, eventually};

use super::*;

pub(super) async fn world() -> (Database, Redis, [Node; 3]) {
    world_with(&[]).await
}

pub(super) async fn world_with(settings: &[(&str, &str)]) -> (Database, Redis, [Node; 3]) {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    setup(&database, &["--state"]).expect("the superuser may");
    let builder = settings.iter().fold(builder(&database, &redis), |builder, (name, value)| builder.set(name, *value));
    let nodes = three(&builder).await;
    (database, redis, nodes)
}

pub(super) async fn create(node: &Node, user: &str) -> String {
    let made = post(node, "/sessions", &json!({ "user": user })).await.expect_status(200).json();
    made["token"].as_str().expect("a token").to_owned()
}

pub(super) async fn validate(node: &Node, token: &str) -> Response {
    post(node, "/sessions/validate", &json!({ "token": token })).await
}

pub(super) async fn expect_valid(node: &Node, token: &str) -> Value {
    validate(node, token).await.expect_status(200).json()
}

pub(super) async fn expect_unknown(node: &Node, token: &str) {
    let answer = validate(node, token).await.expect_status(401);
    assert_eq!(answer.json()["code"], "TRANSOM32");
}

pub(super) async fn revoke(node: &Node, token: &str) -> u64 {
    let answer = post(node, "/sessions/revoke", &json!({ "token": token })).await.expect_status(200).json();
    answer["revoked"].as_u64().expect("a count")
}

async fn list(node: &Node, user: &str) -> Vec<Value> {
    let answer = keyed(at(node.port()).get(&format!("/users/{user}/sessions"))).send().await.expect_status(200).json();
    answer["sessions"].as_array().expect("a list").clone()
}

async fn by(node: &Node, tier: &str) -> f64 {
    node.metric(&format!("transom_sessions_total{{operation=\"validate\",result=\"{tier}\"}}")).await
}

#[tokio::test]
async fn what_one_node_makes_all_know_and_the_tiers_answer() {
    // So long that a busy machine reads in time what ended.
    let (database, _redis, nodes) = world_with(&[("max_staleness", "20s")]).await;
    let body = json!({ "user": "alice", "data": { "roles": ["clerk"], "n": 12_345_678_901_234_567_890_u64 } });
    let made = post(&nodes[0], "/sessions", &body).await.expect_status(200).json();
    let token = made["token"].as_str().expect("a token");
    assert_eq!(token.len(), 64);
    for node in &nodes {
        let seen = expect_valid(node, token).await;
        assert_eq!((&seen["user"], &seen["data"], &seen["id"]), (&json!("alice"), &body["data"], &made["id"]));
        assert!(seen.get("token").is_none(), "{seen}");
    }
    let reads = async || database.calls("%transom.read_session(%").await;
    // From here on a node has read what ended, and what it stored counts.
    for node in &nodes {
        eventually("l1 answers", SOON, async || {
            expect_valid(node, token).await;
            by(node, "l1").await >= 3.0
        })
        .await;
    }
    eventually("l2 answers", SOON, async || {
        let fresh = create(&nodes[0], "bob").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        expect_valid(&nodes[1], &fresh).await;
        by(&nodes[1], "l2").await >= 1.0
    })
    .await;
    let (before, second) = (reads().await, create(&nodes[0], "alice").await);
    for _ in 0..20 {
        expect_valid(&nodes[0], &second).await;
    }
    assert_eq!(reads().await, before, "validations are hits");
    // By the header, as a client sends it on.
    let bearer = keyed(at(nodes[2].port()).post("/sessions/validate", &json!({})));
    bearer.header("authorization", format!("Bearer {token}")).send().await.expect_status(200);
}

#[tokio::test]
async fn revoking_one_or_all_but_one_or_by_number_is_heard_everywhere() {
    let (_database, _redis, nodes) = world().await;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(create(&nodes[0], "alice").await);
    }
    let other = create(&nodes[0], "bob").await;
    for node in &nodes {
        for token in tokens.iter().chain([&other]) {
            expect_valid(node, token).await;
        }
    }
    assert_eq!(revoke(&nodes[1], &tokens[0]).await, 1);
    assert_eq!(revoke(&nodes[1], &tokens[0]).await, 0);
    for node in &nodes {
        expect_unknown(node, &tokens[0]).await;
    }
    let id = expect_valid(&nodes[2], &tokens[1]).await["id"].clone();
    let foreign = post(&nodes[2], "/sessions/revoke", &json!({ "user": "bob", "id": id })).await.expect_status(200);
    assert_eq!(foreign.json()["revoked"], 0, "it is not bob's");
    let own = post(&nodes[2], "/sessions/revoke", &json!({ "user": "alice", "id": id })).await.expect_status(200);
    assert_eq!(own.json()["revoked"], 1);
    let request = at(nodes[0].port()).delete("/users/alice/sessions");
    let but = keyed(request).body(json!({ "but": tokens[3] }).to_string()).send().await.expect_status(200).json();
    assert_eq!(but, json!({ "user": "alice", "revoked": 1 }));
    for node in &nodes {
        expect_unknown(node, &tokens[1]).await;
        expect_unknown(node, &tokens[2]).await;
        expect_valid(node, &tokens[3]).await;
        expect_valid(node, &other).await;
    }
    keyed(at(nodes[1].port()).delete("/users/alice/sessions")).send().await.expect_status(200);
    for node in &nodes {
        expect_unknown(node, &tokens[3]).await;
        expect_valid(node, &other).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revoke_returned_no_node_says_yes_under_load() {
    let (_database, _redis, nodes) = world_with(&[("max_staleness", "200ms")]).await;
    let mut accepted = 0;
    for round in 0..12 {
        let token = create(&nodes[round % 3], "alice").await;
        let returned = std::sync::atomic::AtomicBool::new(false);
        let clients = (0..6).map(|client| {
            let (node, token, returned) = (&nodes[client % 3], &token, &returned);
            async move {
                let mut yes = 0_u32;
                loop {
                    let is_over = returned.load(std::sync::atomic::Ordering::SeqCst);
                    let status = validate(node, token).await.status;
                    assert!([200, 401].contains(&status), "{status}");
                    assert!(!(is_over && status == 200), "accepted after the revoke returned, in round {round}");
                    if is_over {
                        return yes;
                    }
                    yes += u32::from(status == 200);
                }
            }
        });
        let revoking = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            revoke(&nodes[(round + 1) % 3], &token).await;
            returned.store(true, std::sync::atomic::Ordering::SeqCst);
        };
        let (yes, ()) = tokio::join!(join_all(clients), revoking);
        accepted += yes.iter().sum::<u32>();
    }
    assert!(accepted > 100, "there was load: {accepted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_never_has_more_than_so_many_and_the_oldest_leaves() {
    let (database, _redis, nodes) = world_with(&[("sessions_per_user_max", "5")]).await;
    let first = create(&nodes[0], "alice").await;
    expect_valid(&nodes[1], &first).await;
    let tokens = join_all((0..30).map(|at| create(&nodes[at % 3], "alice"))).await;
    let count = "select count(*)::text from transom.sessions where username = 'alice'";
    assert_eq!(database.value(count).await.as_deref(), Some("5"));
    let last = create(&nodes[0], "alice").await;
    assert_eq!(database.value(count).await.as_deref(), Some("5"));
    eventually("the evicted are known nowhere", SOON, async || {
        for node in &nodes {
            if validate(node, &first).await.status != 401 {
                return false;
            }
            let asked = join_all(tokens.iter().map(|token| validate(node, token))).await;
            if asked.iter().filter(|answer| answer.status == 200).count() != 4 {
                return false;
            }
        }
        true
    })
    .await;
    expect_valid(&nodes[2], &last).await;
}

#[tokio::test]
async fn sessions_expire_by_idleness_and_for_good() {
    let (database, _redis, nodes) = world().await;
    let make = async |idle_ms: u64, lifetime_ms: u64| {
        let body = json!({ "user": "alice", "idle_ms": idle_ms, "lifetime_ms": lifetime_ms });
        let made = post(&nodes[0], "/sessions", &body).await.expect_status(200).json();
        made["token"].as_str().expect("a token").to_owned()
    };
    let (idle, busy, short) = (make(3_000, 600_000).await, make(3_000, 600_000).await, make(600_000, 3_000).await);
    for token in [&idle, &short] {
        expect_valid(&nodes[1], token).await;
    }
    let began = std::time::Instant::now();
    // Three times its idle time: each validation moves the end, or one a moment before did.
    while began.elapsed() < Duration::from_secs(9) {
        expect_valid(&nodes[began.elapsed().as_millis() as usize % 3], &busy).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for node in &nodes {
        expect_unknown(node, &idle).await;
        expect_unknown(node, &short).await;
    }
    // Nine seconds in tenths of the idle time, on three nodes, and then some.
    assert!(database.calls("%transom.touch_sessions(%").await < 130);
    let refused = post(&nodes[0], "/sessions/refresh", &json!({ "token": short })).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn a_refresh_moves_the_end_but_not_the_last_one() {
    let (_database, _redis, nodes) = world().await;
    let body = json!({ "user": "alice", "idle_ms": 60_000, "lifetime_ms": 90_000 });
    let made = post(&nodes[0], "/sessions", &body).await.expect_status(200).json();
    let refreshed = async || post(&nodes[1], "/sessions/refresh", &json!({ "token": made["token"] })).await.json();
    let first = refreshed().await;
    let later = refreshed().await;
    assert!(later["expires_at"].as_u64() > made["expires_at"].as_u64(), "{later} {made}");
    assert!(later["expires_at"].as_u64() >= first["expires_at"].as_u64());
    assert_eq!(later["ends_at"], made["ends_at"]);
    let token = made["token"].as_str().expect("a token");
    revoke(&nodes[0], token).await;
    assert_eq!(refreshed().await["code"], "TRANSOM32", "what is revoked does not come back");
    expect_unknown(&nodes[1], token).await;
    // Capped by the last end.
    let body = json!({ "user": "alice", "idle_ms": 90_000, "lifetime_ms": 60_000 });
    let capped = post(&nodes[0], "/sessions", &body).await.expect_status(200).json();
    assert_eq!(capped["expires_at"], capped["ends_at"]);
}

#[tokio::test]
async fn a_list_begins_with_who_was_active_last_and_ends_with_who_was_not() {
    let (_database, _redis, nodes) = world().await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(create(&nodes[0], "alice").await);
    }
    create(&nodes[0], "bob").await;
    let ids = async || list(&nodes[2], "alice").await.iter().map(|one| one["id"].as_i64().expect("a number")).collect();
    let made: Vec<i64> = ids().await;
    assert!(made.is_sorted_by(|a, b| a > b) && made.len() == 3, "{made:?}");
    post(&nodes[1], "/sessions/refresh", &json!({ "token": tokens[0] })).await.expect_status(200);
    let now: Vec<i64> = ids().await;
    assert_eq!(now, [made[2], made[0], made[1]]);
    let whole = format!("{:?}", list(&nodes[0], "alice").await);
    assert!(!tokens.iter().any(|token| whole.contains(token)), "{whole}");
    assert!(list(&nodes[0], "nobody").await.is_empty());
}

#[tokio::test]
async fn what_is_changed_by_sql_counts_on_every_node_soon() {
    let (database, _redis, nodes) = world().await;
    let gone_everywhere = async |token: &str| {
        for node in &nodes {
            eventually("it is heard of", SOON, async || validate(node, token).await.status == 401).await;
        }
    };
    for sql in [
        "delete from transom.sessions where username = 'alice'",
        "update transom.sessions set expires_at = now() where username = 'alice'",
        "truncate transom.sessions",
    ] {
        let token = create(&nodes[0], "alice").await;
        for node in &nodes {
            expect_valid(node, &token).await;
        }
        database.execute(sql).await;
        gone_everywhere(&token).await;
    }
    let token = create(&nodes[0], "alice").await;
    for node in &nodes {
        expect_valid(node, &token).await;
    }
    database.execute("update transom.sessions set data = '{\"role\": \"none\"}' where username = 'alice'").await;
    for node in &nodes {
        eventually("its data changes", SOON, async || expect_valid(node, &token).await["data"]["role"] == "none").await;
    }
}

/// Without Redis there is nothing but the notes in Postgres, and they are enough.
#[tokio::test]
async fn nodes_without_redis_keep_the_promise_too() {
    let database = Postgres::shared().await.database().await;
    setup(&database, &["--state"]).expect("the superuser may");
    let builder = NodeBuilder::on(&database).set("state_service_key", KEY).set("max_staleness", "400ms");
    let nodes = three(&builder).await;
    for round in 0..4 {
        let token = create(&nodes[0], "alice").await;
        for node in &nodes {
            for _ in 0..5 {
                expect_valid(node, &token).await;
            }
        }
        revoke(&nodes[round % 3], &token).await;
        for node in &nodes {
            expect_unknown(node, &token).await;
        }
    }
    assert!(by(&nodes[1], "l1").await > 0.0);
}

/// What was noted since a transaction began that goes on is more than one reading may have; what is noted then is read all
/// the same.
#[tokio::test]
async fn a_long_transaction_hides_nothing_that_ends() {
    let database = Postgres::shared().await.database().await;
    setup(&database, &["--state"]).expect("the superuser may");
    let builder = NodeBuilder::on(&database).set("state_service_key", KEY).set("max_staleness", "400ms");
    let nodes = three(&builder).await;
    let slow = database.client().await;
    slow.batch_execute("begin; select txid_current()").await.expect("a transaction");
    let notes = "insert into transom.revocations (token_hash) select repeat('0', 64) from generate_series(1, 10500)";
    database.execute(notes).await;
    for round in 0..3 {
        let token = create(&nodes[0], "alice").await;
        for node in &nodes {
            eventually("l1 answers", SOON, async || {
                let before = by(node, "l1").await;
                expect_valid(node, &token).await;
                by(node, "l1").await > before
            })
            .await;
        }
        revoke(&nodes[round], &token).await;
        for node in &nodes {
            expect_unknown(node, &token).await;
        }
    }
    slow.batch_execute("rollback").await.expect("it ends");
}

#[tokio::test]
async fn what_cannot_be_a_session_is_refused_and_leaves_no_trace() {
    let (database, redis, [node, ..]) = world().await;
    let keys = async || match redis.command(&["KEYS", "*session*"]).await {
        Ok(Reply::Array(keys)) => keys.len(),
        other => panic!("{other:?}"),
    };
    for at in 0..50 {
        expect_unknown(&node, &format!("{at:064x}")).await;
    }
    for wrong in ["", "short", &"A".repeat(64), &"0".repeat(65)] {
        expect_unknown(&node, wrong).await;
    }
    assert_eq!(keys().await, 0, "nothing is stored of what is not there");
    for (target, body, details) in [
        ("/sessions", json!({}), "missing field `user`"),
        ("/sessions", json!({ "user": "a b" }), "visible ASCII"),
        ("/sessions", json!({ "user": "a", "idle_ms": 10 }), "idle_ms is 10, but must be from 1000"),
        ("/sessions", json!({ "user": "a", "data": "x".repeat(20_000) }), "data is larger"),
        ("/sessions", json!({ "user": "a", "ttl": 10 }), "unknown field"),
        ("/sessions/validate", json!({}), "a token is expected"),
        ("/sessions/revoke", json!({ "user": "a" }), "either token is expected"),
        ("/sessions/revoke", json!({ "token": "0".repeat(64), "user": "a" }), "either token is expected"),
    ] {
        let answer = post(&node, target, &body).await.expect_status(400);
        assert_eq!(answer.json()["code"], "TRANSOM23");
        assert!(answer.text().contains(details), "{target} {}", answer.text());
    }
    keyed(at(node.port()).get("/sessions")).send().await.expect_status(405);
    at(node.port()).post("/sessions", &json!({ "user": "a" })).send().await.expect_status(401);
    assert_eq!(database.value("select count(*)::text from transom.sessions").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn without_its_tables_it_says_what_to_run() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = builder(&database, &redis).start().await;
    for (target, body) in [
        ("/sessions", json!({ "user": "a" })),
        ("/sessions/validate", json!({ "token": "0".repeat(64) })),
        ("/sessions/revoke", json!({ "token": "0".repeat(64) })),
    ] {
        let answer = post(&node, target, &body).await.expect_status(503);
        assert_eq!(answer.json()["code"], "TRANSOM27");
        assert!(answer.text().contains("transom setup --state"), "{}", answer.text());
    }
    setup(&database, &["--state"]).expect("the superuser may");
    let token = create(&node, "alice").await;
    expect_valid(&node, &token).await;
    // Nor are they to be had by the REST API, under whatever name.
    for target in ["/sessions", "/revocations", "/transom.sessions", "/rpc/read_session"] {
        node.rest().get(target).send().await.expect_status(404);
    }
    let profile = node.rest().get("/sessions").header("accept-profile", "transom");
    profile.send().await.expect_status(404);
}
