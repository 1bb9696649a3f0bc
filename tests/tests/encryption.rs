//! Values at rest in Redis are sealed: nothing of a row can be found there, and nodes with other keys get along.

use std::time::Duration;

use serde_json::json;
use transom_tests::{CacheStatus, Database, Http, Lease, Node, NodeBuilder, Postgres, Redis, Reply, eventually};

const SOON: Duration = Duration::from_secs(20);
/// Two keys of 32 bytes.
const OLD: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NEW: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const MARKER: &str = "sesame-4711";
const SERVICE_KEY: &str = "a-key-of-the-tests-that-is-long-enough";

async fn database(postgres: &Postgres) -> Database {
    let database = postgres.database().await;
    let sql = format!(
        "create table note (id int primary key, text text);
         insert into note select id, '{MARKER}' from generate_series(1, 9) as id; grant select on note to web_anon"
    );
    database.execute(&sql).await;
    database
}

fn builder(database: &Database, redis: &Redis) -> NodeBuilder {
    let builder = NodeBuilder::on(database).redis(redis).set("state_service_key", SERVICE_KEY);
    builder.set("redis_timeout", "5s").set("max_staleness", "20s")
}

async fn leased(builder: &NodeBuilder) -> Node {
    let node = builder.start().await;
    node.until_lease(Lease::Held).await;
    node
}

/// Reads the row on one node, until the other has it from Redis.
async fn share(from: &Node, to: &Node, target: &str) {
    eventually("the peer has it from redis", SOON, async || {
        from.rest().get(target).send().await.expect_status(200);
        let answer = to.rest().get(target).send().await.expect_status(200);
        assert!(answer.text().contains(MARKER));
        let gist = CacheStatus::of(&answer).gist();
        if gist.contains("l2") { Ok(()) } else { Err(gist) }
    })
    .await;
}

/// Everything that is in Redis, names and values, as text.
async fn everything(redis: &Redis) -> String {
    let Reply::Array(names) = redis.command(&["KEYS", "*"]).await.expect("redis runs") else {
        panic!("no list of keys")
    };
    let mut all = String::new();
    for name in names.iter().filter_map(Reply::text) {
        let kind = redis.command(&["TYPE", &name]).await.expect("redis runs").text().expect("a word");
        let question: &[&str] = match kind.as_str() {
            "string" => &["GET", &name],
            "hash" => &["HGETALL", &name],
            "set" => &["SMEMBERS", &name],
            "zset" => &["ZRANGE", &name, "0", "-1"],
            "stream" => &["XRANGE", &name, "-", "+"],
            other => panic!("{name} is a {other}"),
        };
        all += &format!("{name}\n{}\n", text(&redis.command(question).await.expect("redis runs")));
    }
    all
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        Reply::Integer(number) => number.to_string(),
        reply => reply.text().unwrap_or_default(),
    }
}

async fn publish(node: &Node) {
    let state = Http::new(format!("http://127.0.0.1:{}/state/v1", node.port()));
    let event = json!({ "said": MARKER });
    state.post("/events/news", &event).header("transom-service-key", SERVICE_KEY).send().await.expect_status(200);
}

#[tokio::test]
async fn nothing_of_a_row_or_an_event_is_in_redis_in_clear() {
    let postgres = Postgres::shared().await;
    let database = database(postgres).await;
    // The filter is part of the key, so the key would tell it as well.
    let target = format!("/note?text=eq.{MARKER}&id=eq.1");
    for (keys, is_told) in [(None, true), (Some(OLD), false)] {
        let redis = Redis::start().await;
        let builder = builder(&database, &redis);
        let builder = keys.map_or_else(|| builder.clone(), |keys| builder.clone().set("redis_encryption_keys", keys));
        let nodes = [leased(&builder).await, leased(&builder).await];
        share(&nodes[0], &nodes[1], &target).await;
        publish(&nodes[0]).await;
        assert_eq!(everything(&redis).await.contains(MARKER), is_told, "with {keys:?}");
    }
}

#[tokio::test]
async fn what_is_published_under_one_key_is_heard_under_another_of_the_ring() {
    let postgres = Postgres::shared().await;
    let database = database(postgres).await;
    let redis = Redis::start().await;
    let node = |keys: &str| builder(&database, &redis).set("redis_encryption_keys", keys);
    let [old, both, new] =
        [node(OLD).start().await, node(&format!("{NEW},{OLD}")).start().await, node(NEW).start().await];
    publish(&old).await;
    for (node, heard) in [(&both, "sesame-4711"), (&new, "event: lost")] {
        let url = format!("http://127.0.0.1:{}/state/v1/events/news?last_event_id=0-0", node.port());
        let request = reqwest::Client::new().get(url).header("transom-service-key", SERVICE_KEY);
        let mut stream = request.send().await.unwrap().error_for_status().unwrap();
        let mut told = String::new();
        let hearing = async {
            while !told.contains(heard) {
                told += &String::from_utf8_lossy(&stream.chunk().await.unwrap().expect("it goes on"));
            }
        };
        assert!(tokio::time::timeout(SOON, hearing).await.is_ok(), "{told:?} without {heard}");
    }
}

#[tokio::test]
async fn nodes_with_other_keys_answer_all_the_same() {
    let postgres = Postgres::shared().await;
    let database = database(postgres).await;
    let redis = Redis::start().await;
    let plain = leased(&builder(&database, &redis)).await;
    let with = |keys: &str| builder(&database, &redis).set("redis_encryption_keys", keys);
    let old = leased(&with(OLD)).await;
    let both = leased(&with(&format!("{NEW},{OLD}"))).await;
    for (node, reason) in [(&plain, "sealed"), (&leased(&with(NEW)).await, "unknown-key")] {
        let target = format!("/note?id=eq.1&text=neq.{reason}");
        share(&old, &both, &target).await;
        let answer = node.rest().get(&target).send().await.expect_status(200);
        assert!(answer.text().contains(MARKER));
        assert_eq!(CacheStatus::of(&answer).get("fwd"), "uri-miss", "{}", answer.header("cache-status"));
        let series = format!("transom_l2_unreadable_total{{reason=\"{reason}\"}}");
        assert!(node.metric(&series).await > 0.0, "{reason}");
        // It took the fill lease for that, and gave it back.
        assert!(node.metric("transom_fill_lease_total{result=\"granted\"}").await > 0.0);
        assert!(node.rest().get(&target).send().await.is_hit());
    }
}

#[tokio::test]
async fn keys_are_not_shown() {
    let postgres = Postgres::shared().await;
    let database = database(postgres).await;
    let redis = Redis::start().await;
    let node = builder(&database, &redis).set("redis_encryption_keys", OLD).start().await;
    let config = node.admin().get("/config").send().await.expect_status(200).text();
    assert!(!config.contains(OLD), "{config}");
}
