//! Read your writes through the change feed: a write is announced once, row by row, and its proxy hears of it.

use std::time::{Duration, Instant};

use cache_core::backplane::ECHO_PATIENCE;
use serde_json::json;
use transom_tests::{Database, Http, Lease, Node, NodeBuilder, Postgres, Redis, Response, Signal, eventually};

const SOON: Duration = Duration::from_secs(10);
const ONE: &str = "/airlines?carrier=eq.UA";
const OTHER: &str = "/airlines?carrier=eq.AA";
const BY_WRITES: &str = "transom_announcements_total{source=\"write\"}";
const BY_FEED: &str = "transom_announcements_total{source=\"feed\"}";

const KINDS: [&str; 2] = ["logical", "trigger"];

fn fed(database: &Database, redis: &Redis, kind: &str) -> NodeBuilder {
    NodeBuilder::on(database).redis(redis).set("feed", kind)
}

async fn database(kind: &str) -> Database {
    let database = Postgres::shared().await.database().await;
    database.execute("grant insert, update, delete on airlines to web_anon").await;
    if kind == "trigger" {
        let made = std::process::Command::new(transom_tests::binary())
            .args(["setup", "--feed", kind])
            .env("DATABASE_URL", database.url())
            .output()
            .expect("it is built");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    database
}

async fn three(builder: &NodeBuilder) -> [Node; 3] {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let node = builder.start().await;
        node.until_lease(Lease::Held).await;
        nodes.push(node);
    }
    nodes.try_into().unwrap_or_else(|_| unreachable!("there are three"))
}

async fn until_hit(http: &Http, target: &str) {
    eventually(&format!("{target} is hit"), SOON, async || {
        let answer = http.get(target).send().await.expect_status(200);
        if answer.is_hit() { Ok(()) } else { Err(answer.header("cache-status").to_owned()) }
    })
    .await;
}

async fn patch(http: &Http, name: &str) -> Response {
    http.patch(ONE, &json!({ "name": name })).send().await.expect_status(204)
}

async fn read_after(http: &Http, token: &str) -> String {
    http.get(ONE).header("transom-min-token", token).send().await.expect_status(200).text()
}

async fn sum(nodes: &[Node], series: &str) -> f64 {
    let mut sum = 0.0;
    for node in nodes {
        sum += node.metric(series).await;
    }
    sum
}

#[tokio::test]
async fn a_write_is_announced_once_by_the_feed_and_leaves_other_rows_alone() {
    for kind in KINDS {
        announced_once(kind).await;
    }
}

