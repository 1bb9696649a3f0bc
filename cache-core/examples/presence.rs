//! Joins a channel for a few seconds, and prints who comes and goes meanwhile.
//!
//! ```sh
//! cargo run -p cache-core --example presence -- redis://127.0.0.1:6379 lobby alice
//! ```

use std::time::Duration;

use cache_core::{
    redis::RedisLink,
    state::{Keyspace, Name, events::Retention, presence::Presence},
};
use tokio::time::{interval, sleep};

const TTL: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, channel, user] = &arguments[..] else { return Err("usage: presence REDIS_URL CHANNEL USER".into()) };
    let (channel, user, client) = (Name::new(channel)?, Name::new(user)?, Name::new("example")?);

    let link = RedisLink::open(url, Duration::from_secs(1))?;
    let retention = Retention { events: 1_000, lasts_for: Duration::from_secs(3600) };
    let presence = Presence::new(Keyspace::new(link.clone(), "default"), TTL, retention);
    let mut watcher = presence.watch(&channel, None).await?;
    let mut beat = interval(TTL / 3);
    let end = sleep(TTL);
    tokio::pin!(end);
    loop {
        tokio::select! {
            _ = beat.tick() => drop(presence.join(&channel, &user, &client).await?),
            seen = watcher.next() => println!("{seen:?}"),
            () = &mut end => break,
        }
    }
    println!("{:?}", presence.members(&channel).await?);
    println!("{:?}", presence.leave(&channel, &user, &client).await?);
    link.close().await;
    Ok(())
}
