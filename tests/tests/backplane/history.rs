//! Redis forgets: everything, a part, or the last moments.

use std::io;
use std::time::Duration;

use cache_core::coherence::Kind;
use transom_tests::{Redis, Reply, eventually};

use super::{Node, SOON, works};

macro_rules! script {
    ($($name:literal),+) => {
        concat!($(include_str!(concat!("../../../cache-core/src/backplane/scripts/", $name, ".lua"))),+)
    };
}

const ANNOUNCE: &str = script!("history", "announce");
pub(super) const POLL: &str = script!("history", "position", "poll");

/// Runs a script by hand, as a node with so many slots would.
pub(super) async fn eval(redis: &Redis, script: &str, slots: u32, args: &[&str]) -> io::Result<Reply> {
    let (epoch, slots) = (format!("{:016x}", rand::random::<u64>()), slots.to_string());
    let keys = ["history", "table", "feed", "templates"].map(|key| format!("{{transom:test}}:{key}"));
    let mut words = vec!["EVAL", script, "4"];
    words.extend(keys.iter().map(String::as_str));
    words.extend([&*epoch, &*slots]);
    words.extend(args);
    redis.command(&words).await
}

async fn announce(redis: &Redis) -> (String, i64) {
    match eval(redis, ANNOUNCE, 1_024, &["c", "\0\0\0\0\u{3}\0\0\0", "4", "channel", "", ""]).await.unwrap() {
        Reply::Array(answer) => match &answer[..] {
            [epoch, Reply::Integer(seq)] => (epoch.text().unwrap(), *seq),
            other => panic!("announce answered {other:?}"),
        },
        other => panic!("announce answered {other:?}"),
    }
}

/// Found by the simulator: after a restart from an older copy, the first announcement took a number that the nodes had
/// seen already. Peers took it for a repetition, and its own node went on serving what the write had changed.
#[tokio::test]
async fn an_announcement_after_a_fall_takes_no_number_twice() {
    let mut redis = Redis::start().await;
    let (epoch, _) = announce(&redis).await;
    redis.command(&["SAVE"]).await.unwrap();
    assert_eq!(announce(&redis).await, (epoch.clone(), 2));
    redis.kill();
    redis.restart().await;
    let (after, seq) = announce(&redis).await;
    assert_ne!(after, epoch, "number {seq} names two announcements");
    assert_eq!(announce(&redis).await, (after, seq + 1));
}

async fn trusted(redis: &Redis, lapse_ms: &str) -> bool {
    match eval(redis, POLL, 1_024, &["", "0", lapse_ms, ""]).await.unwrap() {
        Reply::Array(answer) => answer[3] == Reply::Integer(1),
        other => panic!("poll answered {other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_trusted_for_a_while_after_nobody_polled_for_a_while() {
    let redis = Redis::start().await;
    let lapse = "2000";
    assert!(trusted(&redis, lapse).await);
    assert!(trusted(&redis, lapse).await);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert!(!trusted(&redis, lapse).await);
    assert!(!trusted(&redis, lapse).await);
    eventually("the quiet ends", SOON, async || trusted(&redis, lapse).await).await;
}

/// Every node moves to a new epoch, and then all is as before.
async fn begins_anew(nodes: &[Node; 3], epoch: u64) {
    for node in nodes {
        eventually("a new epoch", SOON, async || node.epoch() != epoch && node.holds_lease()).await;
        assert_eq!(node.l1("kept"), None, "an entry outlived its epoch");
    }
    assert!(nodes.iter().all(|node| node.epoch() == nodes[0].epoch()));
    works(nodes, "after").await;
}

async fn with_an_entry(redis: &Redis) -> ([Node; 3], u64) {
    let nodes = Node::three(redis).await;
    works(&nodes, "before").await;
    for node in &nodes {
        node.fill("kept", "value");
        assert!(node.l1("kept").is_some());
    }
    let epoch = nodes[0].epoch();
    (nodes, epoch)
}

#[tokio::test]
async fn a_redis_that_restarts_empty_begins_a_new_epoch() {
    let mut redis = Redis::start().await;
    let (nodes, epoch) = with_an_entry(&redis).await;
    redis.restart_empty().await;
    begins_anew(&nodes, epoch).await;
}

#[tokio::test]
async fn a_redis_that_restarts_with_older_data_begins_a_new_epoch() {
    let mut redis = Redis::start().await;
    let (nodes, epoch) = with_an_entry(&redis).await;
    redis.command(&["SAVE"]).await.unwrap();
    nodes[0].announce("lost", Kind::Change).await.unwrap();
    redis.kill();
    redis.restart().await;
    begins_anew(&nodes, epoch).await;
}

#[tokio::test]
async fn a_flushed_redis_begins_a_new_epoch() {
    let redis = Redis::start().await;
    let (nodes, epoch) = with_an_entry(&redis).await;
    redis.command(&["FLUSHALL"]).await.unwrap();
    begins_anew(&nodes, epoch).await;
}

#[tokio::test]
async fn either_key_alone_is_no_history() {
    let redis = Redis::start().await;
    let (nodes, epoch) = with_an_entry(&redis).await;
    redis.command(&["DEL", "{transom:test}:table"]).await.unwrap();
    begins_anew(&nodes, epoch).await;
    let epoch = nodes[0].epoch();
    redis.command(&["DEL", "{transom:test}:history"]).await.unwrap();
    begins_anew(&nodes, epoch).await;
}
