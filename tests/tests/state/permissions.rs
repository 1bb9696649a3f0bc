//! What users, API keys and projects may: asked on three nodes, with either feed, while it changes and while things fail.

use serde_json::{Value, json};
use transom_tests::{Lease, Node, Postgres, Redis, eventually};

use super::*;

pub(super) const TABLES: &str = "
    create table roles (id int primary key, name text, may text[]);
    create table user_roles (user_id text, role_id int references roles, primary key (user_id, role_id));
    create table api_keys (sha256 text primary key, owner text, scopes text[]);
    create table settings (project text, name text, value text, primary key (project, name));
    insert into roles values (1, 'clerk', '{read}'), (2, 'boss', '{read,write}');
    insert into user_roles values ('alice', 1), ('bob', 1);
    insert into api_keys values (encode(sha256('the key of alice'), 'hex'), 'alice', '{read}');
    insert into settings values ('shop', 'currency', 'EUR'), ('blog', 'currency', 'USD')";

pub(super) fn asking(builder: &NodeBuilder) -> NodeBuilder {
    let users = "/user_roles?user_id=eq.{user}&select=role:roles(name,may)&order=role_id";
    let builder = builder.clone().set("permissions_query", users);
    let builder = builder.set("api_key_query", "/api_keys?sha256=eq.{sha256}&select=owner,scopes");
    builder.set("project_query", "/settings?project=eq.{project}&select=name,value")
}

async fn world(feed: &str) -> (Database, Redis, [Node; 3]) {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    database.execute(TABLES).await;
    if feed == "trigger" {
        setup(&database, &["--feed", "trigger"]).expect("the superuser may");
    }
    let nodes = three(&asking(&builder(&database, &redis)).set("feed", feed)).await;
    for node in &nodes {
        node.until_lease(Lease::Held).await;
    }
    (database, redis, nodes)
}

/// What the documents say: tables, and the settings over them.
pub(super) async fn as_documented(document: &str, database: &Database, builder: NodeBuilder) -> NodeBuilder {
    let block = |language: &str, with: &str| {
        let mut blocks = document.split("```").filter_map(|block| block.strip_prefix(language));
        blocks.find(|block| block.contains(with)).expect("it is in the document").to_owned()
    };
    // Roles belong to the whole server, which other tests use as well.
    let make_role = "CREATE ROLE permission_reader;";
    let tables = block("sql\n", make_role).replace(make_role, "");
    database
        .execute("do $$ begin create role permission_reader; exception when duplicate_object then null; end $$")
        .await;
    database.execute(&tables).await;
    builder.toml(&block("toml\n", "permissions_query"))
}

async fn get(node: &Node, target: &str) -> Response {
    keyed(at(node.port()).get(target)).send().await
}

async fn look_up(node: &Node, key: &str) -> Response {
    post(node, "/api-keys/lookup", &json!({ "key": key })).await
}

/// Asks until every node answers this of its own memory.
async fn until_all_know(nodes: &[Node], target: &str, expected: &Value) {
    for node in nodes {
        eventually("the node has it in memory", SOON, async || {
            let answer = get(node, target).await.expect_status(200);
            answer.json() == *expected && answer.header("cache-status").starts_with("transom; hit; detail=l1")
        })
        .await;
    }
}

