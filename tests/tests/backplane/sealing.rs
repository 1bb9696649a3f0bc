//! Values at rest are sealed: by whom they can be read, and that nobody can make one up, or move it.

use cache_core::outcome::{TierResult, Unreadable};
use cache_core::seal::KeyRing;
use transom_tests::{Redis, Reply};

use super::{Node, PATIENCE, key};

/// A node with these keys.
async fn node(redis: &Redis, keys: &[u8]) -> Node {
    let ring = KeyRing::new(&keys.iter().map(|key| [*key; 32]).collect::<Vec<_>>());
    let node = Node::sealing(&redis.url(), PATIENCE, ring);
    node.leased().await;
    node
}

fn name(of: &str) -> String {
    format!("transom:test:e:{{{:032x}}}", key(of).digest())
}

async fn stored(redis: &Redis, of: &str) -> Vec<u8> {
    match redis.command(&["GET", &name(of)]).await.unwrap() {
        Reply::Bulk(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

impl Node {
    fn unreadable(&self) -> Vec<Unreadable> {
        self.told.unreadable.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn what_is_stored_shows_nothing_and_peers_read_it() {
    let redis = Redis::start().await;
    let nodes = [node(&redis, &[1]).await, node(&redis, &[1]).await];
    nodes[0].share(&nodes[1], "row", "the value").await;
    let stored = stored(&redis, "row").await;
    for secret in [&b"the value"[..], b"row"] {
        assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret), "{:?}", String::from_utf8_lossy(&stored));
    }
    assert_eq!(nodes[1].unreadable(), []);
}

#[tokio::test]
async fn what_is_moved_to_another_key_does_not_open() {
    let redis = Redis::start().await;
    let nodes = [node(&redis, &[1]).await, node(&redis, &[1]).await];
    nodes[0].share(&nodes[1], "row", "of somebody else").await;
    redis.command(&["COPY", &name("row"), &name("mine")]).await.unwrap();
    assert_eq!(nodes[1].l2("mine").await, Err(TierResult::Absent));
    assert_eq!(nodes[1].unreadable(), [Unreadable::Forged]);
}

#[tokio::test]
async fn what_is_tampered_with_does_not_open() {
    let redis = Redis::start().await;
    let nodes = [node(&redis, &[1]).await, node(&redis, &[1]).await];
    nodes[0].share(&nodes[1], "row", "value").await;
    // `as_of` is in clear, for the scripts: an old value must not be made young by it.
    for at in ["24", "70"] {
        let before = stored(&redis, "row").await;
        redis.command(&["SETRANGE", &name("row"), at, "\u{1}\u{1}\u{1}\u{1}"]).await.unwrap();
        assert_ne!(stored(&redis, "row").await, before);
        assert_eq!(nodes[1].l2("row").await, Err(TierResult::Absent));
        assert_eq!(nodes[1].unreadable().last(), Some(&Unreadable::Forged));
        nodes[0].share(&nodes[1], "row", "value").await;
    }
}

#[tokio::test]
async fn keys_are_rotated_one_node_at_a_time() {
    let redis = Redis::start().await;
    let [old, both, new] = [node(&redis, &[1]).await, node(&redis, &[2, 1]).await, node(&redis, &[2]).await];
    old.share(&both, "of old", "value").await;
    assert_eq!(new.l2("of old").await, Err(TierResult::Absent));
    assert_eq!(new.unreadable(), [Unreadable::UnknownKey]);
    both.share(&new, "of both", "value").await;
    assert_eq!(old.l2("of both").await, Err(TierResult::Absent));
    assert_eq!(old.unreadable(), [Unreadable::UnknownKey]);
}

#[tokio::test]
async fn with_keys_only_what_is_sealed_is_read_and_without_only_what_is_not() {
    let redis = Redis::start().await;
    let (plain, sealed) = (node(&redis, &[]).await, node(&redis, &[1]).await);
    let peers = [node(&redis, &[]).await, node(&redis, &[1]).await];
    plain.share(&peers[0], "plain", "value").await;
    sealed.share(&peers[1], "sealed", "value").await;
    assert_eq!(peers[1].l2("plain").await, Err(TierResult::Absent));
    assert_eq!(peers[1].unreadable(), [Unreadable::Unsealed]);
    assert_eq!(peers[0].l2("sealed").await, Err(TierResult::Absent));
    assert_eq!(peers[0].unreadable(), [Unreadable::Sealed]);
    // Whoever stores last is read by its own.
    sealed.share(&peers[1], "plain", "other").await;
}
