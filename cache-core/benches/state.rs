//! What shared state costs beside the bare script, over the same kind of connection, taking turns:
//! `REDIS_URL=redis://127.0.0.1:6379 cargo bench -p cache-core --bench state`.

use std::time::{Duration, Instant};

use cache_core::{
    redis::RedisLink,
    state::{
        Keyspace, Name,
        lock::{Locks, Owner, RedisLocks},
        rate::{Quota, RateKey, RateLimits},
    },
};
use fred::{
    interfaces::ClientLike,
    types::{Builder, Value, config::Config, scripts::Script},
};

const ROUNDS: usize = 20_000;
const TTL: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(&url))
}

async fn measure(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let bare = Builder::from_config(Config::from_url(url)?).build()?;
    bare.init().await?;
    let keys = Keyspace::new(RedisLink::open(url, Duration::from_secs(1))?, "bench");

    let script = Script::from_lua(include_str!("../src/state/rate/check.lua"));
    let (limits, quota) = (RateLimits::new(Some(keys.clone()), 100), Quota::new(1_000_000, TTL).ok_or("a quota")?);
    let key = RateKey::new("user", "a", "");
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let args: Vec<Value> = vec![1_000_000.into(), 10_000.into(), 1.into()];
        let began = Instant::now();
        let _: Value = script.evalsha_with_reload(&bare, vec!["bare:rate".to_owned()], args).await?;
        times[0].push(began.elapsed());
        let began = Instant::now();
        limits.check(&key, quota, 1).await;
        times[1].push(began.elapsed());
    }
    report("check of a limit", times);

    let script = Script::from_lua(include_str!("../src/state/lock/acquire.lua"));
    let (locks, name, owner) = (Locks::new(RedisLocks::new(keys)), Name::new("a")?, Owner::random());
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let args: Vec<Value> = vec![owner.expose().into(), "10000".into(), "86410000".into()];
        let names = vec!["{bare}:lock".to_owned(), "{bare}:fence".to_owned()];
        let began = Instant::now();
        let _: Value = script.evalsha_with_reload(&bare, names, args).await?;
        times[0].push(began.elapsed());
        let began = Instant::now();
        locks.acquire(&name, &owner, TTL, Duration::ZERO).await?;
        times[1].push(began.elapsed());
    }
    report("acquiring a lock", times);
    Ok(())
}

fn report(what: &str, times: [Vec<Duration>; 2]) {
    let [bare, ours] = times.map(|mut times| {
        times.sort_unstable();
        [times[times.len() / 2], times[times.len() * 99 / 100]]
    });
    println!(
        "{what}: p50 {:?}, bare script {:?} ({:.2} x); p99 {:?}, bare {:?}",
        ours[0],
        bare[0],
        ours[0].as_secs_f64() / bare[0].as_secs_f64(),
        ours[1],
        bare[1]
    );
}
