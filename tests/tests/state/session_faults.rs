//! Sessions while servers die, freeze and forget, and cables are cut.

use serde_json::json;
use transom_tests::consistency::cable::{Cable, Heal, Scope};
use transom_tests::{Node, Postgres, Redis, RedisSentinel, Reply, eventually, postgres_program};

use super::sessions::{create, expect_unknown, expect_valid, revoke, validate, world, world_with};
use super::*;

async fn warm(nodes: &[Node], token: &str) {
    for node in nodes {
        for _ in 0..3 {
            expect_valid(node, token).await;
        }
    }
}

async fn unknown_everywhere(nodes: &[Node], token: &str) {
    for node in nodes {
        expect_unknown(node, token).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_redis_logs_nobody_out_and_a_revoke_holds() {
    let settings = [("max_staleness", "400ms"), ("redis_timeout", "200ms")];
    let (_database, mut redis, nodes) = world_with(&settings).await;
    let (keeps, frozen, killed, emptied) = (
        create(&nodes[0], "alice").await,
        create(&nodes[0], "bob").await,
        create(&nodes[0], "carol").await,
        create(&nodes[0], "dave").await,
    );
    for token in [&keeps, &frozen, &killed, &emptied] {
        warm(&nodes, token).await;
    }
    redis.pause();
    revoke(&nodes[0], &frozen).await;
    unknown_everywhere(&nodes, &frozen).await;
    warm(&nodes, &keeps).await;
    redis.resume();
    unknown_everywhere(&nodes, &frozen).await;
    redis.kill();
    revoke(&nodes[1], &killed).await;
    unknown_everywhere(&nodes, &killed).await;
    warm(&nodes, &keeps).await;
    redis.restart_empty().await;
    revoke(&nodes[2], &emptied).await;
    unknown_everywhere(&nodes, &emptied).await;
    warm(&nodes, &keeps).await;
}

/// Without a change feed nobody else would hear of it: peers keep their leases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_by_a_node_that_is_cut_from_redis_holds_on_the_others() {
    partition(Cut::Revoker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_holds_on_a_node_that_is_cut_from_redis() {
    partition(Cut::Other).await;
}

#[derive(Clone, Copy, PartialEq)]
enum Cut {
    Revoker,
    Other,
}

async fn partition(cut: Cut) {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    setup(&database, &["--state"]).expect("the superuser may");
    let builder = builder(&database, &redis).set("max_staleness", "400ms").set("redis_timeout", "200ms");
    let cable = Cable::to(redis.port()).await;
    let far = builder.clone().set("redis_url", format!("redis://127.0.0.1:{}", cable.port())).start().await;
    let nodes = [builder.start().await, builder.start().await, far];
    for round in 0..4 {
        let token = create(&nodes[0], "alice").await;
        warm(&nodes, &token).await;
        cable.hold(Scope::All);
        // Half the rounds at once, half when its lease is over.
        if round % 2 == 1 {
            nodes[2].until_lease(transom_tests::Lease::Lapsed).await;
            warm(&nodes, &token).await;
        }
        revoke(&nodes[if cut == Cut::Revoker { 2 } else { 0 }], &token).await;
        unknown_everywhere(&nodes, &token).await;
        cable.heal(Heal::Drop);
        unknown_everywhere(&nodes, &token).await;
        nodes[2].until_lease(transom_tests::Lease::Held).await;
        unknown_everywhere(&nodes, &token).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_known_sessions_are_valid_and_others_not_judged() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    setup(&database, &["--state"]).expect("the superuser may");
    let redis = Redis::start().await;
    // On a busy machine a lease may lapse that is short, and without one nobody knows.
    let patient = builder(&database, &redis).set("max_staleness", "4s");
    let nodes = three(&patient).await;
    let (known, unknown) = (create(&nodes[0], "alice").await, "0".repeat(64));
    for node in &nodes {
        // Until the tiers answer.
        eventually("it is stored", SOON, async || {
            expect_valid(node, &known).await;
            node.metric("transom_sessions_total{operation=\"validate\",result=\"l1\"}").await > 2.0
        })
        .await;
    }
    postgres.crash().await;
    let began = std::time::Instant::now();
    // Long after what was read from Postgres has stopped to be young.
    while began.elapsed() < Duration::from_secs(9) {
        warm(&nodes, &known).await;
    }
    for node in &nodes {
        assert_eq!(validate(node, &unknown).await.status, 503, "nobody knows, which is not no");
        assert_eq!(post(node, "/sessions/revoke", &json!({ "token": known })).await.status, 503);
    }
    postgres.start().await;
    for node in &nodes {
        eventually("postgres is back", SOON, async || validate(node, &unknown).await.status == 401).await;
        expect_valid(node, &known).await;
    }
    revoke(&nodes[0], &known).await;
    unknown_everywhere(&nodes, &known).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_a_node_that_lost_postgres_accepts_nothing_it_cannot_prove() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    setup(&database, &["--state"]).expect("the superuser may");
    let node = NodeBuilder::on(&database).set("state_service_key", KEY).set("max_staleness", "300ms").start().await;
    let token = create(&node, "alice").await;
    expect_valid(&node, &token).await;
    postgres.crash().await;
    eventually("its proof is over", SOON, async || validate(&node, &token).await.status == 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_redis_brings_no_revoked_session_back() {
    let mut sentinel = RedisSentinel::start().await;
    let database = Postgres::shared().await.database().await;
    setup(&database, &["--state"]).expect("the superuser may");
    let builder = NodeBuilder::on(&database).set("state_service_key", KEY).set("redis_url", sentinel.url());
    let nodes = three(&builder.set("max_staleness", "400ms").set("redis_timeout", "500ms")).await;
    let (revoked, kept) = (create(&nodes[0], "alice").await, create(&nodes[0], "bob").await);
    warm(&nodes, &revoked).await;
    // What is announced from here on the replica never hears of.
    sentinel.lag_replica().await;
    revoke(&nodes[1], &revoked).await;
    unknown_everywhere(&nodes, &revoked).await;
    sentinel.crash_master().await;
    unknown_everywhere(&nodes, &revoked).await;
    for node in &nodes {
        node.until_lease(transom_tests::Lease::Held).await;
    }
    unknown_everywhere(&nodes, &revoked).await;
    warm(&nodes, &kept).await;
}

/// Postgres as a dump, Redis whole, and the log of a node.
#[tokio::test]
async fn a_token_is_nowhere_in_clear() {
    let (database, redis, nodes) = world().await;
    let mut process = builder(&database, &redis).set("log_level", "trace").start_process().await;
    let token = create(&nodes[0], "alice").await;
    warm(&nodes, &token).await;
    let state = at(process.port());
    let ask = |target: &str| keyed(state.post(target, &json!({ "token": token })));
    ask("/sessions/validate").send().await.expect_status(200);
    ask("/sessions/refresh").send().await.expect_status(200);
    let bearer = keyed(state.post("/sessions/validate", &json!({}))).header("authorization", format!("Bearer {token}"));
    bearer.send().await.expect_status(200);
    ask("/sessions/revoke").send().await.expect_status(200);
    let kept = create(&nodes[0], "bob").await;
    warm(&nodes, &kept).await;

    let dump = Command::new(postgres_program("pg_dump")).arg(database.url()).output();
    let dump = dump.expect("it comes with postgres");
    assert!(dump.status.success(), "{dump:?}");
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    let stored = stored(&redis).await;
    let metrics = process.admin().get("/metrics").send().await.text();
    let log = process.log();
    process.process().signal(Signal::Kill);
    assert!(dump.contains("COPY transom.sessions") && stored.contains("session:{") && !log.is_empty());
    for secret in [&token, &kept] {
        for (place, text) in [("dump", &dump), ("redis", &stored), ("log", &log), ("metrics", &metrics)] {
            assert!(!text.contains(&**secret), "a token is in the {place}");
        }
    }
}

/// Every key, with what it holds if that is a text.
pub(super) async fn stored(redis: &Redis) -> String {
    let Reply::Array(keys) = redis.command(&["KEYS", "*"]).await.expect("it answers") else {
        panic!("KEYS answers with an array")
    };
    let mut all = String::new();
    for name in keys.iter().filter_map(Reply::text) {
        let value = redis.command(&["GET", &name]).await.ok().and_then(|value| value.text());
        all.extend([&*name, " ", value.as_deref().unwrap_or_default(), "\n"]);
    }
    all
}
