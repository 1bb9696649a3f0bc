//! What shared state costs beside the bare script, over the same kind of connection, taking turns:
//! `REDIS_URL=redis://127.0.0.1:6379 cargo bench -p cache-core --bench state`.

use std::time::{Duration, Instant};

use cache_core::{
    redis::RedisLink,
    state::{
        Keyspace, Name,
        cardinality::Cardinality,
        existence::{Existence, Shape},
        lock::{Locks, Owner, RedisLocks},
        nearness::{Area, Middle, Nearness, Point, Unit},
        rate::{Quota, RateKey, RateLimits},
    },
};
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{Builder, CustomCommand, Value, config::Config, scripts::Script},
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
    let (locks, name, owner) = (Locks::new(RedisLocks::new(keys.clone())), Name::new("a")?, Owner::random());
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
    structures(&bare, &keys).await
}

/// Filters, counters and indexes beside the commands of Redis that do the same, or the bare script where there is none.
async fn structures(bare: &Client, keys: &Keyspace) -> Result<(), Box<dyn std::error::Error>> {
    let (name, items) = (Name::new("a")?, (0..10).map(|item| format!("item-{item}")).collect::<Vec<_>>());
    let existence = Existence::new(keys.clone());
    existence.reserve(&name, Shape::new(1_000_000, 0.01)?, Some(TTL * 60)).await?;
    let script = [include_str!("../src/state/existence/header.lua"), include_str!("../src/state/existence/check.lua")];
    let script = Script::from_lua(script.concat());
    let hashes = Value::Bytes(vec![7; 120].into());
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let names = vec!["transom:bench:existence:{a}".to_owned()];
        let _: Value = script.evalsha_with_reload(bare, names, vec![hashes.clone()]).await?;
        times[0].push(began.elapsed());
        let began = Instant::now();
        existence.absent(&name, &items).await?;
        times[1].push(began.elapsed());
    }
    report("checking ten items", times);

    let cardinality = Cardinality::new(keys.clone());
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let words: Vec<Value> =
            std::iter::once("bare:distinct").chain(items.iter().map(|item| &**item)).map(Value::from).collect();
        let began = Instant::now();
        let _: Value = bare.custom(CustomCommand::new_static("PFADD", None, false), words).await?;
        times[0].push(began.elapsed());
        let began = Instant::now();
        cardinality.add(&name, &items, None).await?;
        times[1].push(began.elapsed());
    }
    report("counting ten items", times);

    let nearness = Nearness::new(keys.clone());
    nearness_of(bare, &nearness, &name).await
}

/// A million members, of whom a hundred are asked for: the nearest of all, and those of a small circle.
async fn nearness_of(bare: &Client, nearness: &Nearness, name: &Name) -> Result<(), Box<dyn std::error::Error>> {
    if nearness.count(name).await? == 0 {
        for page in 0..1_000_u32 {
            let place = |number: u32| {
                let number = f64::from(page * 1_000 + number);
                (
                    number.to_string(),
                    Point::new((number * 0.618_034) % 360.0 - 180.0, (number * 0.001_7) % 160.0 - 80.0),
                )
            };
            let members: Result<Vec<(String, Point)>, _> =
                (0..1_000).map(place).map(|(name, point)| point.map(|point| (name, point))).collect();
            nearness.put(name, &members?, Some(TTL * 60)).await?;
        }
    }
    for (what, radius, rounds) in [("100 within 100 km", 100.0, 2_000), ("100 nearest on earth", 20_000.0, 10)] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let radius_text = radius.to_string();
            let words = ["transom:bench:nearness:{a}", "FROMLONLAT", "13.4", "52.5", "BYRADIUS", &radius_text, "km"];
            let words = words.into_iter().chain(["ASC", "COUNT", "100", "WITHDIST", "WITHCOORD"]);
            let words: Vec<Value> = words.map(Value::from).collect();
            let began = Instant::now();
            let _: Value = bare.custom(CustomCommand::new_static("GEOSEARCH", None, false), words).await?;
            times[0].push(began.elapsed());
            let (middle, area) = (Middle::Point(Point::new(13.4, 52.5)?), Area::circle(radius, Unit::Kilometers)?);
            let began = Instant::now();
            nearness.search(name, &middle, area, Unit::Kilometers, 100).await?;
            times[1].push(began.elapsed());
        }
        report(what, times);
    }
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