fn roles(of: &[(&str, &[&str])]) -> Value {
    of.iter().map(|(name, may)| json!({ "role": { "name": name, "may": may } })).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_sql_reaches_every_node_and_concerns_nobody_else() {
    let (clerk, boss) = (("clerk", &["read"][..]), ("boss", &["read", "write"][..]));
    for feed in ["logical", "trigger"] {
        let (database, _redis, nodes) = world(feed).await;
        for (target, expected) in [
            ("/permissions/alice", roles(&[clerk])),
            ("/permissions/bob", roles(&[clerk])),
            ("/permissions/nobody", json!([])),
            ("/projects/shop", json!([{ "name": "currency", "value": "EUR" }])),
            ("/projects/blog", json!([{ "name": "currency", "value": "USD" }])),
        ] {
            until_all_know(&nodes, target, &expected).await;
        }
        database.execute("insert into user_roles values ('alice', 2)").await;
        until_all_know(&nodes, "/permissions/alice", &roles(&[clerk, boss])).await;
        database.execute("update settings set value = 'CHF' where project = 'shop'").await;
        until_all_know(&nodes, "/projects/shop", &json!([{ "name": "currency", "value": "CHF" }])).await;
        for node in &nodes {
            for untouched in ["/permissions/bob", "/permissions/nobody", "/projects/blog"] {
                let answer = get(node, untouched).await.expect_status(200);
                assert!(answer.is_untouched(), "{feed} {untouched}: {}", answer.header("cache-status"));
            }
        }
        // What is embedded counts as well, for everybody who has it.
        database.execute("update roles set may = '{}' where id = 1").await;
        until_all_know(&nodes, "/permissions/bob", &roles(&[("clerk", &[])])).await;
        database.execute("delete from user_roles where user_id = 'alice'").await;
        until_all_know(&nodes, "/permissions/alice", &json!([])).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_known_by_their_hash_and_those_that_are_not_there_too() {
    let (database, redis, nodes) = world("logical").await;
    let (key, made_up) = ("the key of alice", "a key that somebody made up");
    let hash = database.value(&format!("select encode(sha256('{key}'), 'hex')")).await.expect("a text");
    for node in &nodes {
        let answer = look_up(node, key).await.expect_status(200);
        assert_eq!(answer.json(), json!([{ "owner": "alice", "scopes": ["read"] }]));
        assert_eq!(answer.header("cache-control"), "no-store");
        let by_hash = post(node, "/api-keys/lookup", &json!({ "sha256": hash })).await.expect_status(200);
        assert_eq!(by_hash.json(), answer.json());
        assert_eq!(look_up(node, made_up).await.expect_status(404).json()["code"], "TRANSOM33");
    }
    // Guesses are answered from the tiers.
    let asked = database.calls("%api_keys%").await;
    for node in &nodes {
        eventually("guesses do not reach postgres", SOON, async || {
            let before = database.calls("%api_keys%").await;
            look_up(node, made_up).await.expect_status(404);
            database.calls("%api_keys%").await == before
        })
        .await;
    }
    assert!(asked > 0, "calls are counted");
    let insert = format!("insert into api_keys values (encode(sha256('{made_up}'), 'hex'), 'eve', '{{}}')");
    database.execute(&insert).await;
    for node in &nodes {
        eventually("a new key is known", SOON, async || look_up(node, made_up).await.status == 200).await;
    }
    database.execute("delete from api_keys").await;
    for node in &nodes {
        eventually("a deleted key is not", SOON, async || look_up(node, key).await.status == 404).await;
    }
    let stored = session_faults::stored(&redis).await;
    assert!(stored.contains(&hash), "answers are in Redis");
    assert!(!stored.contains(key) && !stored.contains(made_up), "a key is in Redis");
    for body in [json!({}), json!({ "key": "" }), json!({ "key": "k".repeat(5_000) }), json!({ "sha256": "ABC" })] {
        let refused = post(&nodes[0], "/api-keys/lookup", &body).await.expect_status(400);
        assert_eq!(refused.json()["code"], "TRANSOM23", "{body}");
    }
}

#[tokio::test]
async fn a_name_is_a_value_and_nothing_else() {
    let (_database, _redis, nodes) = world("logical").await;
    let names = [
        "alice%26select=*",
        "alice%26user_id=eq.bob",
        "nobody%26or=(user_id.eq.alice)",
        "%22alice%22",
        "(alice,bob)",
        "alice)",
        "*",
        "eq.alice",
        "in.(alice)",
        "null",
        "alice%25",
        "alice%2500",
        "alice'--",
        "%27%20or%20true",
    ];
    for name in names {
        let answer = get(&nodes[0], &format!("/permissions/{name}")).await;
        match answer.status {
            200 => assert_eq!(answer.json(), json!([]), "{name}"),
            status => assert_eq!((status, &answer.json()["code"]), (400, &json!("TRANSOM23")), "{name}"),
        }
    }
}

/// Without a feed nothing tells but who changed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_asked_again_on_every_node() {
    let (database, _redis, nodes) = world("none").await;
    let old = roles(&[("clerk", &["read"])]);
    until_all_know(&nodes, "/permissions/alice", &old).await;
    until_all_know(&nodes, "/permissions/bob", &old).await;
    database.execute("delete from user_roles").await;
    for node in &nodes {
        assert_eq!(get(node, "/permissions/alice").await.expect_status(200).json(), old, "nobody told");
    }
    let told = keyed(at(nodes[1].port()).delete("/permissions/alice")).send().await.expect_status(200);
    assert_eq!(told.json(), json!({ "forgotten": true }));
    for node in &nodes {
        assert_eq!(get(node, "/permissions/alice").await.expect_status(200).json(), json!([]));
        let other = get(node, "/permissions/bob").await.expect_status(200);
        assert!(other.is_untouched(), "{}", other.header("cache-status"));
    }
    keyed(at(nodes[2].port()).delete("/permissions")).send().await.expect_status(200);
    for node in &nodes {
        assert_eq!(get(node, "/permissions/bob").await.expect_status(200).json(), json!([]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stands_in_for_what_cannot_be_proven() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    database.execute(TABLES).await;
    let mut redis = Redis::start().await;
    let node = asking(&builder(&database, &redis)).set("feed", "logical").set("max_staleness", "1s").start().await;
    node.until_lease(Lease::Held).await;
    let old = roles(&[("clerk", &["read"])]);
    until_all_know(std::slice::from_ref(&node), "/permissions/alice", &old).await;
    postgres.crash().await;
    eventually("it is not known any more", SOON, async || get(&node, "/permissions/alice").await.status == 503).await;
    postgres.start().await;
    eventually("it is known again", SOON, async || get(&node, "/permissions/alice").await.status == 200).await;
    // Without Redis what is read is true, and known for a moment.
    redis.kill();
    database.execute("delete from user_roles where user_id = 'alice'").await;
    let empty = async || get(&node, "/permissions/alice").await.expect_status(200).json() == json!([]);
    eventually("it is asked of postgres", SOON, empty).await;
}

#[tokio::test]
async fn what_cannot_be_asked_says_which_setting_is_wrong() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = builder(&database, &redis).start().await;
    for (target, setting) in [("/permissions/alice", "permissions_query"), ("/projects/shop", "project_query")] {
        let refused = get(&node, target).await.expect_status(404).json();
        assert_eq!(refused["code"], "TRANSOM34");
        assert_eq!(refused["details"], format!("the setting {setting} is not set"));
    }
    // A table that is not there, and one that the role may not read.
    let asking = asking(&builder(&database, &redis)).set("permissions_role", "web_anon");
    let asking = asking.set("db_channel_enabled", "true").start().await;
    let missing = get(&asking, "/permissions/alice").await.expect_status(500).json();
    assert_eq!(missing["code"], "TRANSOM35");
    assert!(missing["details"].as_str().expect("a text").starts_with("the read in permissions_query failed"));
    database.execute(TABLES).await;
    eventually("postgres refuses the role", SOON, async || {
        database.execute("notify pgrst, 'reload schema'").await;
        let refused = get(&asking, "/permissions/alice").await.expect_status(500).json();
        refused["details"].as_str().expect("a text").contains("permission denied")
    })
    .await;
    database.execute("grant select on roles, user_roles to web_anon").await;
    eventually("it may", SOON, async || get(&asking, "/permissions/alice").await.status == 200).await;
    let url = database.url();
    let mut check = Command::new(binary());
    check.arg("check").env("DATABASE_URL", &url).env("TRANSOM_PROJECT_QUERY", "/nothing?id=eq.{project}");
    let said = String::from_utf8(check.output().expect("it is built").stdout).expect("text");
    assert!(
        said.contains("FAIL  permissions") && said.contains("`project_query`: its answers are not stored"),
        "{said}"
    );
}

/// Clients who ask the same are answered as who they are.
#[tokio::test]
async fn an_answer_for_services_is_not_one_for_clients() {
    let (_database, _redis, nodes) = world("logical").await;
    until_all_know(&nodes, "/permissions/alice", &roles(&[("clerk", &["read"])])).await;
    for node in &nodes {
        let target = "/user_roles?user_id=eq.alice&select=role:roles(name,may)&order=role_id";
        node.rest().get(target).send().await.expect_status(401);
        at(node.port()).get("/permissions/alice").send().await.expect_status(401);
    }
}

/// The same read may be asked about a user and about a project of the same name.
#[tokio::test]
async fn what_is_forgotten_of_a_project_is_not_that_of_a_user() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    database.execute(TABLES).await;
    let builder = builder(&database, &redis).set("feed", "none");
    let builder = builder.set("permissions_query", "/settings?project=eq.{user}&select=value");
    let node = builder.set("project_query", "/settings?project=eq.{project}&select=value").start().await;
    let euros = json!([{ "value": "EUR" }]);
    for target in ["/permissions/shop", "/projects/shop"] {
        until_all_know(std::slice::from_ref(&node), target, &euros).await;
    }
    database.execute("update settings set value = 'CHF' where project = 'shop'").await;
    keyed(at(node.port()).delete("/projects/shop")).send().await.expect_status(200);
    assert_eq!(get(&node, "/projects/shop").await.expect_status(200).json(), json!([{ "value": "CHF" }]));
    assert_eq!(get(&node, "/permissions/shop").await.expect_status(200).json(), euros, "nobody told");
}
