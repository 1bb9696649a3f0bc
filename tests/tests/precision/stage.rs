//! Nodes with a feed, a list of answers they have stored, and a judge of what a change leaves of them.

use std::time::{Duration, Instant};

use serde_json::Value;
use transom_tests::{Database, Lease, Node, NodeBuilder, Redis, eventually};

const WATERMARK: &str = "transom_coherence_watermark";
/// Milliseconds are the aim; a busy machine takes longer.
const SOON: Duration = Duration::from_secs(10);

pub(super) struct Stage<'d> {
    pub(super) nodes: Vec<Node>,
    database: &'d Database,
    targets: Vec<String>,
}

impl<'d> Stage<'d> {
    /// Nodes that know the templates of all targets, and whose leader does. `neutral` touches a row of each table that no
    /// exact target is about.
    pub(super) async fn set(
        database: &'d Database,
        redis: Option<&Redis>,
        nodes: usize,
        tables: &str,
        neutral: &str,
        targets: &[&str],
    ) -> Self {
        database.execute(tables).await;
        Self::of("logical", database, redis, nodes, neutral, targets).await
    }

    /// The same by this kind of feed, on tables that are there.
    pub(super) async fn of(
        feed: &str,
        database: &'d Database,
        redis: Option<&Redis>,
        nodes: usize,
        neutral: &str,
        targets: &[&str],
    ) -> Self {
        // A busy machine must not make a node lose its lease: what is kept has to be hit.
        let builder = NodeBuilder::on(database).set("feed", feed).set("max_staleness", "4s");
        let builder = match redis {
            Some(redis) => builder.redis(redis),
            None => builder,
        };
        let mut started = Vec::new();
        for _ in 0..nodes {
            let node = builder.start().await;
            node.until_lease(Lease::Held).await;
            started.push(node);
        }
        let targets = targets.iter().map(|target| (*target).to_owned()).collect();
        let stage = Self { nodes: started, database, targets };
        // The first change after a template was registered may count as one of the whole table.
        stage.warm().await;
        stage.commit(neutral).await;
        stage.commit(neutral).await;
        stage
    }

    /// Reads every target on every node until it is hit.
    pub(super) async fn warm(&self) {
        for node in &self.nodes {
            for target in &self.targets {
                eventually(&format!("{target} is hit"), SOON, async || {
                    let answer = node.rest().get(target).send().await.expect_status(200);
                    if answer.is_hit() { Ok(()) } else { Err(answer.header("cache-status").to_owned()) }
                })
                .await;
            }
        }
    }

    /// Commits behind the nodes' back, and returns when every node has heard of it.
    pub(super) async fn commit(&self, sql: &str) {
        self.database.execute(sql).await;
        self.heard().await;
    }

    /// Returns when every node has heard of everything that was committed: the leader of the feed got a heartbeat back that
    /// it sent since, and the others are where it is.
    pub(super) async fn heard(&self) {
        let since = Instant::now();
        let mut announced = 0.0_f64;
        for node in &self.nodes {
            if node.metric("transom_feed_leader").await == 0.0 {
                continue;
            }
            eventually("a heartbeat came back", SOON, async || {
                let passed = since.elapsed().as_secs_f64();
                let lag = node.metric("transom_feed_lag_seconds").await;
                if lag < passed { Ok(()) } else { Err(format!("the newest is {lag} seconds old")) }
            })
            .await;
            announced = announced.max(node.metric(WATERMARK).await);
        }
        assert!(announced > 0.0, "one leads");
        for node in self.nodes.iter().filter(|_| self.nodes.len() > 1) {
            eventually("it is where the leader is", SOON, async || node.metric(WATERMARK).await >= announced).await;
        }
    }

    /// Commits, and expects that exactly these targets are not fresh any more; then that every node has the truth.
    pub(super) async fn change(&self, sql: &str, gone: &[&str]) {
        assert!(gone.iter().all(|target| self.targets.iter().any(|one| one == target)), "{gone:?}");
        self.warm().await;
        self.commit(sql).await;
        for (number, node) in self.nodes.iter().enumerate() {
            for target in &self.targets {
                let answer = node.rest().get(target).send().await.expect_status(200);
                let status = answer.header("cache-status");
                if !gone.contains(&target.as_str()) {
                    assert!(answer.is_hit(), "{sql} leaves {target} alone on node {number}: {status}");
                } else if number == 0 {
                    // The others may find in L2 what the first one read.
                    assert!(status.contains("detail=incoherent"), "{sql} touches {target}: {status}");
                }
            }
        }
        self.agree().await;
    }

    /// Every node answers what Postgres does.
    pub(super) async fn agree(&self) {
        for target in &self.targets {
            let truth = self.nodes[0].rest().get(target).header("cache-control", "no-store").send().await;
            let truth = sorted(truth.expect_status(200).json());
            for node in &self.nodes {
                assert_eq!(sorted(node.rest().get(target).send().await.json()), truth, "{target}");
            }
        }
    }
}

/// What is embedded without an order comes in any.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, sorted(value))).collect(),
        other => other,
    }
}
