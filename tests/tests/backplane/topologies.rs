//! The same cache over Redis Cluster and behind Sentinel, before and after a failover.

use std::time::{Duration, Instant};

use transom_tests::{RedisCluster, RedisSentinel, eventually};

use super::{Node, works};

/// A failover takes its time: the old master must let go, and clients must find the new one.
const FAILED_OVER: Duration = Duration::from_secs(30);

async fn two(url: &str) -> [Node; 2] {
    [Node::start(url).await, Node::start(url).await]
}

async fn moves_on(nodes: &[Node; 2], epoch: u64) {
    let began = Instant::now();
    for node in nodes {
        eventually("a new epoch after the failover", FAILED_OVER, async || node.epoch() != epoch && node.holds_lease())
            .await;
    }
    println!("in step again {:?} after the failover", began.elapsed());
    assert_eq!(nodes[0].l1("kept"), None, "an entry outlived its epoch");
    works(nodes, "after").await;
}

#[tokio::test]
async fn a_cluster_works_and_fails_over() {
    let cluster = RedisCluster::start().await;
    let nodes = two(&cluster.url()).await;
    // Several names, so that entries lie on several masters.
    for row in 0..8 {
        works(&nodes, &format!("row {row}")).await;
    }
    nodes[0].fill("kept", "value");
    let epoch = nodes[0].epoch();
    cluster.fail_over("{transom:test}:history").await;
    moves_on(&nodes, epoch).await;
}

async fn behind_sentinel(sentinel: &RedisSentinel) -> ([Node; 2], u64) {
    let nodes = two(&sentinel.url()).await;
    works(&nodes, "row").await;
    nodes[0].fill("kept", "value");
    let epoch = nodes[0].epoch();
    (nodes, epoch)
}

/// The Sentinel tells the old master only after some seconds, and until then everybody who is connected stays there: see
/// `min-replicas-to-write`, without which a node that connects meanwhile would follow another history.
#[tokio::test]
async fn a_sentinel_leads_to_the_master_and_to_the_next_one() {
    let mut sentinel = RedisSentinel::start().await;
    let (nodes, epoch) = behind_sentinel(&sentinel).await;
    sentinel.fail_over().await;
    moves_on(&nodes, epoch).await;
}

#[tokio::test]
async fn a_sentinel_replaces_a_dead_master() {
    let mut sentinel = RedisSentinel::start().await;
    let (nodes, epoch) = behind_sentinel(&sentinel).await;
    sentinel.crash_master().await;
    moves_on(&nodes, epoch).await;
}
