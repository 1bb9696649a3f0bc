//! Caches of several nodes around a real Redis, without proxy or database: what the simulator plays, for real.

mod history;
mod l2;
mod lease;
mod outage;
mod sealing;
mod templates;
mod topologies;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cache_core::backplane::Observer;
use cache_core::cache::{Lookup, Stored, TwoTier};
use cache_core::clock::Clock;
use cache_core::coherence::{Kind, Token};
use cache_core::entry::Lifetimes;
use cache_core::error::RedisError;
use cache_core::freshness::{Directives, Right};
use cache_core::key::CacheKey;
use cache_core::limits::Limits;
use cache_core::outcome::{LapseReason, ResyncReason, TierResult, Unreadable};
use cache_core::redis::RedisLink;
use cache_core::seal::KeyRing;
use cache_core::tag::{SlotCount, Tag, Tags};
use transom_tests::{Body, Redis, eventually};

const MAX_STALENESS: Duration = Duration::from_secs(1);
/// For tests of what a Redis costs that does not answer.
const REDIS_TIMEOUT: Duration = Duration::from_millis(100);
/// For all others: a machine that stalls for a moment is no Redis that is away.
const PATIENCE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(10);
/// What a noisy machine may add to any wait: much less than the outages here last.
const NOISE: Duration = Duration::from_secs(1);
const LIFETIMES: Lifetimes = Lifetimes {
    fresh_for: Duration::from_secs(600),
    stale_while_revalidate_for: Duration::ZERO,
    stale_if_error_for: Duration::from_secs(600),
};

/// What a backplane told.
#[derive(Default)]
struct Told {
    resyncs: Mutex<Vec<ResyncReason>>,
    lapses: Mutex<Vec<LapseReason>>,
    unreadable: Mutex<Vec<Unreadable>>,
}

impl Observer for Told {
    fn resynced(&self, reason: ResyncReason) {
        self.resyncs.lock().unwrap().push(reason);
    }

    fn lapsed(&self, reason: LapseReason) {
        self.lapses.lock().unwrap().push(reason);
    }

    fn unreadable(&self, reason: Unreadable) {
        self.unreadable.lock().unwrap().push(reason);
    }
}

/// One node: a cache and no proxy.
struct Node {
    cache: TwoTier<Body>,
    told: Arc<Told>,
}

impl Node {
    /// A node that need not be in step yet.
    fn lonely(url: &str, slots: SlotCount, redis_timeout: Duration) -> Self {
        Self::with(url, limits(slots, redis_timeout))
    }

    fn with(url: &str, limits: Limits) -> Self {
        Self::over(RedisLink::open(url, limits.redis_timeout).unwrap(), limits)
    }

    /// A node with these keys that need not be in step yet.
    fn sealing(url: &str, redis_timeout: Duration, ring: Option<KeyRing>) -> Self {
        let link = RedisLink::open(url, redis_timeout).unwrap();
        let link = match ring {
            Some(ring) => link.sealing(ring),
            None => link,
        };
        Self::over(link, limits(SlotCount::DEFAULT, redis_timeout))
    }

    fn over(link: RedisLink, limits: Limits) -> Self {
        let told = Arc::<Told>::default();
        Self { cache: TwoTier::shared(limits, Clock::start(), link, "test", told.clone()), told }
    }

    /// A node that holds its lease.
    async fn start(url: &str) -> Self {
        Self::waiting(url, PATIENCE).await
    }

    /// A node that holds its lease, and waits so long for Redis.
    async fn waiting(url: &str, redis_timeout: Duration) -> Self {
        let node = Self::lonely(url, SlotCount::DEFAULT, redis_timeout);
        node.leased().await;
        node
    }

    async fn three(redis: &Redis) -> [Self; 3] {
        Self::three_waiting(redis, PATIENCE).await
    }

    async fn three_waiting(redis: &Redis, redis_timeout: Duration) -> [Self; 3] {
        let url = redis.url();
        let node = || Self::waiting(&url, redis_timeout);
        [node().await, node().await, node().await]
    }

    async fn leased(&self) {
        eventually("the lease holds", SOON, async || self.holds_lease()).await;
    }

    fn holds_lease(&self) -> bool {
        self.cache.coherence().lease_held(self.cache.clock().now())
    }

    fn epoch(&self) -> u64 {
        self.cache.coherence().epoch().map_or(0, |epoch| epoch.as_u64())
    }

    fn resyncs(&self) -> Vec<ResyncReason> {
        self.told.resyncs.lock().unwrap().clone()
    }

    fn lapses(&self) -> Vec<LapseReason> {
        self.told.lapses.lock().unwrap().clone()
    }

    /// What a miss does: the name of the entry is its key and its tag.
    fn fill(&self, name: &str, value: impl Into<String>) -> Stored {
        let ticket = self.cache.begin(key(name), Tags::from_iter([Tag::named(name)]));
        self.cache.store(ticket, Body(value.into().into()), LIFETIMES).1
    }

    async fn announce(&self, name: &str, kind: Kind) -> Result<Token, RedisError> {
        self.cache.announce([Tag::named(name)], kind).await
    }

    /// What L1 would serve as fresh.
    fn l1(&self, name: &str) -> Option<String> {
        fresh(self.cache.lookup_l1(&key(name), &Directives::default(), self.cache.clock().now())).ok()
    }

    /// What L2 would serve as fresh, or why not.
    async fn l2(&self, name: &str) -> Result<String, TierResult> {
        let found = self.cache.lookup_l2(&key(name), &Directives::default(), self.cache.clock().now()).await;
        fresh(found.expect("there is an l2"))
    }

