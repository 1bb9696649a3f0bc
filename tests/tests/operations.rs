//! Nodes behind HAProxy as an operator runs them: they come, drain, die, and reach their servers by way of HAProxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use transom_tests::{
    Database, HaProxy, Http, NodeBuilder, NodeProcess, Postgres, Redis, Signal, eventually, free_port,
};

const UNITED: &str = "/airlines?carrier=eq.UA";
const SOON: Duration = Duration::from_secs(10);
/// Two failed checks, two good ones, and a busy machine.
const FAILOVER: Duration = Duration::from_secs(20);
/// Between two requests of a client: the load is constant, and leaves the machine some air.
const PACE: Duration = Duration::from_millis(5);
const READERS: usize = 6;
/// Each with a row of its own, and a writer.
const CARRIERS: [&str; 3] = ["UA", "AA", "DL"];

#[tokio::test]
async fn a_draining_node_gives_notice_and_sends_its_clients_away() {
    let database = Postgres::shared().await.database().await;
    let mut node = NodeBuilder::on(&database).set("drain_notice", "2s").start_process().await;
    assert_eq!(node.rest().get(UNITED).send().await.expect_status(200).header("connection"), "");
    let mut idle = TcpStream::connect(("127.0.0.1", node.port())).await.unwrap();

    node.process().signal(Signal::Term);
    eventually("readiness drops", SOON, async || node.admin().get("/readyz").send().await.status == 503).await;
    // Known connections and new ones are served, and told to leave.
    let newcomer = Http::new(format!("http://127.0.0.1:{}/rest/v1", node.port()));
    for client in [node.rest(), &newcomer] {
        let read = client.get(UNITED).send().await.expect_status(200);
        assert_eq!(read.header("connection"), "close", "{read:?}");
        let missing = client.get("/nothing").send().await.expect_status(404);
        assert_eq!(missing.header("connection"), "close", "{missing:?}");
    }
    let written = newcomer.patch(UNITED, &json!({ "name": "Untied" })).send().await.expect_status(204);
    assert_eq!(written.header("connection"), "close");
    node.admin().get("/livez").send().await.expect_status(200);

    assert_eq!(node.process().ended(SOON).await.code(), Some(0));
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "an idle connection is closed in good order");
}

