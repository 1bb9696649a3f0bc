//! The fill lease between caches: who fills, who waits, and who does not wait any longer.

use std::time::{Duration, Instant};

use cache_core::cache::{FillTicket, Sought, Stored, Wanted};
use cache_core::coherence::Kind;
use cache_core::dependence::Dependence;
use cache_core::limits::Limits;
use cache_core::outcome::{LeaseResult, Tier, TierResult};
use cache_core::tag::{SlotCount, Tag, Tags};
use transom_tests::{Redis, RedisCluster, Reply, eventually};

use super::{Body, LIFETIMES, NOISE, Node, REDIS_TIMEOUT, SOON, key};

/// Longer than anything here takes on a busy machine.
const LEASE_FOR: Duration = Duration::from_secs(20);

/// Nodes for which a Redis that is late on a busy machine is not away.
async fn patient(redis: &Redis, fill_lease_for: Duration) -> [Node; 3] {
    let nodes = [(); 3].map(|()| Node::patient(&redis.url(), fill_lease_for));
    for node in &nodes {
        node.leased().await;
    }
    nodes
}

impl Node {
    fn patient(url: &str, fill_lease_for: Duration) -> Self {
        let limits = Limits {
            l1_bytes_max: 1 << 20,
            entry_bytes_max: 1 << 16,
            slots: SlotCount::DEFAULT,
            max_staleness: Duration::from_secs(20),
            redis_timeout: Duration::from_secs(5),
            fill_lease_for,
        };
        Self::with(url, limits)
    }

    /// What the leader of a fill does; the name of the entry is its key and its tag.
    async fn seek(&self, name: &str) -> Sought<Body> {
        let tags = Tags::from_iter([Tag::named(name)]);
        self.cache.seek(&key(name), &Dependence::on(tags), Wanted::AnyAnswer).await
    }

    /// As [`seek`](Self::seek), by a node that is to fill.
    async fn ticket(&self, name: &str) -> (FillTicket, Option<LeaseResult>) {
        match self.seek(name).await {
            Sought::Missing { ticket, lease, .. } => (ticket, lease),
            Sought::Found { found, .. } => panic!("found {:?}", found.entry),
        }
    }

    /// Until this node waits for the fill of a peer.
    async fn waits(&self) {
        eventually("it waits for a peer", SOON, async || self.cache.fills_waiting() > 0).await;
    }

    fn end(&self, ticket: FillTicket, value: &'static str) -> Stored {
        self.cache.store(ticket, Body(value.into()), LIFETIMES).1
    }
}

fn found(sought: Sought<Body>) -> (String, Option<LeaseResult>) {
    match sought {
        Sought::Found { found, lease } => {
            assert_eq!(found.tier, Tier::L2);
            (String::from_utf8(found.entry.value.0.to_vec()).unwrap(), lease)
        }
        Sought::Missing { l2, lease, .. } => panic!("not found: {l2:?}, {lease:?}"),
    }
}

/// Until nobody holds the lease of this key.
async fn given_back(redis: &Redis, name: &str) {
    let lease = format!("transom:test:l:{{{:032x}}}", key(name).digest());
    eventually("the lease was given back", SOON, async || {
        redis.command(&["EXISTS", &lease]).await.unwrap() == Reply::Integer(0)
    })
    .await;
}

#[tokio::test]
async fn one_fills_and_the_others_get_its_entry() {
    let redis = Redis::start().await;
    let nodes = patient(&redis, LEASE_FOR).await;
    let (ticket, lease) = nodes[0].ticket("row").await;
    assert_eq!(lease, Some(LeaseResult::Granted));
    let fill = async {
        nodes[1].waits().await;
        nodes[2].waits().await;
        nodes[0].end(ticket, "value")
    };
    let (first, second, stored) = tokio::join!(nodes[1].seek("row"), nodes[2].seek("row"), fill);
    assert_eq!(stored, Stored::Yes);
    for sought in [first, second] {
        assert_eq!(found(sought), ("value".to_owned(), Some(LeaseResult::WaitedHit)));
    }
    assert_eq!(nodes[1].l1("row").as_deref(), Some("value"), "what came is promoted");
    given_back(&redis, "row").await;
}

/// In a cluster the entry and the lease of a key lie on one master, or no script could reach both.
#[tokio::test]
async fn a_cluster_keeps_an_entry_and_its_lease_together() {
    let cluster = RedisCluster::start().await;
    let nodes = [(); 2].map(|()| Node::patient(&cluster.url(), LEASE_FOR));
    for node in &nodes {
        node.leased().await;
    }
    // Several names, so that they lie on several masters.
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let (ticket, lease) = nodes[0].ticket(name).await;
        assert_eq!(lease, Some(LeaseResult::Granted), "{name}");
        assert_eq!(nodes[0].end(ticket, "value"), Stored::Yes);
        assert_eq!(found(nodes[1].seek(name).await).0, "value", "{name}");
    }
}

