//! What users lose, on three nodes: each call ends what the table in docs/state.md says, and nothing else.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use transom_tests::{Node, NodeBuilder, Postgres, Redis, Request, Response, eventually};

use super::access::SECRET;
use super::sessions::{create, expect_unknown, expect_valid};
use super::*;

pub(super) const ITEMS: &str = "create table items (id int primary key, name text); insert into items values (1, 'a');
    create role holder; grant select, insert on items to holder; grant usage on schema public to holder";

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs()
}

/// A token of the role `holder` that says this.
pub(super) fn jwt(mut claims: Value) -> String {
    claims["role"] = json!("holder");
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("it can be signed")
}

pub(super) fn jwt_of(user: &str, iat: u64) -> String {
    jwt(json!({ "sub": user, "iat": iat }))
}

pub(super) fn judging(builder: &NodeBuilder) -> NodeBuilder {
    builder.clone().set("jwt_secret", SECRET).set("jwt_user_claim", ".sub")
}

/// Roles are the server's, not the database's, and other tests make it as well.
pub(super) async fn furnish(database: &Database) {
    setup(database, &["--state"]).expect("the superuser may");
    let role = "do $$ begin create role holder; exception when duplicate_object or unique_violation then null; end $$";
    database.execute(role).await;
    let rest = ITEMS.replace("create role holder;", "");
    database.execute(&rest).await;
}

async fn world(settings: &[(&str, &str)]) -> (Database, Redis, [Node; 3]) {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    furnish(&database).await;
    database.execute(permissions::TABLES).await;
    let builder = judging(&permissions::asking(&builder(&database, &redis)));
    let builder = settings.iter().fold(builder, |builder, (name, value)| builder.set(name, *value));
    let nodes = three(&builder).await;
    (database, redis, nodes)
}

fn bearing(request: Request, token: &str) -> Request {
    request.header("authorization", format!("Bearer {token}"))
}

pub(super) async fn read(node: &Node, token: &str) -> Response {
    bearing(node.rest().get("/items?id=eq.1"), token).send().await
}

pub(super) async fn happened(node: &Node, user: &str, event: &str, body: &Value) -> Value {
    post(node, &format!("/users/{user}/{event}"), body).await.expect_status(200).json()
}

/// A miss, a hit, and one from the lane.
pub(super) async fn accepted(nodes: &[Node], token: &str) {
    for node in nodes {
        for _ in 0..4 {
            read(node, token).await.expect_status(200);
        }
    }
}