#[tokio::test]
async fn requests_in_flight_finish_before_a_node_ends() {
    let database = Postgres::shared().await.database().await;
    let latch = slow_view(&database).await;
    let mut node = NodeBuilder::on(&database).start_process().await;
    let rest = node.rest().clone();
    let slow = tokio::spawn(async move { rest.get("/slow").send().await });
    waits_for_latch(&database).await;

    node.process().signal(Signal::Term);
    eventually("nothing is accepted any more", SOON, async || {
        TcpStream::connect(("127.0.0.1", node.port())).await.is_err()
    })
    .await;
    // The drain can be watched to its end.
    node.admin().get("/livez").send().await.expect_status(200);
    node.admin().get("/readyz").send().await.expect_status(503);
    drop(latch);
    assert_eq!(slow.await.unwrap().expect_status(200).text(), r#"[{"slept":true}]"#);
    assert_eq!(node.process().ended(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn an_interrupt_gives_no_notice() {
    let database = Postgres::shared().await.database().await;
    let mut node = NodeBuilder::on(&database).set("drain_notice", "1h").start_process().await;
    node.process().signal(Signal::Int);
    assert_eq!(node.process().ended(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn a_second_interrupt_ends_a_drain() {
    let database = Postgres::shared().await.database().await;
    let mut node = NodeBuilder::on(&database).set("drain_notice", "1h").start_process().await;
    node.process().signal(Signal::Term);
    eventually("readiness drops", SOON, async || node.admin().get("/readyz").send().await.status == 503).await;
    node.process().signal(Signal::Int);
    assert_eq!(node.process().ended(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn a_node_that_waits_for_postgres_is_alive_and_ends_when_told() {
    let database = Postgres::shared().await.database().await;
    let nowhere = format!("postgres://postgres@127.0.0.1:{}/nyc", free_port());
    let builder = NodeBuilder::on(&database).set("database_url", nowhere).set("startup_retry_wait", "1h");
    let mut node = builder.spawn_process();
    eventually("it says that it waits", SOON, async || node.log().contains("trying again")).await;
    node.admin().get("/livez").send().await.expect_status(200);
    node.admin().get("/readyz").send().await.expect_status(503);
    assert_eq!(node.admin().get("/health").send().await.expect_status(200).json()["starting"], true);
    node.admin().get("/metrics").send().await.expect_status(503);
    node.admin().post("/purge", &json!({ "all": true })).send().await.expect_status(503);

    node.process().signal(Signal::Term);
    assert_eq!(node.process().ended(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn a_rolling_restart_fails_not_one_request() {
    let mut house = House::open().await;
    let load = house.load();
    for n in 0..house.nodes.len() {
        house.nodes[n].process().signal(Signal::Term);
        assert_eq!(house.nodes[n].process().ended(FAILOVER).await.code(), Some(0), "node {n}");
        load.goes_on().await;
        house.revive(n).await;
        load.goes_on().await;
    }
    let (served, failures) = load.stop().await;
    assert!(failures.is_empty(), "{} of {served}: {failures:?}", failures.len());
}

#[tokio::test]
async fn a_killed_node_costs_at_most_what_it_was_at() {
    let mut house = House::open().await;
    let load = house.load();
    for n in 0..house.nodes.len() {
        house.nodes[n].process().signal(Signal::Kill);
        house.nodes[n].process().ended(SOON).await;
        house.until(n, "DOWN").await;
        load.goes_on().await;
        house.revive(n).await;
    }
    let (served, failures) = load.stop().await;
    let (reads, writes): (Vec<_>, Vec<_>) = failures.iter().partition(|failure| failure.starts_with("GET"));
    // One per writer and node: what was on its way to a node that died cannot be sent again.
    assert!(writes.len() <= CARRIERS.len() * 3, "{} of {served}: {writes:?}", writes.len());
    // HAProxy sends reads again, except, before 2.8, those that the dead node had not taken out of its socket
    // (haproxy/haproxy#2061): there it hangs up on the client, whose part it is to repeat them (RFC 9112, 9.3.1).
    let (cut, lost): (Vec<_>, Vec<_>) = reads.into_iter().partition(|failure| failure.contains("IncompleteMessage"));
    assert!(lost.is_empty(), "{} of {served}: {lost:?}", lost.len());
    assert!(cut.len() <= READERS * 3, "{} of {served}: {cut:?}", cut.len());
}

#[tokio::test]
async fn nodes_reach_postgres_and_redis_through_the_state_pillar() {
    let postgres = Postgres::shared().await;
    let role = "do $$ begin create role haproxy login; exception when duplicate_object or unique_violation then null; \
                end $$";
    postgres.admin().await.batch_execute(role).await.unwrap();
    let (database, redis) = (postgres.database().await, Redis::start().await);
    let pillar = HaProxy::config("haproxy/state-pillar.cfg")
        .set("POSTGRES_1", format!("127.0.0.1:{}", postgres.port()))
        .set("REDIS_1", format!("127.0.0.1:{}", redis.port()))
        .listen("POSTGRES_PORT")
        .listen("REDIS_PORT")
        .listen("STATS_PORT")
        .start()
        .await;
    let builder = NodeBuilder::on(&database)
        .set("database_url", database.url_through(pillar.port("POSTGRES_PORT")))
        .set("redis_url", format!("redis://127.0.0.1:{}", pillar.port("REDIS_PORT")))
        .set("redis_timeout", "2s");
    let (one, two) = (builder.start().await, builder.start().await);
    let status = async |node: &transom_tests::Node| {
        node.rest().get(UNITED).send().await.expect_status(200).header("cache-status").to_owned()
    };
    let filled = status(&one).await;
    assert!(filled.contains("fwd=uri-miss; stored"), "{filled}");
    let hit = status(&one).await;
    assert!(hit.contains("hit; detail=l1"), "{hit}");
    eventually("the other node finds it in l2", SOON, async || {
        // A node that has just lost its lease to a busy machine does not store to l2: fill again.
        one.rest().get(UNITED).header("cache-control", "no-cache").send().await.expect_status(200);
        let read = two.rest().get(UNITED).header("cache-control", "only-if-cached").send().await;
        read.header("cache-status").contains("hit; detail=l2")
    })
    .await;
    let written = two.rest().patch(UNITED, &json!({ "name": "Untied" })).send().await.expect_status(204);
    let token = written.header("transom-token").to_owned();
    let read = one.rest().get(UNITED).header("transom-min-token", token).send().await;
    assert_eq!(read.json()[0]["name"], "Untied");
    eventually("it is seen without a token", SOON, async || {
        one.rest().get(UNITED).send().await.json()[0]["name"] == "Untied"
    })
    .await;
}

/// A view that cannot be read while the session returned here lives.
async fn slow_view(database: &Database) -> tokio_postgres::Client {
    database
        .execute(
            "create view slow as select pg_advisory_xact_lock_shared(7)::text = '' as slept;
             grant select on slow to web_anon",
        )
        .await;
    let latch = database.client().await;
    latch.batch_execute("select pg_advisory_lock(7)").await.expect("nobody else holds it");
    latch
}

async fn waits_for_latch(database: &Database) {
    let sql = "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'advisory'";
    eventually("the request is at work", SOON, async || database.value(sql).await.is_some()).await;
}

/// Three nodes as processes, and HAProxy in front of them.
struct House {
    nodes: Vec<NodeProcess>,
    builder: NodeBuilder,
    haproxy: HaProxy,
    _redis: Redis,
    _database: Database,
}

impl House {
    async fn open() -> Self {
        let database = Postgres::shared().await.database().await;
        let redis = Redis::start().await;
        // The notice is the default.
        let builder = NodeBuilder::on(&database).redis(&redis).set("drain_notice", "2s");
        let mut nodes = Vec::new();
        let mut haproxy = HaProxy::config("haproxy/proxy.cfg").listen("PROXY_PORT").listen("STATS_PORT");
        for n in 1..=3 {
            let node = builder.start_process().await;
            haproxy = haproxy
                .set(&format!("NODE_{n}"), format!("127.0.0.1:{}", node.port()))
                .set(&format!("NODE_{n}_ADMIN"), node.admin_port());
            nodes.push(node);
        }
        let house = Self { nodes, builder, haproxy: haproxy.start().await, _redis: redis, _database: database };
        for n in 0..3 {
            house.until(n, "UP").await;
        }
        house
    }

    /// Starts node `n` again where it was, and waits until HAProxy counts on it.
    async fn revive(&mut self, n: usize) {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let (listen, admin) = (address(self.nodes[n].port()), address(self.nodes[n].admin_port()));
        let builder = self.builder.clone().set("listen", listen).set("admin_listen", admin);
        self.nodes[n] = builder.start_process().await;
        self.until(n, "UP").await;
    }

    /// Waits until HAProxy sees node `n` like this.
    async fn until(&self, n: usize, state: &str) {
        let stats = Http::new(format!("http://127.0.0.1:{}", self.haproxy.port("STATS_PORT")));
        let server = format!("nodes,node{},", n + 1);
        eventually(&format!("node {n} is {state}"), FAILOVER, async || {
            let csv = stats.get("/;csv").send().await.text();
            let row = csv.lines().find(|line| line.starts_with(&server)).unwrap_or_default().to_owned();
            if row.split(',').nth(17) == Some(state) { Ok(()) } else { Err(row) }
        })
        .await;
    }

    /// Readers and writers that keep their connections, until [`Load::stop`].
    fn load(&self) -> Load {
        let base = format!("http://127.0.0.1:{}/rest/v1", self.haproxy.port("PROXY_PORT"));
        let (ended, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for n in 0..READERS {
            let client = Client { http: Http::new(&base), ended: ended.clone(), served: served.clone() };
            clients.spawn(client.read(n));
        }
        for carrier in CARRIERS {
            let client = Client { http: Http::new(&base), ended: ended.clone(), served: served.clone() };
            clients.spawn(client.write(carrier));
        }
        Load { clients, ended, served }
    }
}

struct Load {
    clients: JoinSet<Vec<String>>,
    ended: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

impl Load {
    /// Waits for a hundred more answers.
    async fn goes_on(&self) {
        let goal = self.served.load(Relaxed) + 100;
        eventually("the load goes on", SOON, async || self.served.load(Relaxed) >= goal).await;
    }

    /// How many requests were served, and what became of the others.
    async fn stop(self) -> (usize, Vec<String>) {
        self.ended.store(true, Relaxed);
        let failures = self.clients.join_all().await.concat();
        (self.served.load(Relaxed), failures)
    }
}

struct Client {
    http: Http,
    ended: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

impl Client {
    /// Reads a hundred different rows in turn, so that every node has its share of them.
    async fn read(self, from: usize) -> Vec<String> {
        let mut failures = Vec::new();
        let mut id = from * 10;
        while !self.ended.load(Relaxed) {
            id = id % 100 + 1;
            let target = format!("/flights?id=eq.{id}");
            let answer = self.http.get(&target).try_send().await;
            self.judge("GET", answer, 200, &mut failures);
            tokio::time::sleep(PACE).await;
        }
        failures
    }

    async fn write(self, carrier: &'static str) -> Vec<String> {
        let mut failures = Vec::new();
        let mut round = 0;
        while !self.ended.load(Relaxed) {
            round += 1;
            // The round is in the URL too, for HAProxy chooses the node by it.
            let target = format!("/airlines?carrier=eq.{carrier}&name=neq.{round}");
            let answer = self.http.patch(&target, &json!({ "name": round.to_string() })).try_send().await;
            self.judge("PATCH", answer, 204, &mut failures);
            tokio::time::sleep(PACE).await;
        }
        failures
    }

    fn judge(
        &self,
        method: &str,
        answer: Result<transom_tests::Response, impl std::fmt::Debug>,
        expected: u16,
        failures: &mut Vec<String>,
    ) {
        match answer {
            Ok(response) if response.status == expected => drop(self.served.fetch_add(1, Relaxed)),
            Ok(response) => failures.push(format!("{method}: {} {}", response.status, response.text())),
            Err(error) => failures.push(format!("{method}: {error:?}")),
        }
    }
}
