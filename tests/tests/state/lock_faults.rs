//! Locks while holders, nodes and servers die, freeze and forget.

use std::time::Duration;

use cache_core::redis::RedisLink;
use cache_core::state::lock::{Fence, Gate, Guard, Locks, RedisLocks};
use cache_core::state::{Keyspace, Name};
use serde_json::{Value, json};
use transom_tests::{Database, Postgres, Process, Redis, RedisSentinel, Signal, eventually};

use super::*;

const OWNER: &str = "the-owner-of-a-lock";
/// Long enough to renew on a busy machine.
const TTL: Duration = Duration::from_secs(3);
const AGES: Duration = Duration::from_secs(600);
/// A failover takes its time.
const FAILED_OVER: Duration = Duration::from_secs(60);

fn locks(url: &str) -> Locks<RedisLocks> {
    let link = RedisLink::open(url, Duration::from_secs(5)).expect("a URL");
    Locks::new(RedisLocks::new(Keyspace::new(link, "default")))
}

fn job() -> Name {
    Name::new("job").expect("a name")
}

async fn guarded(locks: &Locks<RedisLocks>, ttl: Duration) -> Guard<RedisLocks> {
    eventually("the lock is granted", FAILED_OVER, async || locks.guard(&job(), ttl, Duration::ZERO).await).await
}

/// The fence that the example printed.
async fn acquired(holder: &Process) -> Fence {
    eventually("the example has the lock", SOON, async || {
        let log = holder.log();
        let fence = log.lines().find_map(|line| line.strip_prefix("acquired, fence ")).ok_or(log.clone())?;
        fence.parse().map(Fence).map_err(|_| log)
    })
    .await
}

#[tokio::test]
async fn a_holder_that_is_killed_is_survived() {
    let redis = Redis::start().await;
    let (holder, _folder) = example("lock", &[&redis.url(), "job", "8000"]);
    let old = acquired(&holder).await;
    let locks = locks(&redis.url());
    let remaining = async || locks.look(&job()).await.expect("it answers").map(|held| held.remaining);
    let seen = remaining().await;
    eventually("it renews", SOON, async || remaining().await > seen).await;
    holder.signal(Signal::Kill);
    let next = locks.guard(&job(), TTL, SOON).await.expect("it expired");
    assert!(next.fence() > old);
}

#[tokio::test]
async fn a_holder_that_is_interrupted_gives_it_back() {
    let redis = Redis::start().await;
    let (holder, _folder) = example("lock", &[&redis.url(), "job", "600000"]);
    acquired(&holder).await;
    holder.signal(Signal::Int);
    locks(&redis.url()).guard(&job(), AGES, SOON).await.expect("it was given back long before it expired");
}

#[tokio::test]
async fn a_holder_that_was_frozen_is_refused_by_its_fence() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    setup(&database, &["--state"]).expect("the superuser may");
    database.execute("create table reports (fence bigint)").await;
    let (holder, _folder) = example("lock", &[&redis.url(), "job", "2000"]);
    let old = acquired(&holder).await;
    let gate = Gate::default();
    gate.admit(old).expect("it is the first");
    write(&database, old).await.expect("it is the first");

    holder.signal(Signal::Stop);
    let next = locks(&redis.url()).guard(&job(), TTL, SOON).await.expect("it expired");
    gate.admit(next.fence()).expect("it is the next");
    write(&database, next.fence()).await.expect("it is the next");

    assert_eq!(gate.admit(old).expect_err("it is outdated").highest, next.fence());
    let refusal = write(&database, old).await.expect_err("it is outdated");
    assert_eq!(refusal.code().map(tokio_postgres::error::SqlState::code), Some("PT409"), "{refusal:?}");
    assert_eq!(database.value("select count(*)::text from reports").await.as_deref(), Some("2"));

    holder.signal(Signal::Cont);
    eventually("it notices", SOON, async || holder.log().lines().any(|line| line == "lost").then_some(())).await;
    assert!(next.is_held());
}

