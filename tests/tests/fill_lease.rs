//! C7 across nodes: however many ask for a key on however many nodes, Postgres is asked once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use transom_tests::{Database, Lease, Node, NodeBuilder, Postgres, Redis, Reply, Response, eventually};

const UNITED: &str = "/airlines?carrier=eq.UA";
const SOON: Duration = Duration::from_secs(10);

/// A busy machine gets the time it needs: a Redis that is late would be a Redis that is away.
fn patient(database: &Database, redis: &Redis) -> NodeBuilder {
    let settings = [
        ("redis_timeout", "5s"),
        ("max_staleness", "20s"),
        ("fill_lease_for", "8s"),
        ("collapse_leader_max", "10s"),
        ("collapse_wait_max", "10s"),
    ];
    settings.into_iter().fold(NodeBuilder::on(database).redis(redis), |builder, (name, value)| builder.set(name, value))
}

async fn three(builder: &NodeBuilder) -> [Node; 3] {
    let nodes = [builder.start().await, builder.start().await, builder.start().await];
    for node in &nodes {
        node.until_lease(Lease::Held).await;
    }
    nodes
}

/// Reads of Postgres by these nodes.
async fn reads(nodes: &[Node]) -> f64 {
    let counts = nodes.iter().map(|node| node.metric("transom_origin_duration_seconds_count{operation=\"read\"}"));
    join_all(counts).await.iter().sum()
}

async fn leases(nodes: &[Node], result: &str) -> f64 {
    let series = format!("transom_fill_lease_total{{result=\"{result}\"}}");
    join_all(nodes.iter().map(|node| node.metric(&series))).await.iter().sum()
}

/// Makes reads of a table wait until the session is dropped.
async fn locked(database: &Database, table: &str) -> tokio_postgres::Client {
    let session = database.client().await;
    session.batch_execute(&format!("begin; lock table {table} in access exclusive mode")).await.expect("it is a table");
    session
}

async fn until_locks(database: &Database, count: usize) {
    eventually(&format!("{count} reads wait"), SOON, async || {
        let waiting = database.waiting_for_locks().await;
        if waiting == count { Ok(()) } else { Err(format!("{waiting} wait")) }
    })
    .await;
}

/// Until a fill of this node waits for a peer's.
async fn until_waits(node: &Node) {
    eventually("it waits for a peer", SOON, async || node.metric("transom_fill_lease_waiting").await > 0.0).await;
}

fn spawn_get(node: &Node, target: &'static str) -> tokio::task::JoinHandle<Response> {
    tokio::spawn(node.rest().get(target).send())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_misses_of_one_key_on_three_nodes_cost_one_query() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let nodes = three(&patient(&database, &redis)).await;
    let asked = (0..1_000).map(|number| nodes[number % 3].rest().get(UNITED).send());
    let answers = join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == answers[0].text()));
    assert_eq!(reads(&nodes).await, 1.0);
    assert_eq!(database.calls("%airlines%").await, 1, "and Postgres says the same");
    assert_eq!(leases(&nodes, "granted").await, 1.0);
}

