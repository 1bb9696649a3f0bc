//! The leader goes away under load: readers are judged against a writer who knows nothing of the proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use transom_tests::{Database, Http, Judge, Lease, Postgres, Redis, Signal, eventually};

use super::{MAX_STALENESS, NOISE, UNITED, epoch, fed, leaders, nodes, until_hit};

/// Reads on three nodes while SQL writes past them; judged.
pub(super) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
pub(super) struct Shared {
    judge: Judge,
    stop: AtomicBool,
    reads: AtomicUsize,
    pub(super) hits: AtomicUsize,
    problems: std::sync::Mutex<Vec<String>>,
}

const ROW: &str = "/counters?id=eq.1";

impl Load {
    pub(super) async fn start(database: &Database, nodes: &[&Http]) -> Self {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for node in nodes {
            tasks.spawn(read((*node).clone(), shared.clone()));
        }
        let client = database.client().await;
        let load = shared.clone();
        tasks.spawn(async move {
            while !load.stop.load(Relaxed) {
                let sql = format!("update counters set version = {} where id = 1", load.judge.next_version());
                client.batch_execute(&sql).await.expect("postgres runs");
                load.judge.acknowledged();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { shared, tasks }
    }

    /// Ends the load; nobody got an answer that was too old.
    pub(super) async fn stop(mut self) -> Arc<Shared> {
        self.shared.stop.store(true, Relaxed);
        while let Some(end) = self.tasks.join_next().await {
            end.expect("a client panicked");
        }
        let problems = self.shared.problems.lock().expect("clients are done").clone();
        assert!(problems.is_empty(), "{} problems: {:#?}", problems.len(), &problems[..problems.len().min(5)]);
        self.shared
    }

    pub(super) async fn goes_on(&self) {
        let mark = (self.shared.reads.load(Relaxed), self.shared.judge.next_version());
        eventually("the load goes on", Duration::from_secs(10), async || {
            self.shared.reads.load(Relaxed) > mark.0 + 60 && self.shared.judge.next_version() > mark.1 + 10
        })
        .await;
    }
}

async fn read(http: Http, load: Arc<Shared>) {
    while !load.stop.load(Relaxed) {
        let asked_at = Instant::now();
        // A node that was killed does not answer.
        let Ok(answer) = http.get(ROW).try_send().await else { return };
        let version = answer.json()[0]["version"].as_u64().and_then(|version| usize::try_from(version).ok());
        let Some(version) = version else {
            return load.problems.lock().expect("nobody panics").push(format!("{} {}", answer.status, answer.text()));
        };
        let staleness = load.judge.staleness(version, asked_at);
        if staleness > MAX_STALENESS + NOISE {
            let status = answer.header("cache-status");
            load.problems.lock().expect("nobody panics").push(format!("{version}: {staleness:?} too late as {status}"));
        }
        load.reads.fetch_add(1, Relaxed);
        load.hits.fetch_add(usize::from(answer.is_hit()), Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A database with the row that the writer counts up.
async fn with_counters() -> Database {
    let database = Postgres::shared().await.database().await;
    add_counters(&database).await;
    database
}

pub(super) async fn add_counters(database: &Database) {
    database
        .execute(
            "create table counters (id int primary key, version int not null); insert into counters values (1, 0);
             grant select on counters to web_anon",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_is_followed_within_three_seconds() {
    let database = with_counters().await;
    let redis = Redis::start().await;
    let builder = fed(&database).redis(&redis);
    let mut leader = builder.start_process().await;
    until_hit(leader.rest(), UNITED).await;
    let followers = nodes(&builder, 2).await;
    assert_eq!(leaders(&followers).await, [0; 0], "the first node leads");
    let before = epoch(&followers[0]).await;
    let load = Load::start(&database, &[leader.rest(), followers[0].rest(), followers[1].rest()]).await;
    load.goes_on().await;
    leader.process().signal(Signal::Kill);
    let killed = Instant::now();
    eventually("a follower leads", Duration::from_secs(3), async || leaders(&followers).await.len() == 1).await;
    for node in &followers {
        until_hit(node.rest(), UNITED).await;
    }
    assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
    load.goes_on().await;
    assert_eq!(epoch(&followers[0]).await, before, "a hand-over keeps what is cached");
    assert!(load.stop().await.hits.load(Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_frozen_is_followed_when_the_server_gives_it_up() {
    let database = with_counters().await;
    let redis = Redis::start().await;
    let builder = fed(&database).redis(&redis);
    let mut leader = builder.start_process().await;
    until_hit(leader.rest(), UNITED).await;
    let followers = nodes(&builder, 2).await;
    let load = Load::start(&database, &[followers[0].rest(), followers[1].rest()]).await;
    load.goes_on().await;
    leader.process().signal(Signal::Stop);
    eventually("a follower leads", Duration::from_secs(10), async || leaders(&followers).await.len() == 1).await;
    load.goes_on().await;
    // It wakes up in the belief that it leads, with heartbeats from before in its hands.
    leader.process().signal(Signal::Cont);
    load.goes_on().await;
    for node in &followers {
        node.until_lease(Lease::Held).await;
    }
    load.goes_on().await;
    assert!(load.stop().await.hits.load(Relaxed) > 0);
}