    /// Fills until this peer has it from L2. A machine that stalls may cost a node its lease for a moment, and without one it
    /// stores nothing there.
    async fn share(&self, peer: &Self, name: &str, value: &str) {
        eventually("l2 has it", SOON, async || {
            self.fill(name, value);
            peer.l2(name).await.is_ok_and(|found| found == value)
        })
        .await;
    }

    /// Waits until a peer's fill can be had from L2.
    async fn l2_has(&self, name: &str, value: &str) {
        eventually("l2 has it", SOON, async || self.l2(name).await.is_ok_and(|found| found == value)).await;
    }

    /// Whether L1 has something that may answer if the origin fails.
    fn may_serve_on_error(&self, name: &str) -> bool {
        match self.cache.lookup_l1(&key(name), &Directives::default(), self.cache.clock().now()) {
            Lookup::Missing(missing) => missing.if_error.is_some(),
            Lookup::Found(_) => true,
        }
    }
}

fn limits(slots: SlotCount, redis_timeout: Duration) -> Limits {
    Limits {
        l1_bytes_max: 1 << 20,
        entry_bytes_max: 1 << 16,
        slots,
        max_staleness: MAX_STALENESS,
        redis_timeout,
        fill_lease_for: Duration::from_secs(2),
    }
}

fn key(name: &str) -> CacheKey {
    CacheKey::new(name.as_bytes())
}

fn fresh(lookup: Lookup<Body>) -> Result<String, TierResult> {
    match lookup {
        Lookup::Found(found) => {
            assert!(matches!(found.right, Right::Fresh { .. }), "nothing here outlives its lifetime");
            Ok(String::from_utf8(found.entry.value.0.to_vec()).unwrap())
        }
        Lookup::Missing(missing) => Err(missing.because),
    }
}

/// Works as a cache should: what one fills the others find, what one announces none serves.
async fn works(nodes: &[Node], name: &str) {
    for peer in &nodes[1..] {
        eventually("what one fills the other finds", SOON, async || {
            assert_eq!(nodes[0].fill(name, "old"), Stored::Yes);
            peer.l2(name).await.map_err(|because| because.as_str())
        })
        .await;
        assert_eq!(peer.l1(name).as_deref(), Some("old"));
    }
    // A Redis that is slower than its timeout makes it owed, which is as good.
    drop(nodes[0].announce(name, Kind::Change).await);
    assert_eq!(nodes[0].l1(name), None);
    for peer in &nodes[1..] {
        eventually("the peer heard", SOON, async || peer.l1(name).is_none()).await;
        eventually("its entry is refused as well", SOON, async || match peer.l2(name).await {
            Ok(old) => panic!("{old:?} was announced as changed"),
            Err(TierResult::Incoherent) => Ok(()),
            Err(other) => Err(other.as_str()),
        })
        .await;
    }
}

#[tokio::test]
async fn an_announcement_reaches_every_peer_without_a_resync() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    works(&nodes, "warm").await;
    let mut delays = Vec::new();
    for round in 0..20 {
        let name = format!("row {round}");
        nodes[0].share(&nodes[2], &name, "old").await;
        let began = Instant::now();
        nodes[1].announce(&name, Kind::Change).await.unwrap();
        while nodes[0].l1(&name).is_some() || nodes[2].l1(&name).is_some() {
            assert!(began.elapsed() < SOON, "the announcement never came");
            tokio::task::yield_now().await;
        }
        delays.push(began.elapsed());
    }
    delays.sort_unstable();
    println!("announced until heard by all: median {:?}, worst {:?}", delays[10], delays[19]);
    for node in &nodes {
        let resyncs = node.resyncs();
        let normal = |reason| matches!(reason, ResyncReason::Start | ResyncReason::Reconnect);
        assert!(resyncs.iter().all(|reason| normal(*reason)), "nothing was lost, and yet: {resyncs:?}");
    }
}

#[tokio::test]
async fn a_hard_purge_leaves_nothing_to_serve_on_error() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    for (name, kind, usable) in [("changed", Kind::Change, true), ("purged", Kind::Purge, false)] {
        nodes[0].share(&nodes[1], name, "old").await;
        nodes[2].announce(name, kind).await.unwrap();
        for node in &nodes[..2] {
            eventually("it is not fresh any more", SOON, async || node.l1(name).is_none()).await;
            assert_eq!(node.may_serve_on_error(name), usable, "{name}");
            assert_eq!(node.cache.rescue_l2(&key(name)).await.is_some(), usable, "{name} in l2");
        }
    }
    nodes[0].fill("after", "new");
    assert!(nodes[0].may_serve_on_error("after"), "a purge does not reach what was filled after it");
}

#[tokio::test]
async fn a_node_with_another_number_of_slots_never_holds_a_lease() {
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let stranger = Node::lonely(&redis.url(), SlotCount::new(1_024).unwrap(), PATIENCE);
    node.fill("row", "value");
    for _ in 0..20 {
        tokio::time::sleep(MAX_STALENESS / 10).await;
        assert!(!stranger.holds_lease());
    }
    assert_eq!(stranger.l2("row").await, Err(TierResult::Unavailable));
    stranger.announce("row", Kind::Change).await.unwrap_err();
    assert!(node.holds_lease());
    let refusal = history::eval(&redis, history::POLL, 1_024, &["", "0", "250"]).await.unwrap_err();
    assert!(refusal.to_string().contains("the peers use coherence_slots = 262144, this node 1024"), "{refusal}");
}
