//! Parts of the pillar fail under load: what do clients see?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use transom_tests::{Database, Http, Judge, Lease, Node, NodeBuilder, Postgres, Redis, eventually};

const MAX_STALENESS: Duration = Duration::from_secs(1);
/// What the machine may add between the moment a reader's clock starts and the node's decision: a noisy neighbor.
const NOISE: Duration = Duration::from_millis(250);
const ROW: &str = "/counters?id=eq.1";

/// Three nodes around one Redis, and a row that is written all the time.
struct Scene {
    /// kept until the nodes are gone
    _database: Database,
    redis: Redis,
    nodes: Vec<Node>,
}

impl Scene {
    async fn open() -> Self {
        let database = Postgres::shared().await.database().await;
        let table =
            "create table counters (id int primary key, version int not null); insert into counters values (1, 0);
                     grant select, update on counters to web_anon";
        database.execute(table).await;
        let redis = Redis::start().await;
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let node = NodeBuilder::on(&database).redis(&redis).unset("redis_timeout").start().await;
            node.until_lease(Lease::Held).await;
            nodes.push(node);
        }
        Self { _database: database, redis, nodes }
    }

    /// Readers on every node and a writer on the last, until [`Load::stop`].
    fn load(&self) -> Load {
        let load = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for node in &self.nodes {
            tasks.spawn(read(node.rest().clone(), load.clone()));
            tasks.spawn(read(node.rest().clone(), load.clone()));
        }
        tasks.spawn(write(self.nodes[2].rest().clone(), load.clone()));
        Load { shared: load, tasks }
    }

    /// Waits until a row that nobody writes is answered from L1 by every node again.
    async fn until_hits(&self) {
        for node in &self.nodes {
            eventually("a quiet row is hit in l1", Duration::from_secs(10), async || {
                let read = node.rest().get("/airlines?carrier=eq.UA").send().await;
                read.header("cache-status").contains("hit; detail=l1")
            })
            .await;
        }
    }
}

#[derive(Default)]
struct Shared {
    judge: Judge,
    stop: AtomicBool,
    reads: AtomicUsize,
    hits: AtomicUsize,
    slow: AtomicUsize,
    problems: std::sync::Mutex<Vec<String>>,
}

struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Ends the load and checks that nobody got an error or a stale answer.
    async fn stop(mut self) -> Arc<Shared> {
        self.shared.stop.store(true, Relaxed);
        while let Some(end) = self.tasks.join_next().await {
            end.expect("a client panicked");
        }
        let problems = self.shared.problems.lock().expect("clients are done").clone();
        assert!(
            problems.is_empty(),
            "{} problems, the first: {:#?}",
            problems.len(),
            &problems[..problems.len().min(5)]
        );
        self.shared
    }

    fn mark(&self) -> (usize, usize) {
        (self.shared.reads.load(Relaxed), self.shared.judge.next_version())
    }

    /// Waits until every client has done some work since `mark`.
    async fn progress_since(&self, mark: (usize, usize)) {
        eventually("the load goes on", Duration::from_secs(10), async || {
            let (reads, version) = self.mark();
            reads > mark.0 + 60 && version > mark.1 + 5
        })
        .await;
    }
}

impl Shared {
    fn problem(&self, problem: String) {
        self.problems.lock().expect("nobody panics holding this").push(problem);
    }
}

