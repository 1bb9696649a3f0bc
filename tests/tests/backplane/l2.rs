//! L2: what a node may take from there, and what it asks for at all.

use cache_core::coherence::Kind;
use cache_core::outcome::TierResult;
use cache_core::template::Template;
use transom_tests::{Redis, Reply, eventually};

use super::{NOISE, Node, REDIS_TIMEOUT, SOON, key};

#[tokio::test]
async fn what_a_peer_filled_is_promoted() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    assert_eq!(nodes[1].l2("row").await, Err(TierResult::Absent));
    assert_eq!(nodes[1].l1("row"), None);
    nodes[0].share(&nodes[1], "row", "value").await;
    assert_eq!(nodes[1].l1("row").as_deref(), Some("value"));
}

#[tokio::test]
async fn what_another_release_stored_is_absent() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    nodes[0].share(&nodes[1], "row", "value").await;
    let name = format!("transom:test:e:{{{:032x}}}", key("row").digest());
    // The version follows the magic of four bytes.
    redis.command(&["SETRANGE", &name, "4", "\u{63}"]).await.unwrap();
    assert_eq!(nodes[2].l2("row").await, Err(TierResult::Absent));
    redis.command(&["SET", &name, "TRNS and no entry"]).await.unwrap();
    assert_eq!(nodes[2].l2("row").await, Err(TierResult::Absent));
}

/// How often something was looked for in vain: only lookups of absent entries do that, the scripts find what they seek.
async fn misses(redis: &Redis) -> u64 {
    let info = redis.command(&["INFO", "stats"]).await.unwrap().text().unwrap();
    info.lines().find_map(|line| line.strip_prefix("keyspace_misses:")).unwrap().parse().unwrap()
}

/// A stalled Redis costs one timeout, and no more commands until it answers a probe.
#[tokio::test]
async fn a_breaker_spares_the_second_timeout() {
    let redis = Redis::start().await;
    let node = Node::waiting(&redis.url(), REDIS_TIMEOUT).await;
    // The scripts look for templates, and there are some.
    eventually("a template", SOON, async || node.cache.register(&[Template::named("t(a)")]).await).await;
    node.l2("row").await.unwrap_err();
    let before = misses(&redis).await;
    redis.pause();
    let began = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(node.l2("row").await, Err(TierResult::Unavailable));
    }
    let took = began.elapsed();
    assert!(took < REDIS_TIMEOUT + NOISE, "200 lookups waited {took:?} together");
    assert_eq!(node.cache.l2_available(), Some(false));
    redis.resume();
    let sent = misses(&redis).await - before;
    assert!(sent <= 1, "{sent} lookups were sent in vain");
    eventually("the breaker closes", SOON, async || node.cache.l2_available() == Some(true)).await;
    node.leased().await;
    assert_eq!(node.l2("row").await, Err(TierResult::Absent));
}

/// The entry is there and Redis would answer, but the node could not announce a write that the entry may not show.
#[tokio::test]
async fn a_node_that_owes_an_announcement_takes_nothing_from_l2() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    nodes[0].share(&nodes[1], "row", "old").await;
    // Scripts fail, everything else works.
    redis.command(&["ACL", "SETUSER", "default", "-evalsha", "-eval"]).await.unwrap();
    nodes[1].announce("row", Kind::Change).await.unwrap_err();
    assert!(nodes[1].cache.owes());
    assert_eq!(nodes[1].l1("row"), None);
    assert_eq!(nodes[1].l2("row").await, Err(TierResult::Unavailable));
    redis.command(&["ACL", "SETUSER", "default", "+@all"]).await.unwrap();
    eventually("the debt is paid", SOON, async || !nodes[1].cache.owes()).await;
    eventually("the peer heard", SOON, async || nodes[0].l1("row").is_none()).await;
    nodes[1].leased().await;
    assert!(matches!(nodes[1].l2("row").await, Err(TierResult::Incoherent | TierResult::Unavailable)));
    let reply = redis.command(&["PING"]).await.unwrap();
    assert_eq!(reply, Reply::Simple("PONG".to_owned()));
}
