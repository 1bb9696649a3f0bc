//! Publishes three events to a channel and hears them, as every other process that runs this does.
//!
//! ```sh
//! cargo run -p cache-core --example events -- redis://127.0.0.1:6379 news
//! ```

use std::time::Duration;

use cache_core::{
    redis::RedisLink,
    state::{
        Keyspace, Name,
        events::{Events, Heard, Retention},
    },
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, channel] = &arguments[..] else { return Err("usage: events REDIS_URL CHANNEL".into()) };
    let channel = Name::new(channel)?;

    let link = RedisLink::open(url, Duration::from_secs(1))?;
    let retention = Retention { events: 1_000, lasts_for: Duration::from_secs(3600) };
    let events = Events::new(Keyspace::new(link.clone(), "default"), retention);
    // Or after an event that was heard before: `Some(id)`.
    let mut listener = events.listen(&channel, None).await?;
    let mut last = None;
    for word in ["one", "two", "three"] {
        last = Some(events.publish(&channel, word.into()).await?);
    }
    loop {
        match listener.next().await {
            Heard::Event(event) => {
                println!("{} {}", event.id, String::from_utf8_lossy(&event.data));
                if Some(event.id) == last {
                    break;
                }
            }
            Heard::Lost(count) => println!("lost {count:?}"),
        }
    }
    link.close().await;
    Ok(())
}