#[tokio::test]
async fn what_is_in_l2_needs_no_lease() {
    let redis = Redis::start().await;
    let nodes = patient(&redis, LEASE_FOR).await;
    nodes[0].share(&nodes[1], "row", "value").await;
    assert_eq!(found(nodes[2].seek("row").await), ("value".to_owned(), None));
    given_back(&redis, "row").await;
}

#[tokio::test]
async fn a_fill_without_an_entry_releases_who_waits() {
    let redis = Redis::start().await;
    let nodes = patient(&redis, LEASE_FOR).await;
    let (ticket, _) = nodes[0].ticket("row").await;
    let began = Instant::now();
    let fail = async {
        nodes[1].waits().await;
        drop(ticket);
    };
    let (next, ()) = tokio::join!(nodes[1].ticket("row"), fail);
    assert_eq!(next.1, Some(LeaseResult::WaitedExpired));
    assert!(began.elapsed() < LEASE_FOR, "nobody waits for the expiry");
    // An answer that is too large to be stored, while a third node waits for the second: it does not wait for the next.
    let large = async {
        nodes[2].waits().await;
        nodes[1].cache.store(next.0, Body(vec![b'x'; 1 << 17].into()), LIFETIMES).1
    };
    let (third, stored) = tokio::join!(nodes[2].ticket("row"), large);
    assert_eq!((third.1, stored), (Some(LeaseResult::WaitedExpired), Stored::TooLarge));
}

#[tokio::test]
async fn who_dies_is_survived_by_a_short_expiry() {
    let redis = Redis::start().await;
    let short = Duration::from_secs(2);
    let nodes = patient(&redis, short).await;
    let (ticket, _) = nodes[0].ticket("row").await;
    // As a node that is killed: nothing is given back.
    std::mem::forget(ticket);
    let began = Instant::now();
    let (ticket, lease) = nodes[1].ticket("row").await;
    assert_eq!(lease, Some(LeaseResult::WaitedExpired));
    assert!(began.elapsed() > short / 2, "it waited {:?}", began.elapsed());
    assert_eq!(nodes[1].end(ticket, "value"), Stored::Yes);
    nodes[2].l2_has("row", "value").await;
}

#[tokio::test]
async fn an_announcement_voids_the_lease_and_the_newer_fill_wins() {
    let redis = Redis::start().await;
    let nodes = patient(&redis, LEASE_FOR).await;
    let (old, _) = nodes[0].ticket("row").await;
    let announce = async {
        nodes[1].waits().await;
        nodes[1].announce("row", Kind::Change).await.unwrap();
    };
    let (waiter, ()) = tokio::join!(nodes[1].ticket("row"), announce);
    assert_eq!(waiter.1, Some(LeaseResult::Voided), "a wait ends with the announcement");
    // One that comes later waits for the newer fill, not for the older.
    let new = async {
        nodes[2].waits().await;
        nodes[1].end(waiter.0, "new")
    };
    let (sought, stored) = tokio::join!(nodes[2].seek("row"), new);
    assert_eq!(stored, Stored::Yes);
    assert_eq!(found(sought), ("new".to_owned(), Some(LeaseResult::WaitedHit)));
    let watermark = nodes[1].cache.coherence().watermark();
    eventually("the holder heard", SOON, async || nodes[0].cache.coherence().watermark() >= watermark).await;
    assert_eq!(nodes[0].end(old, "old"), Stored::Outdated);
    assert_eq!(found(nodes[0].seek("row").await).0, "new");
}

#[tokio::test]
async fn without_redis_or_a_lease_of_freshness_nobody_waits() {
    let redis = Redis::start().await;
    let nodes = Node::three_waiting(&redis, REDIS_TIMEOUT).await;
    let (_held, _) = nodes[0].ticket("row").await;
    redis.pause();
    let began = Instant::now();
    let (_, lease) = nodes[1].ticket("row").await;
    assert_eq!(lease, Some(LeaseResult::Unavailable));
    let (_, lease) = nodes[1].ticket("another").await;
    assert_eq!(lease, Some(LeaseResult::Unavailable), "the breaker is open");
    assert!(began.elapsed() < REDIS_TIMEOUT + NOISE, "one timeout at most: {:?}", began.elapsed());
    redis.resume();
}

#[tokio::test]
async fn an_entry_that_expired_is_refused_and_filled_once() {
    let redis = Redis::start().await;
    let nodes = patient(&redis, LEASE_FOR).await;
    let (ticket, _) = nodes[0].ticket("row").await;
    let short = cache_core::entry::Lifetimes { fresh_for: Duration::ZERO, ..LIFETIMES };
    nodes[0].cache.store(ticket, Body("old".into()), short);
    given_back(&redis, "row").await;
    let Sought::Missing { l2, lease, ticket } = nodes[1].seek("row").await else { panic!("it expired") };
    assert_eq!((l2, lease), (Some(TierResult::Expired), Some(LeaseResult::Granted)));
    let fill = async {
        nodes[2].waits().await;
        nodes[1].end(ticket, "new")
    };
    let (sought, _) = tokio::join!(nodes[2].seek("row"), fill);
    assert_eq!(found(sought), ("new".to_owned(), Some(LeaseResult::WaitedHit)));
}
