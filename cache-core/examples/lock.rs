//! Holds a lock until it is interrupted, killed, or loses it.
//!
//! ```sh
//! cargo run -p cache-core --example lock -- redis://127.0.0.1:6379 nightly-report 5000
//! ```

use std::time::Duration;

use cache_core::{
    redis::RedisLink,
    state::{
        Keyspace, Name,
        lock::{Locks, RedisLocks},
    },
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name, ttl_ms] = &arguments[..] else { return Err("usage: lock REDIS_URL NAME TTL_MS".into()) };
    let (name, ttl) = (Name::new(name)?, Duration::from_millis(ttl_ms.parse()?));

    let link = RedisLink::open(url, Duration::from_secs(1))?;
    let locks = Locks::new(RedisLocks::new(Keyspace::new(link.clone(), "default")));
    // Waits up to a minute for whoever has it; from here on it renews itself.
    let guard = locks.guard(&name, ttl, Duration::from_secs(60)).await?;
    println!("acquired, fence {}", guard.fence());

    tokio::select! {
        // To be shown to what the lock protects: `guard.fence()`.
        () = guard.lost() => println!("lost"),
        _ = tokio::signal::ctrl_c() => println!("{:?}", guard.release().await?),
    }
    link.close().await;
    Ok(())
}