/// In every way in which a token is shown.
pub(super) async fn refused(nodes: &[Node], token: &str) {
    for node in nodes {
        for _ in 0..2 {
            let answer = read(node, token).await.expect_status(401);
            assert_eq!(answer.json()["code"], "PGRST301");
            assert_eq!(answer.json()["message"], "JWT revoked");
            let challenge = "Bearer error=\"invalid_token\", error_description=\"JWT revoked\"";
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
        let miss = node.rest().get(&format!("/items?id=eq.{}", rand_id()));
        bearing(miss, token).send().await.expect_status(401);
        bearing(node.rest().get("/items?id=eq.1").header("cache-control", "no-cache"), token)
            .send()
            .await
            .expect_status(401);
        let write = bearing(node.rest().post("/items", &json!({ "id": rand_id() })), token);
        write.send().await.expect_status(401);
        bearing(at(node.port()).get("/locks/some"), token).send().await.expect_status(401);
    }
}

fn rand_id() -> u32 {
    2 + SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").subsec_nanos()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_a_user_who_logged_out_is_refused_everywhere_and_a_new_one_counts() {
    let (_database, _redis, nodes) = world(&[]).await;
    let (old, other) = (jwt_of("alice", now()), jwt_of("bob", now()));
    let (dateless, nameless) = (jwt(json!({ "sub": "alice" })), jwt(json!({ "iat": now() })));
    for token in [&old, &other, &dateless, &nameless] {
        accepted(&nodes, token).await;
    }
    // What it is before the call is what the lanes answer, and L1 says that nothing is held against it.
    assert!(read(&nodes[2], &old).await.header("cache-status").contains("hit; detail=l1"));
    let lost = happened(&nodes[0], "alice", "logout", &json!({})).await;
    refused(&nodes, &old).await;
    refused(&nodes, &dateless).await;
    for token in [&other, &nameless] {
        accepted(&nodes, token).await;
    }
    let not_before = lost["tokens"]["not_before"].as_u64().expect("a second");
    refused(&nodes, &jwt_of("alice", not_before - 1)).await;
    accepted(&nodes, &jwt_of("alice", not_before)).await;
}

/// What the table says, call by call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_ends_what_the_table_says_and_nothing_else() {
    let (_database, _redis, nodes) = world(&[("max_staleness", "400ms")]).await;
    let hash = "0".repeat(64);
    for (user, event, ends, tokens, permissions, keys) in [
        ("u1", "logout", "all", true, false, Value::Null),
        ("u2", "logout", "one", false, false, Value::Null),
        ("u3", "role-changed", "all", true, true, json!("all")),
        ("u4", "api-key-changed", "none", false, false, json!("all")),
        ("u5", "api-key-changed", "none", false, false, json!(hash)),
        ("u6", "banned", "all", true, true, json!("all")),
        ("u7", "password-changed", "all", true, false, Value::Null),
        ("u8", "password-changed", "others", true, false, Value::Null),
        ("u9", "two-factor-changed", "all", true, true, Value::Null),
        ("u10", "two-factor-changed", "others", true, true, Value::Null),
        ("u11", "unbanned", "none", true, true, json!("all")),
    ] {
        let sessions = [create(&nodes[0], user).await, create(&nodes[1], user).await];
        let token = jwt_of(user, now());
        accepted(&nodes, &token).await;
        let body = match (ends, &keys) {
            ("one", _) => json!({ "token": sessions[0] }),
            ("others", _) => json!({ "keep": sessions[1] }),
            (_, Value::String(key)) if key != "all" => json!({ "sha256": key }),
            _ => json!({}),
        };
        let lost = happened(&nodes[2], user, event, &body).await;
        let count = match ends {
            "all" => 2,
            "none" => 0,
            _ => 1,
        };
        assert_eq!(lost["sessions"], count, "{event} {lost}");
        assert_eq!((&lost["permissions"], &lost["api_keys"]), (&json!(permissions), &keys), "{event} {lost}");
        assert_eq!(lost["tokens"].is_null(), !tokens, "{event} {lost}");
        for node in &nodes {
            match ends {
                "none" => drop(expect_valid(node, &sessions[0]).await),
                _ => expect_unknown(node, &sessions[0]).await,
            }
            match ends {
                "all" => expect_unknown(node, &sessions[1]).await,
                _ => drop(expect_valid(node, &sessions[1]).await),
            }
        }
        if tokens { refused(&nodes, &token).await } else { accepted(&nodes, &token).await }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_holds_for_tokens_to_come_until_it_is_lifted() {
    let (database, _redis, nodes) = world(&[("max_staleness", "400ms")]).await;
    let old = jwt_of("mallory", now());
    accepted(&nodes, &old).await;
    happened(&nodes[1], "mallory", "banned", &json!({})).await;
    refused(&nodes, &old).await;
    let later = jwt_of("mallory", now() + 20);
    refused(&nodes, &later).await;
    let answer = post(&nodes[0], "/sessions", &json!({ "user": "mallory" })).await.expect_status(403);
    assert_eq!(answer.json()["code"], "TRANSOM36");
    // Nothing but that makes it better.
    for event in ["logout", "password-changed", "role-changed"] {
        let lost = happened(&nodes[2], "mallory", event, &json!({})).await;
        assert_eq!(lost["tokens"]["banned"], true, "{event}");
    }
    refused(&nodes, &later).await;
    let lost = happened(&nodes[2], "mallory", "unbanned", &json!({})).await;
    assert_eq!(lost["tokens"]["banned"], false);
    refused(&nodes, &old).await;
    accepted(&nodes, &later).await;
    create(&nodes[0], "mallory").await;
    // By SQL as well, soon.
    database.execute("update transom.standings set banned = true").await;
    for node in &nodes {
        eventually("it is heard of", SOON, async || read(node, &later).await.status == 401).await;
    }
    database.execute("truncate transom.standings").await;
    for node in &nodes {
        eventually("it is heard of", SOON, async || read(node, &old).await.status == 200).await;
    }
}

/// Nobody else tells of it: there is no feed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_permissions_is_forgotten_with_the_role() {
    let (database, _redis, nodes) = world(&[("feed", "none")]).await;
    let may = async |node: &Node| {
        let answer = keyed(at(node.port()).get("/permissions/alice")).send().await.expect_status(200);
        answer.json()[0]["role"]["name"].clone()
    };
    let key = json!({ "key": "the key of alice" });
    let scopes =
        async |node: &Node| post(node, "/api-keys/lookup", &key).await.expect_status(200).json()[0]["scopes"].clone();
    for node in &nodes {
        assert_eq!((may(node).await, scopes(node).await), (json!("clerk"), json!(["read"])));
    }
    database.execute("update user_roles set role_id = 2; update api_keys set scopes = '{write}'").await;
    let known = may(&nodes[0]).await;
    happened(&nodes[0], "alice", "role-changed", &json!({})).await;
    for node in &nodes {
        assert_eq!((may(node).await, scopes(node).await), (json!("boss"), json!(["write"])), "it was {known}");
    }
    database.execute("update api_keys set scopes = '{}'").await;
    let hash = database.value("select sha256 from api_keys").await.expect("there is one");
    happened(&nodes[1], "alice", "api-key-changed", &json!({ "sha256": hash })).await;
    for node in &nodes {
        assert_eq!(scopes(node).await, json!([]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_set_is_left_out_and_what_does_not_fit_is_refused() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    furnish(&database).await;
    let builder = builder(&database, &redis).set("jwt_secret", SECRET);
    let plain = builder.start().await;
    let token = jwt_of("alice", now());
    let lost = happened(&plain, "alice", "banned", &json!({})).await;
    assert_eq!(
        lost,
        json!({ "user": "alice", "sessions": 0, "tokens": null, "permissions": false, "api_keys": null, "announced": true })
    );
    read(&plain, &token).await.expect_status(200);
    for (event, body) in [
        ("logout", json!({ "token": "short" })),
        ("logout", json!({ "keep": "0".repeat(64) })),
        ("banned", json!({ "token": "0".repeat(64) })),
        ("api-key-changed", json!({ "sha256": "x" })),
        ("password-changed", json!({ "kept": "0".repeat(64) })),
    ] {
        let answer = post(&plain, &format!("/users/alice/{event}"), &body).await.expect_status(400);
        assert_eq!(answer.json()["code"], "TRANSOM23", "{event} {body}");
    }
    post(&plain, "/users/alice/promoted", &json!({})).await.expect_status(404);
    at(plain.port()).post("/users/alice/logout", &json!({})).send().await.expect_status(401);
    keyed(at(plain.port()).get("/users/alice/logout")).send().await.expect_status(405);
    let mut check = Command::new(binary());
    check.arg("check").env("DATABASE_URL", database.url()).env("TRANSOM_JWT_USER_CLAIM", "sub");
    let said = check.output().expect("it is built");
    let said = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("jwt_user_claim"), "{said}");
}

#[tokio::test]
async fn without_its_table_no_token_that_names_a_user_is_accepted() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    furnish(&database).await;
    setup(&database, &["--state", "--remove"]).expect("the superuser may");
    let node = judging(&builder(&database, &redis)).start().await;
    let answer = read(&node, &jwt_of("alice", now())).await.expect_status(503);
    assert_eq!(answer.json()["code"], "TRANSOM27");
    read(&node, &jwt(json!({ "iat": now() }))).await.expect_status(200);
    setup(&database, &["--state"]).expect("the superuser may");
    read(&node, &jwt_of("alice", now())).await.expect_status(200);
}
