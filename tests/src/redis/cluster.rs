//! A Redis Cluster: masters and one replica each, as `redis-cli --cluster create` makes them.

use std::time::Duration;

use super::{Redis, RedisBuilder, redis_cli};
use crate::{Reply, eventually};

const FORMED_WITHIN: Duration = Duration::from_secs(40);

/// Three masters with a replica each.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts six servers and lets them find each other.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            let settings = RedisBuilder::default()
                .set("cluster-enabled", "yes")
                .set("cluster-config-file", "nodes.conf")
                .set("cluster-node-timeout", 2_000)
                // The bus would listen on the port and 10 000 more, which may be beyond the end.
                .set("cluster-port", crate::free_port());
            nodes.push(settings.start().await);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let mut words = vec!["--cluster", "create"];
        words.extend(addresses.iter().map(String::as_str));
        words.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        redis_cli(&words).await;
        let cluster = Self { nodes };
        for node in &cluster.nodes {
            eventually("the cluster is formed", FORMED_WITHIN, async || {
                let info = node.command(&["CLUSTER", "INFO"]).await.ok()?.text()?;
                info.contains("cluster_state:ok").then_some(())
            })
            .await;
        }
        for node in &cluster.nodes {
            eventually("every replica follows its master", FORMED_WITHIN, async || {
                let info = node.command(&["INFO", "replication"]).await.ok()?.text()?;
                (info.contains("role:master") || info.contains("master_link_status:up")).then_some(())
            })
            .await;
        }
        cluster
    }

    /// For `REDIS_URL`: one node is enough to find the others.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.nodes[0].port())
    }

    /// Makes the replica of the master that holds this key the master, and waits until it is.
    ///
    /// # Panics
    /// If the cluster does not know who that is.
    pub async fn fail_over(&self, key: &str) {
        let Ok(Reply::Integer(slot)) = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).await else {
            panic!("the cluster knows the slot of every key")
        };
        let nodes = self.nodes[0].command(&["CLUSTER", "NODES"]).await.ok().and_then(|reply| reply.text());
        let nodes = nodes.expect("a node lists its peers");
        let lines: Vec<Vec<&str>> = nodes.lines().map(|line| line.split(' ').collect()).collect();
        let master =
            lines.iter().find(|words| words[8..].iter().any(|range| holds(range, slot))).expect("one holds it");
        let replica = lines.iter().find(|words| words[3] == master[0]).expect("every master has a replica");
        let port = replica[1].split(['@', ',']).next().and_then(|address| address.rsplit(':').next());
        let replica =
            self.nodes.iter().find(|node| Some(node.port().to_string().as_str()) == port).expect("one of ours");
        replica.command(&["CLUSTER", "FAILOVER"]).await.expect("a replica takes over when told");
        eventually("the replica is master", FORMED_WITHIN, async || {
            replica.command(&["INFO", "replication"]).await.ok()?.text()?.contains("role:master").then_some(())
        })
        .await;
    }
}

fn holds(range: &str, slot: i64) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    matches!((first.parse::<i64>(), last.parse::<i64>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
}