/// What a lock protects: it checks the fence in the transaction that writes.
async fn write(database: &Database, fence: Fence) -> Result<(), tokio_postgres::Error> {
    let sql =
        format!("begin; select transom.admit_fence('job', {fence}); insert into reports values ({fence}); commit");
    database.client().await.batch_execute(&sql).await
}

#[tokio::test]
async fn a_lock_outlives_the_node_that_gave_it() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = builder(&database, &redis);
    let mut dying = builder.start_process().await;
    let node = builder.start().await;
    let acquire = json!({ "ttl_ms": 600_000, "owner": OWNER });
    keyed(at(dying.port()).post("/locks/job/acquire", &acquire)).send().await.expect_status(200);
    dying.process().signal(Signal::Kill);
    post(&node, "/locks/job/acquire", &json!({ "ttl_ms": 600_000 })).await.expect_status(409);
    post(&node, "/locks/job/renew", &acquire).await.expect_status(200);
    post(&node, "/locks/job/release", &json!({ "owner": OWNER })).await.expect_status(200);
}

#[tokio::test]
async fn fences_grow_although_redis_forgot_everything() {
    let mut redis = Redis::start().await;
    let locks = locks(&redis.url());
    let mut last = guarded(&locks, AGES).await.fence();
    for _ in 0..2 {
        redis.restart_empty().await;
        let next = guarded(&locks, AGES).await.fence();
        assert!(next > last, "{next} after {last}");
        last = next;
    }
}

#[tokio::test]
async fn a_lock_that_redis_forgot_is_lost_by_its_holder() {
    let mut redis = Redis::start().await;
    let locks = locks(&redis.url());
    let guard = guarded(&locks, TTL * 4).await;
    redis.restart_empty().await;
    tokio::time::timeout(SOON, guard.lost()).await.expect("the next renewal tells");
}

/// What Redis cannot promise, and what holds all the same.
#[tokio::test]
async fn after_a_failover_to_a_replica_that_lagged_the_fence_decides() {
    let mut sentinel = RedisSentinel::start().await;
    let locks = locks(&sentinel.url());
    // So that it knows the scripts, and that the lock works.
    let before = guarded(&locks, AGES).await;
    let known = before.fence();
    before.release().await.expect("it answers");
    sentinel.lag_replica().await;
    let old = guarded(&locks, AGES).await;
    assert!(old.fence() > known);
    sentinel.crash_master().await;
    let next = guarded(&locks, AGES).await;
    assert!(next.fence() > old.fence(), "{next:?} after {old:?}");
    let gate = Gate::default();
    gate.admit(next.fence()).expect("it is the first that is shown");
    gate.admit(old.fence()).expect_err("whoever believes in the old lock is stopped");
}

#[tokio::test]
async fn what_postgres_granted_outlives_its_crash() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    setup(&database, &["--state"]).expect("the superuser may");
    postgres.admin().await.batch_execute("alter system set synchronous_commit = off").await.expect("it is ours");
    postgres.admin().await.batch_execute("select pg_reload_conf()").await.expect("it is ours");
    let redis = Redis::start().await;
    let node = builder(&database, &redis).start().await;
    let strict = |body: Value| {
        let mut body = body;
        body["backend"] = json!("postgres");
        body
    };
    let acquire = strict(json!({ "ttl_ms": 600_000, "owner": OWNER }));
    let first = post(&node, "/locks/job/acquire", &acquire).await.expect_status(200).json();
    postgres.crash().await;
    assert_eq!(post(&node, "/locks/job/renew", &acquire).await.status, 503, "nobody knows");
    postgres.start().await;
    let other = strict(json!({ "ttl_ms": 600_000 }));
    let refused = eventually("postgres is back", SOON, async || {
        let answer = post(&node, "/locks/job/acquire", &other).await;
        if answer.status == 503 { Err(answer.text()) } else { Ok(answer) }
    })
    .await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    let again = post(&node, "/locks/job/renew", &acquire).await.expect_status(200).json();
    assert_eq!(again["fence"], first["fence"]);
}