/// A claim and a store each, but hardly ever a command of their own; and what each of them says is true of its own key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fills_that_go_on_at_the_same_time_share_commands() {
    const FILLS: u32 = 300;
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let nodes = three(&patient(&database, &redis)).await;
    let get = async |node: &Node| {
        let answers = (1..=FILLS).map(|id| node.rest().get(&format!("/flights?id=eq.{id}")).send());
        for (id, answer) in (1..=FILLS).zip(join_all(answers).await) {
            assert_eq!(answer.expect_status(200).json()[0]["id"], id);
        }
    };
    let before = redis.calls("evalsha").await;
    get(&nodes[0]).await;
    // A lease goes with the store.
    eventually("all is stored", SOON, async || match redis.command(&["KEYS", "transom:*:l:*"]).await {
        Ok(Reply::Array(names)) if names.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let sent = redis.calls("evalsha").await - before;
    assert!(sent < u64::from(FILLS), "{sent} commands for {FILLS} claims and as many stores");
    assert_eq!(leases(&nodes[..1], "granted").await, f64::from(FILLS));
    get(&nodes[1]).await;
    assert_eq!(reads(&nodes).await, f64::from(FILLS), "what one node stored the next one finds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_peer_says_so() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let nodes = three(&patient(&database, &redis)).await;
    let lock = locked(&database, "airlines").await;
    let first = spawn_get(&nodes[0], UNITED);
    until_locks(&database, 1).await;
    let second = spawn_get(&nodes[1], UNITED);
    let no_cache = tokio::spawn(nodes[2].rest().get(UNITED).header("cache-control", "no-cache").send());
    // Who must not get what was stored does not wait for it either.
    until_locks(&database, 2).await;
    until_waits(&nodes[1]).await;
    drop(lock);
    let first = first.await.expect("it answers").header("cache-status").to_owned();
    assert!(first.starts_with("transom; fwd=uri-miss; stored; ttl="), "{first}");
    let second = second.await.expect("it answers");
    let status = second.header("cache-status");
    assert!(
        status.starts_with("transom; fwd=uri-miss; collapsed; ttl=") && status.ends_with("; detail=l2"),
        "{status}"
    );
    let no_cache = no_cache.await.expect("it answers");
    assert!(no_cache.header("cache-status").contains("fwd=request"), "{no_cache:?}");
    assert_eq!(reads(&nodes).await, 2.0);
    assert_eq!(leases(&nodes, "waited-hit").await, 1.0);
    assert_eq!(nodes[1].metric("transom_requests_total{outcome=\"hit_l2\",route=\"rest\",status=\"200\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_while_it_fills_does_not_keep_the_others() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = patient(&database, &redis).set("fill_lease_for", "3s");
    let mut holder = builder.start_process().await;
    let nodes = three(&builder).await;
    let lock = locked(&database, "airlines").await;
    let abandoned = tokio::spawn(holder.rest().get(UNITED).try_send());
    until_locks(&database, 1).await;
    holder.process().signal(transom_tests::Signal::Kill);
    let asked: Vec<_> = nodes.iter().map(|node| spawn_get(node, UNITED)).collect();
    for node in &nodes {
        until_waits(node).await;
    }
    // The query of the dead one still waits for its lock.
    eventually("another node asks", SOON, async || leases(&nodes, "waited-expired").await > 0.0).await;
    drop(lock);
    for answer in asked {
        answer.await.expect("it answers").expect_status(200);
    }
    assert!(abandoned.await.expect("no panic").is_err(), "its client saw it die");
    let waited = leases(&nodes, "waited-expired").await + leases(&nodes, "waited-hit").await;
    assert_eq!(waited, 3.0, "everybody waited for the dead one or for who came after it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_during_a_fill_lets_nobody_wait_for_what_was_read_before() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let nodes = three(&patient(&database, &redis)).await;
    let lock = locked(&database, "airlines").await;
    let old = spawn_get(&nodes[0], UNITED);
    until_locks(&database, 1).await;
    let waiter = spawn_get(&nodes[1], UNITED);
    until_waits(&nodes[1]).await;
    nodes[2].admin().post("/purge", &json!({ "tables": ["airlines"] })).send().await.expect_status(200);
    // The purge says that whatever was begun before does not count any more: the waiter asks Postgres itself.
    until_locks(&database, 2).await;
    // And it has taken the lease over: a third one waits for it.
    let third = spawn_get(&nodes[2], UNITED);
    until_waits(&nodes[2]).await;
    drop(lock);
    let statuses = join_all([old, waiter, third]).await;
    let statuses: Vec<String> =
        statuses.into_iter().map(|answer| answer.expect("it answers").header("cache-status").to_owned()).collect();
    assert!(statuses[0].contains("invalidated-while-filling"), "{statuses:?}");
    assert!(statuses[1].contains("; stored"), "{statuses:?}");
    assert!(statuses[2].contains("; collapsed") && statuses[2].contains("detail=l2"), "{statuses:?}");
    assert_eq!((reads(&nodes).await, leases(&nodes, "voided").await), (2.0, 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_redis_costs_one_timeout_and_answers_are_right() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = NodeBuilder::on(&database).redis(&redis).set("redis_timeout", "200ms").set("max_staleness", "20s");
    let nodes = three(&builder).await;
    redis.pause();
    let began = Instant::now();
    for round in 1..=20 {
        let target = format!("/flights?id=eq.{round}");
        let answer = nodes[0].rest().get(&target).send().await.expect_status(200);
        assert_eq!(answer.json()[0]["id"], round);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "twenty requests took {:?}", began.elapsed());
    assert!(nodes[0].metric("transom_fill_lease_total{result=\"unavailable\"}").await >= 20.0);
    redis.resume();
    nodes[0].until_lease(Lease::Held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_too_large_to_store_is_given_by_every_node() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let nodes = three(&patient(&database, &redis).set("entry_bytes_max", "1KiB")).await;
    let began = Instant::now();
    let answers = join_all(nodes.iter().map(|node| node.rest().get("/planes?limit=200&order=tailnum").send())).await;
    for answer in answers {
        assert!(answer.expect_status(200).header("cache-status").contains("detail=too-large"));
    }
    assert!(began.elapsed() < Duration::from_secs(8), "nobody waits for a lease to expire: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_not_to_ask_its_peers_does_not() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let nodes = three(&patient(&database, &redis).set("fill_lease_for", "0s")).await;
    let lock = locked(&database, "airlines").await;
    let asked: Vec<_> = nodes.iter().map(|node| spawn_get(node, UNITED)).collect();
    until_locks(&database, 3).await;
    drop(lock);
    for answer in asked {
        answer.await.expect("it answers").expect_status(200);
    }
    assert_eq!(leases(&nodes, "granted").await, 0.0);
}

/// A key that is invalidated a hundred times a second is read on three nodes all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_changes_all_the_time_is_answered_all_the_time() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let nodes = three(&patient(&database, &redis)).await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new([(); 3].map(|()| AtomicUsize::new(0))));
    let readers = (0..3).map(|number| {
        let (http, stop, answered) = (nodes[number].rest().clone(), stop.clone(), answered.clone());
        tokio::spawn(async move {
            while !stop.load(Relaxed) {
                let herd = join_all((0..10).map(|_| http.get(UNITED).send())).await;
                assert!(herd.iter().all(|answer| answer.status == 200), "{herd:?}");
                answered[number].fetch_add(1, Relaxed);
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let name = json!({ "tables": ["airlines"], "soft": true });
    let mut due = tokio::time::interval(Duration::from_millis(10));
    let began = Instant::now();
    while answered.iter().any(|count| count.load(Relaxed) < 30) {
        due.tick().await;
        nodes[0].admin().post("/purge", &name).send().await.expect_status(200);
        assert!(began.elapsed() < Duration::from_secs(60), "no progress: {answered:?}");
    }
    stop.store(true, Relaxed);
    for reader in readers {
        reader.await.expect("a reader failed");
    }
}
