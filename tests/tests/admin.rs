//! The listener for operators.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use transom_tests::{Http, Lease, Node, NodeBuilder, Postgres, Redis, Response, eventually};

const UNITED: &str = "/airlines?carrier=eq.UA";
const AMERICAN: &str = "/airlines?carrier=eq.AA";
const AIRPORT: &str = "/airports?faa=eq.JFK";
const SOON: Duration = Duration::from_secs(10);

async fn alone() -> (transom_tests::Database, Node) {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    (database, node)
}

async fn read(node: &Node, target: &str) -> Response {
    node.rest().get(target).send().await.expect_status(200)
}

/// Reads until L1 has it.
async fn fill(node: &Node, targets: &[&str]) {
    for target in targets {
        read(node, target).await;
        assert!(is_hit(&read(node, target).await), "{target} is not stored");
    }
}

fn is_hit(read: &Response) -> bool {
    read.header("cache-status").starts_with("transom; hit")
}

async fn purge(admin: &Http, what: &Value) -> Response {
    admin.post("/purge", what).send().await
}

#[tokio::test]
async fn a_ready_node_says_so() {
    let (_database, node) = alone().await;
    assert_eq!(node.admin().get("/livez").send().await.expect_status(200).text(), "live\n");
    assert_eq!(node.admin().get("/readyz").send().await.expect_status(200).text(), "ready\n");
    let head = node.admin().head("/readyz").send().await.expect_status(200);
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn health_tells_which_part_of_the_pillar_is_down() {
    let mut postgres = Postgres::own().await;
    let (database, mut redis) = (postgres.database().await, Redis::start().await);
    let node = NodeBuilder::on(&database).redis(&redis).start().await;
    let health = async || node.admin().get("/health").send().await.expect_status(200).json();
    let until = async |what: &str, postgres: &str, redis: &str| {
        eventually(what, SOON, async || {
            let health = health().await;
            let sound = health["postgres"]["status"] == postgres && health["redis"]["status"] == redis;
            if sound { Ok(health) } else { Err(health.to_string()) }
        })
        .await
    };
    let all_up = until("all is up", "up", "up").await;
    for part in ["ready", "postgres", "redis", "coherence", "l1"] {
        assert!(!all_up[part].is_null(), "{part} is missing: {all_up}");
    }

    // Nobody sends a request meanwhile: health is not what the last request happened to see.
    postgres.stop().await;
    let down = until("postgres is down", "down", "up").await;
    let reason = down["postgres"]["reason"].as_str().unwrap();
    assert!(reason.contains("refused") || reason.contains("closed"), "{reason}");
    assert_eq!(down["ready"], true, "what is stored can be served");
    redis.kill();
    until("both are down", "down", "down").await;
    eventually("the lease lapses", SOON, async || health().await["coherence"]["lease_held"] == false).await;

    postgres.start().await;
    redis.restart_empty().await;
    until("all is up again", "up", "up").await;
    eventually("the lease is back", SOON, async || health().await["coherence"]["lease_held"] == true).await;

    postgres.pause();
    until("postgres is silent", "silent", "up").await;
    postgres.resume();
    until("postgres answers again", "up", "up").await;
}

#[tokio::test]
async fn health_without_redis_says_that_there_is_none() {
    let (_database, node) = alone().await;
    let health = node.admin().get("/health").send().await.json();
    assert_eq!(health["redis"]["status"], "not configured");
}

#[tokio::test]
async fn metrics_are_as_prometheus_wants_them() {
    let (_database, node) = alone().await;
    fill(&node, &[UNITED]).await;
    node.rest().get("/nothing").send().await.expect_status(404);
    let page = node.admin().get("/metrics").send().await.expect_status(200);
    assert!(page.header("content-type").starts_with("text/plain; version=0.0.4"), "{page:?}");

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool comes with Prometheus");
    promtool.stdin.take().unwrap().write_all(&page.body).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn config_shows_every_setting_and_no_secret() {
    let database = Postgres::shared().await.database().await;
    let url = database.url().replace("postgres@", "postgres:s3cret@");
    let redis = Redis::start().await;
    redis.command(&["ACL", "SETUSER", "node", "on", ">s3cret", "~*", "&*", "+@all"]).await.unwrap();
    let node = NodeBuilder::on(&database)
        .set("database_url", url)
        .set("redis_url", redis.url().replace("://", "://node:s3cret@"))
        .start()
        .await;
    node.until_lease(Lease::Held).await;
    let config = node.admin().get("/config").send().await.expect_status(200);
    assert!(!config.text().contains("s3cret"), "{}", config.text());
    for setting in transom::config::SETTINGS {
        assert!(config.json()[setting.name]["value"].is_string(), "{} is missing", setting.name);
    }
}

#[tokio::test]
async fn purge_by_table_url_and_tag_leaves_the_rest() {
    let (_database, node) = alone().await;
    let cases = [
        (json!({ "tables": ["airlines"] }), [false, false, true]),
        (json!({ "tables": ["public.airports"] }), [true, true, false]),
        (json!({ "urls": ["/rest/v1/airlines?carrier=eq.UA"] }), [false, true, true]),
        (json!({ "urls": ["http://127.0.0.1:8000/rest/v1/airlines?carrier=eq.AA"] }), [true, false, true]),
        (json!({ "tags": ["public.airlines(*)"] }), [false, false, true]),
        (json!({ "tables": ["airports"], "urls": ["/rest/v1/airlines?carrier=eq.UA"] }), [false, true, false]),
        (json!({ "all": true }), [false, false, false]),
    ];
    for (what, survives) in cases {
        for soft in [false, true] {
            let mut what = what.clone();
            what["soft"] = soft.into();
            fill(&node, &[UNITED, AMERICAN, AIRPORT]).await;
            let answer = purge(node.admin(), &what).await.expect_status(200).json();
            assert_eq!(answer["purged"], true);
            for (target, survives) in [UNITED, AMERICAN, AIRPORT].into_iter().zip(survives) {
                assert_eq!(is_hit(&read(&node, target).await), survives, "{target} after {what}");
            }
        }
    }
}

#[tokio::test]
async fn a_purge_reaches_the_peers() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = NodeBuilder::on(&database).redis(&redis);
    let (one, two) = (builder.start().await, builder.start().await);
    for what in
        [json!({ "all": true }), json!({ "tables": ["airlines"] }), json!({ "urls": [format!("/rest/v1{UNITED}")] })]
    {
        fill(&one, &[UNITED]).await;
        fill(&two, &[UNITED]).await;
        let answer = purge(one.admin(), &what).await.expect_status(200).json();
        // With the token of the purge, so that there is nothing to wait for.
        let token = answer["token"].as_str().unwrap();
        let read = two.rest().get(UNITED).header("transom-min-token", token).send().await.expect_status(200);
        assert!(!is_hit(&read), "{what}: {read:?}");
    }
}

#[tokio::test]
async fn a_soft_purge_leaves_something_for_bad_times_and_a_hard_one_does_not() {
    for with_redis in [false, true] {
        let mut postgres = Postgres::own().await;
        let (database, redis) = (postgres.database().await, Redis::start().await);
        let builder = NodeBuilder::on(&database);
        let node = if with_redis { builder.redis(&redis) } else { builder }.start().await;
        fill(&node, &[UNITED, AIRPORT]).await;
        purge(node.admin(), &json!({ "tables": ["airlines"], "soft": true })).await.expect_status(200);
        postgres.stop().await;
        let stale = read(&node, UNITED).await;
        assert!(stale.header("cache-status").contains("detail=stale-if-error"), "{stale:?}");

        purge(node.admin(), &json!({ "tables": ["airlines"] })).await.expect_status(200);
        let gone = node.rest().get(UNITED).send().await.expect_status(503);
        assert_eq!(gone.header("retry-after"), "1");
        assert!(is_hit(&read(&node, AIRPORT).await), "nobody purged the airports");
    }
}

#[tokio::test]
async fn a_purge_that_cannot_be_understood_says_why() {
    let (_database, node) = alone().await;
    fill(&node, &[UNITED]).await;
    let cases: [(&str, &str); 8] = [
        ("", "EOF"),
        ("all", "expected"),
        ("[]", "nothing to purge"),
        ("{}", "nothing to purge"),
        (r#"{"soft": true}"#, "nothing to purge"),
        (r#"{"table": ["airlines"]}"#, "unknown field `table`"),
        (r#"{"tables": "airlines"}"#, "expected a sequence"),
        (r#"{"all": "yes"}"#, "expected a boolean"),
    ];
    for (body, why) in cases {
        let refused = node.admin().request(http::Method::POST, "/purge").body(body).send().await.expect_status(400);
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(why), "{body}: {message}");
    }
    let large = vec![b' '; 2 * 1024 * 1024];
    let refused = node.admin().request(http::Method::POST, "/purge").body(large).send().await.expect_status(400);
    assert!(refused.json()["message"].as_str().unwrap().contains("limit"), "{}", refused.text());
    assert!(is_hit(&read(&node, UNITED).await));
}

#[tokio::test]
async fn a_wrong_method_or_path_says_what_would_be_right() {
    let (_database, node) = alone().await;
    let purge = node.admin().get("/purge").send().await.expect_status(405);
    assert_eq!(purge.header("allow"), "POST");
    for path in ["/livez", "/readyz", "/health", "/metrics", "/config"] {
        let refused = node.admin().post(path, &json!({})).send().await.expect_status(405);
        assert_eq!(refused.header("allow"), "GET, HEAD", "{path}");
    }
    let missing = node.admin().get("/").send().await.expect_status(404);
    assert!(missing.json()["message"].as_str().unwrap().contains("/health"));
}