async fn announced_once(kind: &str) {
    let (database, redis) = (database(kind).await, Redis::start().await);
    let nodes = three(&fed(&database, &redis, kind)).await;
    let [a, b, c] = &nodes;
    for node in &nodes {
        until_hit(node.rest(), ONE).await;
        until_hit(node.rest(), OTHER).await;
    }
    // A change that comes before the leader knows a new template counts as one of the whole table.
    patch(c.rest(), "first").await;
    // On a busy machine the echo of a write may be late, and the write is announced twice: not every time.
    eventually("a write is announced by the feed alone", SOON, async || {
        for node in &nodes {
            until_hit(node.rest(), ONE).await;
            until_hit(node.rest(), OTHER).await;
        }
        let before = (sum(&nodes, BY_WRITES).await, sum(&nodes, BY_FEED).await);
        let name = format!("name {}", rand::random::<u32>());
        let written = patch(c.rest(), &name).await;
        let token = written.header("transom-token");
        assert!(!token.is_empty());
        assert!(c.rest().get(ONE).send().await.text().contains(&name), "who wrote reads it");
        for node in [a, b] {
            assert!(read_after(node.rest(), token).await.contains(&name), "who has the token reads it");
        }
        let other = [a.rest().get(OTHER).send().await, c.rest().get(OTHER).send().await];
        let counted = (sum(&nodes, BY_WRITES).await - before.0, sum(&nodes, BY_FEED).await - before.1);
        if counted == (0.0, 1.0) && other.iter().all(Response::is_hit) {
            Ok(())
        } else {
            Err(format!("{counted:?} {other:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_not_announced() {
    for kind in KINDS {
        announced_not_at_all(kind).await;
    }
}

async fn announced_not_at_all(kind: &str) {
    let (database, redis) = (database(kind).await, Redis::start().await);
    let nodes = three(&fed(&database, &redis, kind)).await;
    until_hit(nodes[0].rest(), ONE).await;
    let nobody = "/airlines?carrier=eq.none";
    let written = nodes[0].rest().patch(nobody, &json!({ "name": "x" })).send().await.expect_status(204);
    assert_eq!(written.header("transom-token"), "");
    assert_eq!(sum(&nodes, BY_WRITES).await, 0.0);
    assert!(nodes[0].rest().get(ONE).send().await.is_untouched());
}

#[tokio::test]
async fn a_write_whose_leader_is_gone_announces_for_itself() {
    for kind in KINDS {
        announced_without_a_leader(kind).await;
    }
}

async fn announced_without_a_leader(kind: &str) {
    let (database, redis) = (database(kind).await, Redis::start().await);
    let builder = fed(&database, &redis, kind);
    let mut leader = builder.start_process().await;
    until_hit(leader.rest(), ONE).await;
    let (writer, reader) = (builder.start().await, builder.start().await);
    for node in [&writer, &reader] {
        node.until_lease(Lease::Held).await;
        until_hit(node.rest(), ONE).await;
    }
    // Frozen and not dead: nobody takes over at once.
    leader.process().signal(Signal::Stop);
    let began = Instant::now();
    let written = patch(writer.rest(), "without a leader").await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let token = written.header("transom-token");
    assert!(!token.is_empty());
    assert_eq!(writer.metric(BY_WRITES).await, 1.0);
    for node in [&writer, &reader] {
        assert!(read_after(node.rest(), token).await.contains("without a leader"));
    }
    leader.process().signal(Signal::Cont);
}

/// To call the whole table changed would cost all its readers more than the wait costs this writer.
#[tokio::test]
async fn a_write_waits_for_a_leader_that_is_late() {
    for kind in KINDS {
        announced_late(kind).await;
    }
}

async fn announced_late(kind: &str) {
    let (database, redis) = (database(kind).await, Redis::start().await);
    let builder = fed(&database, &redis, kind).set("max_staleness", "20s");
    let mut leader = builder.start_process().await;
    until_hit(leader.rest(), ONE).await;
    let writer = builder.start().await;
    writer.until_lease(Lease::Held).await;
    // So that the leader knows the templates of both, and announces rows.
    patch(writer.rest(), "in time").await;
    until_hit(writer.rest(), ONE).await;
    until_hit(writer.rest(), OTHER).await;
    let before = writer.metric(BY_WRITES).await;
    leader.process().signal(Signal::Stop);
    let thawed_late = async {
        tokio::time::sleep(ECHO_PATIENCE * 4).await;
        leader.process().signal(Signal::Cont);
    };
    let (written, ()) = tokio::join!(patch(writer.rest(), "late"), thawed_late);
    assert!(!written.header("transom-token").is_empty());
    assert_eq!(writer.metric(BY_WRITES).await, before, "the node announced for itself");
    assert!(writer.rest().get(ONE).send().await.text().contains("late"));
    assert!(writer.rest().get(OTHER).send().await.is_hit(), "another row");
}

#[tokio::test]
async fn a_role_that_may_not_sign_writes_all_the_same() {
    for (kind, function) in [
        ("logical", "pg_catalog.pg_logical_emit_message(boolean, text, text)"),
        ("trigger", "transom.sign_write(uuid)"),
    ] {
        writes_unsigned(kind, function, &format!("revoke execute on function {function} from public")).await;
    }
    for gone in ["drop function transom.sign_write", "revoke usage on schema transom from public"] {
        writes_unsigned("trigger", "transom.sign_write", gone).await;
    }
}

async fn writes_unsigned(kind: &str, function: &str, sql: &str) {
    let (database, redis) = (database(kind).await, Redis::start().await);
    database.execute(sql).await;
    let node = fed(&database, &redis, kind).start_process().await;
    until_hit(node.rest(), ONE).await;
    for name in ["one", "two"] {
        let written = patch(node.rest(), name).await;
        assert!(!written.header("transom-token").is_empty());
        assert!(node.rest().get(ONE).send().await.text().contains(name));
    }
    assert_eq!(database.value("select count(*) from airlines where name = 'two'").await.as_deref(), Some("1"));
    let (log, name) = (node.log(), function.split('(').next().unwrap_or_default());
    assert_eq!(log.matches(&format!("may not call {name}")).count(), 1, "{log}");
}

/// Whoever calls it by other means names at worst what they changed themselves.
#[tokio::test]
async fn signing_can_do_nothing_but_name_the_own_transaction() {
    let database = database("trigger").await;
    database.execute("update airlines set name = 'x' where carrier = 'AA'").await;
    let client = database.client().await;
    let id = "00000000-0000-0000-0000-0000000000ab";
    client.batch_execute(&format!("set role web_anon; select transom.sign_write('{id}')")).await.expect("all may");
    let named = "select count(*) from transom.outbox where write_id is not null";
    assert_eq!(database.value(named).await.as_deref(), Some("0"), "nobody else's");
    let sql = format!("begin; update airlines set name = 'y'; select transom.sign_write('{id}'); commit");
    client.batch_execute(&sql).await.expect("all may");
    assert_eq!(database.value(named).await.as_deref(), Some("1"));
}
