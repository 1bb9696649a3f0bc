//! The servers and the table that all measurements use.

use std::time::Duration;

use tokio_postgres::Client as Session;
use transom_tests::bench::Client;
use transom_tests::{Database, Lease, NodeBuilder, NodeProcess, Postgres, Redis};

/// A Postgres, a Redis and nodes around them.
pub(super) struct World {
    pub(super) nodes: Vec<NodeProcess>,
    pub(super) database: Database,
    pub(super) redis: Redis,
    _postgres: Postgres,
}

impl World {
    /// Starts everything. The table `item` has rows 1 to `rows`.
    pub(super) async fn start(rows: u64, nodes: usize) -> Self {
        let postgres = Postgres::own().await;
        let database = postgres.database().await;
        database
            .execute(&format!(
                "create table item (id int primary key, version bigint not null default 0, pad text not null);
                 insert into item select id, 0, repeat('x', 100) from generate_series(1, {rows}) as id;
                 grant select, update on item to web_anon"
            ))
            .await;
        database.execute("vacuum analyze item").await;
        let redis = Redis::start().await;
        let mut world = Self { nodes: Vec::new(), database, redis, _postgres: postgres };
        for _ in 0..nodes {
            let node = world.node().start_process().await;
            world.nodes.push(node);
        }
        for node in &world.nodes {
            node.until_lease(Lease::Held).await;
        }
        world
    }

    /// A node in this world.
    pub(super) fn node(&self) -> NodeBuilder {
        NodeBuilder::on(&self.database)
            .redis(&self.redis)
            .unset("redis_timeout")
            .set("feed", "logical")
            .set("ttl_jitter", "0%")
    }

    /// A connection to each node.
    pub(super) fn clients(&self) -> Vec<Client> {
        self.nodes.iter().map(|node| Client::to(node.port())).collect()
    }

    /// A session in the database, past the proxy.
    pub(super) async fn session(&self) -> Session {
        self.database.client().await
    }
}

/// The target of one row's version.
pub(super) fn point(id: u64) -> String {
    format!("/rest/v1/item?select=version&id=eq.{id}")
}

/// Pause before a row that is not as it should be is asked for again. Who asks without pause takes from the nodes and the
/// servers the processor that they need, and measures that; a pause is in what is measured, half of it on average.
pub(super) const PAUSE: Duration = Duration::from_micros(500);

/// Asks until the row has this version.
pub(super) async fn until_version(client: &mut Client, id: u64, version: u64) {
    let (target, wanted) = (point(id), format!("[{{\"version\":{version}}}]"));
    while client.get(&target).await.body != wanted {
        pause().await;
    }
}

/// The runtime's own timer counts milliseconds.
async fn pause() {
    let slept = tokio::task::spawn_blocking(|| std::thread::sleep(PAUSE)).await;
    slept.expect("it sleeps, and nothing else");
}

/// Asks until the answer is stored and fresh.
pub(super) async fn until_hit(client: &mut Client, id: u64) {
    let target = point(id);
    loop {
        let answer = client.get(&target).await;
        if is_hit(&answer) {
            return;
        }
    }
}

/// Whether an answer came from the cache.
pub(super) fn is_hit(answer: &transom_tests::bench::Answer) -> bool {
    answer.header("cache-status").starts_with("transom; hit")
}
