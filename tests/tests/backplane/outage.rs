//! Redis is away, or what it says does not arrive: nothing older than `max_staleness` is served as fresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache_core::coherence::{Kind, Reached};
use cache_core::error::RedisError;
use cache_core::outcome::LapseReason;
use cache_core::tag::{Tag, Tags};
use transom_tests::consistency::cable::{Cable, Lane, Scope};
use transom_tests::{Redis, eventually};

use super::{MAX_STALENESS, NOISE, Node, REDIS_TIMEOUT, SOON};

/// Counts up, and remembers when: the database of these tests.
#[derive(Default)]
struct Counter(std::sync::Mutex<Vec<Instant>>);

impl Counter {
    fn commit(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn version(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// For how long a version had been out of date at that moment.
    fn stale_for(&self, version: usize, at: Instant) -> Duration {
        self.0.lock().unwrap().get(version).map_or(Duration::ZERO, |changed| at.saturating_duration_since(*changed))
    }
}

/// Reads through the cache as fast as it goes until told to stop; returns the stalest answer that counted as fresh.
async fn read_on(node: Arc<Node>, counter: Arc<Counter>, stop: Arc<AtomicBool>) -> (Duration, u64) {
    let (mut stalest, mut hits) = (Duration::ZERO, 0);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let found = match node.l1("row") {
            Some(value) => Some(value),
            None => node.l2("row").await.ok(),
        };
        if let Some(value) = found {
            stalest = stalest.max(counter.stale_for(value.parse().unwrap(), began));
            hits += 1;
        } else {
            let ticket = node.cache.begin(super::key("row"), Tags::from_iter([Tag::named("row")]));
            let value = super::Body(counter.version().to_string().into());
            node.cache.store(ticket, value, super::LIFETIMES);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (stalest, hits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_messages_lead_to_a_resync_and_to_nothing_stale() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await.map(Arc::new);
    let (counter, stop) = (Arc::<Counter>::default(), Arc::<AtomicBool>::default());
    let readers: Vec<_> =
        nodes[1..].iter().map(|node| tokio::spawn(read_on(node.clone(), counter.clone(), stop.clone()))).collect();
    let resyncs = nodes[1].resyncs().len();
    for round in 0..60 {
        counter.commit();
        // On a machine that stalls it may time out and be owed: the bound holds all the same.
        drop(nodes[0].announce("row", Kind::Change).await);
        if round % 3 == 0 {
            redis.kill_pubsub_clients().await;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let last =
        eventually("an announcement goes through", SOON, async || nodes[0].announce("row", Kind::Change).await).await;
    for node in &nodes {
        eventually("everybody caught up", SOON, async || node.cache.coherence().watermark() >= last.seq).await;
    }
    assert!(nodes[1].resyncs().len() > resyncs, "connections were cut and nothing was read again");
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        let (stalest, hits) = reader.await.unwrap();
        println!("stalest {stalest:?} in {hits} hits");
        assert!(stalest <= MAX_STALENESS, "{stalest:?}");
        assert!(hits > 20, "the cache was of no use: {hits} hits");
    }
}

/// SIGSTOP for three seconds while a node writes: a lookup waits for one timeout at most, an announcement as well, the
/// debt is paid before anybody trusts Redis again, and nothing too old is served as fresh at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_redis_costs_one_timeout_and_no_truth() {
    let redis = Redis::start().await;
    let nodes = Node::three_waiting(&redis, REDIS_TIMEOUT).await.map(Arc::new);
    let (counter, stop) = (Arc::<Counter>::default(), Arc::<AtomicBool>::default());
    let readers: Vec<_> =
        nodes[1..].iter().map(|node| tokio::spawn(read_on(node.clone(), counter.clone(), stop.clone()))).collect();
    // An entry that nobody reads meanwhile: it must not come back to life before the debt is paid.
    nodes[1].fill("quiet", "old");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(nodes[1].l1("quiet").is_some());

    redis.pause();
    let stopped = Instant::now();
    let worst = AtomicU64::new(0);
    while stopped.elapsed() < Duration::from_secs(3) {
        let began = Instant::now();
        counter.commit();
        nodes[0].announce("row", Kind::Change).await.unwrap_err();
        worst.fetch_max(u64::try_from(began.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = nodes[0].announce("quiet", Kind::Change).await.unwrap_err();
    assert!(matches!(error, RedisError::BreakerOpen | RedisError::Timeout(_)), "{error}");
    let worst = Duration::from_millis(worst.into_inner());
    println!("worst announcement during the outage: {worst:?}");
    assert!(worst <= REDIS_TIMEOUT + NOISE, "an announcement waited {worst:?}");
    assert!(nodes[0].cache.owes());
    assert!(nodes.iter().all(|node| !node.holds_lease()), "a lease outlived what it is made of");

    redis.resume();
    eventually("a peer trusts again", SOON, async || {
        assert!(nodes[1].l1("quiet").is_none(), "a change that was owed was served as fresh");
        nodes[1].holds_lease()
    })
    .await;
    assert!(!nodes[0].cache.owes(), "a peer trusted redis before the debt was paid");
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        let (stalest, hits) = reader.await.unwrap();
        println!("stalest {stalest:?} in {hits} hits");
        assert!(stalest <= MAX_STALENESS, "{stalest:?}");
    }
}

#[tokio::test]
async fn a_dead_redis_is_noticed_and_its_return_as_well() {
    let mut redis = Redis::start().await;
    let nodes = Node::three_waiting(&redis, REDIS_TIMEOUT).await;
    redis.kill();
    let began = Instant::now();
    nodes[0].announce("row", Kind::Change).await.unwrap_err();
    assert!(began.elapsed() <= REDIS_TIMEOUT + NOISE, "{:?}", began.elapsed());
    assert!(nodes[0].l2("row").await.is_err());
    tokio::time::sleep(MAX_STALENESS).await;
    assert!(nodes.iter().all(|node| !node.holds_lease()));
    for node in &nodes {
        eventually("it is told once, and why", SOON, async || {
            let lapses = node.lapses();
            if lapses == [LapseReason::Poll] { Ok(()) } else { Err(format!("{lapses:?}")) }
        })
        .await;
    }
    redis.restart_empty().await;
    let returned = Instant::now();
    for node in &nodes {
        node.leased().await;
    }
    println!("all leased {:?} after redis returned", returned.elapsed());
    assert!(returned.elapsed() < MAX_STALENESS * 5, "{:?}", returned.elapsed());
    eventually("the debt is paid", SOON, async || !nodes[0].cache.owes()).await;
    super::works(&nodes, "after").await;
}

/// A connection that is made anew has to have been silent for a second, and connects at once: seconds, on any machine. The
/// kernel would give it up after a quarter of an hour.
const ANEW: Duration = Duration::from_secs(20);

/// Answers stop and no socket reports an error: nobody but the node itself can notice.
async fn a_black_hole_ends(lane: Lane) {
    let redis = Redis::start().await;
    let cable = Cable::to(redis.port()).await;
    let writer = Node::start(&redis.url()).await;
    let node = Node::start(&format!("redis://127.0.0.1:{}", cable.port())).await;
    let before = cable.connections();
    cable.strand(Scope::Only(lane));
    let stranded = Instant::now();
    eventually("the connection is made anew", ANEW, async || cable.connections() > before).await;
    println!("{lane:?}: made anew after {:?}", stranded.elapsed());
    eventually("the lease is back", ANEW, async || node.holds_lease()).await;
    // As a message, and not by a resync: that needs both connections.
    eventually("what one announces the other hears", SOON, async || {
        let resyncs = node.resyncs().len();
        let token = writer.announce("row", Kind::Change).await.map_err(|error| error.to_string())?;
        let heard = node.cache.wait_for(token, MAX_STALENESS).await;
        if heard == Reached::Yes && node.resyncs().len() == resyncs { Ok(()) } else { Err(format!("{heard:?}")) }
    })
    .await;
    println!("{lane:?}: as before after {:?}", stranded.elapsed());
}

#[tokio::test]
async fn a_subscription_in_a_black_hole_is_made_anew() {
    a_black_hole_ends(Lane::Subscriber).await;
}

#[tokio::test]
async fn polls_into_a_black_hole_end() {
    a_black_hole_ends(Lane::Control).await;
}
