//! The auditor: what is wrong is found, counted, logged and healed; what is right is left alone.

use std::time::Duration;

use serde_json::json;
use transom_tests::{Database, Lease, Node, NodeBuilder, Postgres, Redis, eventually};

const UNITED: &str = "/airlines?carrier=eq.UA";
const SOON: Duration = Duration::from_secs(20);

fn audited(database: &Database, redis: &Redis) -> NodeBuilder {
    NodeBuilder::on(database).redis(redis).set("audit_share", "1").set("audit_rate_max", "1000")
}

async fn read(node: &Node) -> String {
    node.rest().get(UNITED).send().await.expect_status(200).text()
}

/// Without a feed nobody hears of a change by SQL, so a hit is a lie: until the auditor looks at it.
#[tokio::test]
async fn a_lie_is_found_counted_logged_and_healed_on_every_node() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = audited(&database, &redis);
    let liar = builder.start_process().await;
    let peer = builder.clone().set("audit_share", "0").start().await;
    peer.until_lease(Lease::Held).await;
    liar.rest().get(UNITED).send().await.expect_status(200);
    eventually("both have it", SOON, async || read(&peer).await.contains("United")).await;
    database.execute("update airlines set name = 'Truth' where carrier = 'UA'").await;
    assert!(read(&peer).await.contains("United"), "nobody told");

    eventually("the liar is healed", SOON, async || {
        liar.rest().get(UNITED).send().await.expect_status(200).text().contains("Truth")
    })
    .await;
    eventually("the peer is healed", SOON, async || read(&peer).await.contains("Truth")).await;
    let metrics = liar.admin().get("/metrics").send().await.text();
    let stale = metrics.lines().find_map(|line| line.strip_prefix("transom_audit_stale_total "));
    assert!(stale.is_some_and(|count| count != "0"), "{stale:?}");
    assert!(metrics.contains("transom_announcements_total{source=\"audit\"} "), "{metrics}");
    let log = liar.log();
    let line =
        log.lines().find(|line| line.contains("a stored answer is not what postgres says")).expect("it is logged");
    for part in ["ERROR", "/rest/v1/airlines", "public.airlines", "watermark", "as_of", "lease_held=true"] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert!(!line.contains("eq.UA"), "what was asked for is nobody's business: {line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_audits_under_constant_writes_raise_no_false_alarm() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = audited(&database, &redis).set("feed", "logical").set("audit_rate_max", "10000").start().await;
    node.until_lease(Lease::Held).await;
    let sql = database.client().await;
    let (mut reads, mut round) = (0.0, 0);
    while reads < 2_000.0 {
        round += 1;
        // One behind the proxy's back and one through it, and between them more hits than can be explained by chance.
        let update = format!("update airlines set name = 'Round {round}' where carrier = 'UA'");
        sql.batch_execute(&update).await.expect("it is a table");
        for _ in 0..20 {
            for target in [UNITED, "/airlines", "/planes?limit=10", "/planes?select=tailnum&limit=5&order=tailnum"] {
                node.rest().get(target).send().await.expect_status(200);
            }
        }
        let seats = json!({ "seats": round % 500 });
        node.rest().patch("/planes?tailnum=eq.N10156", &seats).send().await.expect_status(204);
        reads = node.metric("transom_audit_reads_total").await;
    }
    assert_eq!(node.metric("transom_audit_stale_total").await, 0.0);
}

#[tokio::test]
async fn hits_are_not_kept_for_an_auditor_that_cannot_follow() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = audited(&database, &redis).set("audit_rate_max", "1").start().await;
    node.until_lease(Lease::Held).await;
    for _ in 0..200 {
        read(&node).await;
    }
    assert!(node.metric("transom_audit_skipped_total{reason=\"queue-full\"}").await > 50.0);
}

/// The pool has one connection, and the auditor would need it.
#[tokio::test]
async fn the_last_connection_is_not_the_auditors() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = audited(&database, &redis).set("db_pool_max", "1").start().await;
    node.until_lease(Lease::Held).await;
    eventually("a hit was left alone", SOON, async || {
        read(&node).await;
        node.metric("transom_audit_skipped_total{reason=\"pool-busy\"}").await > 0.0
    })
    .await;
    assert_eq!(node.metric("transom_audit_reads_total").await, 0.0);
}

#[tokio::test]
async fn nothing_is_audited_where_nothing_is_to_be() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = audited(&database, &redis).set("audit_share", "0").start().await;
    node.until_lease(Lease::Held).await;
    for _ in 0..50 {
        read(&node).await;
    }
    assert_eq!(node.metric("transom_audit_reads_total").await, 0.0);
    assert_eq!(node.metric("transom_audit_skipped_total{reason=\"queue-full\"}").await, 0.0);
}
