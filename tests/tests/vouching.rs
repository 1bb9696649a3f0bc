//! A lease that rests on a change feed: who may vouch, for what, and for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_core::backplane::{Observer, Trust};
use cache_core::cache::TwoTier;
use cache_core::clock::Clock;
use cache_core::coherence::{Break, SentAt, Settled, Stream, Vouched};
use cache_core::entry::Value;
use cache_core::limits::Limits;
use cache_core::outcome::{LapseReason, ResyncReason, Unreadable};
use cache_core::redis::RedisLink;
use cache_core::tag::SlotCount;
use transom_tests::{Redis, eventually};

const MAX_STALENESS: Duration = Duration::from_millis(800);
const SOON: Duration = Duration::from_secs(5);

struct Nobody;

impl Observer for Nobody {
    fn resynced(&self, _: ResyncReason) {}
    fn lapsed(&self, _: LapseReason) {}
    fn unreadable(&self, _: Unreadable) {}
}

fn node<V: Value>(redis: &Redis) -> TwoTier<V> {
    let limits = Limits {
        l1_bytes_max: 1 << 20,
        entry_bytes_max: 1 << 16,
        slots: SlotCount::new(1_024).expect("a power of two"),
        max_staleness: MAX_STALENESS,
        redis_timeout: Duration::from_millis(200),
        fill_lease_for: Duration::from_secs(2),
    };
    let link = RedisLink::open(&redis.url(), limits.redis_timeout).expect("a URL");
    TwoTier::shared_trusting(Trust::Feed, limits, Clock::start(), link, "test", Arc::new(Nobody))
}

fn stream(session: &str, at: u64) -> Stream {
    Stream { session: session.to_owned(), database: "db/1".to_owned(), covers: "v1".to_owned(), at }
}

async fn adopt<V: Value>(node: &TwoTier<V>, stream: &Stream) -> Option<Break> {
    // The first connection is still being made.
    eventually("redis answers", SOON, async || node.backplane().adopt(stream, node.clock().now()).await).await
}

async fn beat<V: Value>(node: &TwoTier<V>) -> SentAt {
    node.backplane().sent_at(node.clock().now()).await.expect("redis answers")
}

async fn vouch<V: Value>(node: &TwoTier<V>, stream: &Stream, beat: SentAt) -> Vouched {
    node.backplane().vouch(stream, beat, Settled::Yes).await.expect("redis answers")
}

fn holds<V: Value>(node: &TwoTier<V>) -> bool {
    node.coherence().lease_held(node.clock().now())
}

/// Until the node has a lease by this leader. A machine that stalls for half of the bound lets a heartbeat grow too old.
async fn until_leased<V: Value>(node: &TwoTier<V>, leader: &Stream) {
    eventually("a lease", SOON, async || {
        vouch(node, leader, beat(node).await).await;
        granted(node).await
    })
    .await;
}

/// Whether a lease is granted within the time of some polls.
async fn granted<V: Value>(node: &TwoTier<V>) -> bool {
    let began = Instant::now();
    while began.elapsed() < MAX_STALENESS / 2 {
        if holds(node) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

#[tokio::test]
async fn a_lease_needs_somebody_who_vouches_for_what_the_node_believes() {
    let redis = Redis::start().await;
    let node = node::<transom::reply::StoredResponse>(&redis);
    let leader = stream("a", 10);
    assert_eq!(adopt(&node, &leader).await, Some(Break::Unknown));
    vouch(&node, &leader, beat(&node).await).await;
    assert!(!granted(&node).await, "the node does not know what is covered yet");
    node.backplane().cover("v2");
    vouch(&node, &leader, beat(&node).await).await;
    assert!(!granted(&node).await, "the leader vouches for something else");
    node.backplane().cover("v1");
    until_leased(&node, &leader).await;
    eventually("the lease ends with the vouching", MAX_STALENESS + Duration::from_millis(200), async || !holds(&node))
        .await;
}

#[tokio::test]
async fn a_lease_does_not_outlive_what_it_was_granted_for() {
    let redis = Redis::start().await;
    let node = node::<transom::reply::StoredResponse>(&redis);
    node.backplane().cover("v1");
    let leader = stream("a", 10);
    adopt(&node, &leader).await;
    until_leased(&node, &leader).await;
    node.backplane().uncover(node.clock());
    assert!(!holds(&node));
    // The leader still vouches for what was covered before, and a poll may be on its way.
    vouch(&node, &leader, beat(&node).await).await;
    assert!(!granted(&node).await, "nothing is covered");
    node.backplane().cover("v2");
    vouch(&node, &leader, beat(&node).await).await;
    assert!(!granted(&node).await, "the leader vouches for something else");
}

#[tokio::test]
async fn a_vouch_that_was_on_its_way_for_long_proves_nothing() {
    let redis = Redis::start().await;
    let node = node::<transom::reply::StoredResponse>(&redis);
    node.backplane().cover("v1");
    let leader = stream("a", 10);
    adopt(&node, &leader).await;
    let sent = beat(&node).await;
    tokio::time::sleep(MAX_STALENESS / 2).await;
    assert_eq!(vouch(&node, &leader, sent).await, Vouched::Yes);
    assert!(!granted(&node).await, "the heartbeat is older than the feed's half of the bound");
}

#[tokio::test]
async fn a_leader_continues_the_history_or_begins_another() {
    let redis = Redis::start().await;
    let node = node::<transom::reply::StoredResponse>(&redis);
    let first = stream("a", 10);
    assert_eq!(adopt(&node, &first).await, Some(Break::Unknown));
    // Nothing was vouched for, so the first was not settled.
    assert_eq!(adopt(&node, &stream("b", 10)).await, Some(Break::Unsettled));
    assert_eq!(vouch(&node, &first, beat(&node).await).await, Vouched::Deposed);
    let second = Stream { at: 0x1000_0000_0000_0001, ..stream("b", 0) };
    assert_eq!(vouch(&node, &second, beat(&node).await).await, Vouched::Yes);

    let behind = Stream { at: second.at - 1, ..stream("c", 0) };
    assert_eq!(adopt(&node, &behind).await, None, "it repeats a little and misses nothing");
    assert_eq!(vouch(&node, &behind, beat(&node).await).await, Vouched::Yes);
    assert_eq!(adopt(&node, &Stream { at: second.at, ..stream("d", 0) }).await, None, "what was announced stays so");
    assert_eq!(adopt(&node, &Stream { at: second.at + 1, ..stream("e", 0) }).await, Some(Break::Slot));
    assert_eq!(vouch(&node, &stream("e", 10), beat(&node).await).await, Vouched::Yes);
    let other = Stream { covers: "v2".to_owned(), ..stream("f", 10) };
    assert_eq!(adopt(&node, &other).await, Some(Break::Publication));
    assert_eq!(vouch(&node, &other, beat(&node).await).await, Vouched::Yes);
    let promoted = Stream { database: "db/2".to_owned(), ..other };
    assert_eq!(adopt(&node, &promoted).await, Some(Break::Database));
}