async fn read(http: Http, load: Arc<Shared>) {
    while !load.stop.load(Relaxed) {
        let asked_at = Instant::now();
        let answer = match http.get(ROW).try_send().await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return load.problem(format!("read: {} {}", answer.status, answer.text())),
            Err(error) => return load.problem(format!("read: {error}")),
        };
        if asked_at.elapsed() > Duration::from_secs(1) {
            load.slow.fetch_add(1, Relaxed);
        }
        let version = answer.json()[0]["version"].as_u64().and_then(|version| usize::try_from(version).ok());
        let Some(version) = version else { return load.problem(format!("read: {}", answer.text())) };
        let status = answer.header("cache-status").to_owned();
        let staleness = load.judge.staleness(version, asked_at);
        if staleness > MAX_STALENESS + NOISE && !status.contains("stale-") {
            load.problem(format!("version {version} served {staleness:?} too late as {status}"));
        }
        load.reads.fetch_add(1, Relaxed);
        load.hits.fetch_add(usize::from(status.contains("; hit;")), Relaxed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn write(http: Http, load: Arc<Shared>) {
    while !load.stop.load(Relaxed) {
        let version = load.judge.next_version();
        match http.patch(ROW, &json!({ "version": version })).try_send().await {
            Ok(answer) if answer.status == 204 => load.judge.acknowledged(),
            Ok(answer) => return load.problem(format!("write: {} {}", answer.status, answer.text())),
            Err(error) => return load.problem(format!("write: {error}")),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_and_restarted_empty_under_load() {
    let mut scene = Scene::open().await;
    let load = scene.load();
    load.progress_since(load.mark()).await;
    scene.redis.kill();
    let killed = Instant::now();
    for node in &scene.nodes {
        node.until_lease(Lease::Lapsed).await;
    }
    load.progress_since(load.mark()).await;
    // The fault lasts longer than the bound: an answer from before it would be noticed.
    tokio::time::sleep((MAX_STALENESS * 3).saturating_sub(killed.elapsed())).await;
    scene.redis.restart_empty().await;
    for node in &scene.nodes {
        node.until_lease(Lease::Held).await;
    }
    load.progress_since(load.mark()).await;
    scene.until_hits().await;
    let shared = load.stop().await;
    assert!(shared.hits.load(Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stopped_for_three_seconds_under_load() {
    let scene = Scene::open().await;
    let load = scene.load();
    load.progress_since(load.mark()).await;
    scene.redis.pause();
    let paused = Instant::now();
    for node in &scene.nodes {
        node.until_lease(Lease::Lapsed).await;
    }
    load.progress_since(load.mark()).await;
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(paused.elapsed())).await;
    scene.redis.resume();
    for node in &scene.nodes {
        node.until_lease(Lease::Held).await;
    }
    load.progress_since(load.mark()).await;
    scene.until_hits().await;
    let shared = load.stop().await;
    // Were a request to wait for Redis, it would wait for most of three seconds.
    assert_eq!(shared.slow.load(Relaxed), 0, "requests waited for a stopped redis");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_cut_off_while_writes_go_on() {
    let scene = Scene::open().await;
    let load = scene.load();
    for _ in 0..10 {
        load.progress_since(load.mark()).await;
        scene.redis.kill_pubsub_clients().await;
    }
    load.progress_since(load.mark()).await;
    let mut resyncs = 0.0;
    for node in &scene.nodes {
        for reason in ["gap", "reconnect", "behind"] {
            resyncs += node.metric(&format!("transom_resyncs_total{{reason=\"{reason}\"}}")).await;
        }
    }
    assert!(resyncs >= 3.0, "no node noticed: {resyncs} resyncs");
    scene.until_hits().await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_down_and_back() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let known = node.rest().get("/airlines?carrier=eq.UA").send().await;
    let written = node.rest().patch("/planes?tailnum=eq.N10156", &json!({ "seats": 56 })).send().await;
    let token = written.expect_status(204).header("transom-token").to_owned();

    postgres.stop().await;
    let asked_at = Instant::now();
    let fresh = node.rest().get("/airlines?carrier=eq.UA").send().await;
    assert!(fresh.header("cache-status").contains("hit; detail=l1"), "coherent entries stay fresh: {fresh:?}");
    let stale = node.rest().get("/airlines?carrier=eq.UA").header("cache-control", "no-cache").send().await;
    assert!(stale.header("cache-status").contains("detail=stale-if-error"), "{stale:?}");
    assert_eq!(stale.text(), known.text());
    let unknown = node.rest().get("/airlines?carrier=eq.AA").send().await;
    assert_eq!((unknown.status, unknown.header("retry-after")), (503, "1"));
    assert_eq!(unknown.json()["code"], "PGRST001");
    assert!(unknown.header("cache-status").contains("detail=origin-unreachable"), "{unknown:?}");
    let with_token = node.rest().get("/planes?tailnum=eq.N10156").header("transom-min-token", &token).send().await;
    assert_eq!(with_token.status, 503, "a reader with a token gets no answer rather than an old one");
    let write = node.rest().patch("/planes?tailnum=eq.N10156", &json!({ "seats": 57 })).send().await;
    assert_eq!((write.status, write.header("retry-after")), (503, "1"));
    assert!(asked_at.elapsed() < Duration::from_secs(5), "nobody waits for a postgres that is down");

    postgres.start().await;
    eventually("the node recovers by itself", Duration::from_secs(10), async || {
        node.rest().get("/airlines?carrier=eq.AA").send().await.status == 200
    })
    .await;
    node.rest().patch("/planes?tailnum=eq.N10156", &json!({ "seats": 57 })).send().await.expect_status(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_crashes_under_load_and_every_connection_is_replaced() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let busy = (1..30).map(|id| node.rest().get(&format!("/flights?id=eq.{id}")).send());
    futures_util::future::join_all(busy).await;
    postgres.crash().await;
    postgres.start().await;
    // Not one of the connections in the pool is alive any more.
    eventually("all reads succeed again", Duration::from_secs(10), async || {
        let reads = (100..130).map(|id| node.rest().get(&format!("/flights?id=eq.{id}")).send());
        futures_util::future::join_all(reads).await.iter().all(|read| read.status == 200)
    })
    .await;
}

#[tokio::test]
async fn a_node_starts_without_redis_and_joins_when_it_appears() {
    let database = Postgres::shared().await.database().await;
    let mut redis = Redis::start().await;
    redis.kill();
    let node = NodeBuilder::on(&database).redis(&redis).unset("redis_timeout").start().await;
    eventually("its own young fills count", Duration::from_secs(10), async || {
        let read = node.rest().get("/airlines?carrier=eq.UA").send().await.expect_status(200);
        read.header("cache-status").contains("hit; detail=l1")
    })
    .await;
    assert_eq!(node.metric("transom_lease_held").await, 0.0);
    node.rest().patch("/airlines?carrier=eq.UA", &json!({ "name": "Untied" })).send().await.expect_status(204);
    let read = node.rest().get("/airlines?carrier=eq.UA").send().await;
    assert_eq!(read.json()[0]["name"], "Untied", "who writes here reads here, with or without redis");
    redis.restart_empty().await;
    node.until_lease(Lease::Held).await;
    eventually("hits again", Duration::from_secs(5), async || {
        node.rest().get("/airlines?carrier=eq.UA").send().await.header("cache-status").contains("hit;")
    })
    .await;
}
