//! Fills a filter with ids, and asks it for some that are there and some that are not.
//!
//! ```sh
//! cargo run -p cache-core --example existence -- redis://127.0.0.1:6379 orders
//! ```

use std::time::Duration;

use cache_core::{
    redis::RedisLink,
    state::{
        Keyspace, Name,
        existence::{Existence, ITEMS_MAX, Shape},
    },
};

const IDS: u64 = 20_000;
const TTL: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name] = &arguments[..] else { return Err("usage: existence REDIS_URL NAME".into()) };
    let name = Name::new(name)?;

    let link = RedisLink::open(url, Duration::from_secs(1))?;
    let existence = Existence::new(Keyspace::new(link.clone(), "default"));
    println!("{:?}", existence.reserve(&name, Shape::new(IDS, 0.01)?, Some(TTL)).await?);
    let ids: Vec<String> = (0..IDS).map(|id| format!("order-{id}")).collect();
    for ids in ids.chunks(ITEMS_MAX) {
        existence.add(&name, ids).await?;
    }
    let missing: Vec<String> = (0..ITEMS_MAX).map(|id| format!("missing-{id}")).collect();
    let absent = existence.absent(&name, &missing).await?.into_iter().filter(|absent| *absent).count();
    println!("{absent} of {ITEMS_MAX} missing ids are certainly absent");
    let absent = existence.absent(&name, &ids[..ITEMS_MAX]).await?.into_iter().filter(|absent| *absent).count();
    println!("{absent} of {ITEMS_MAX} present ids are");
    println!("{:?}", existence.look(&name).await?);
    existence.delete(&name).await?;
    link.close().await;
    Ok(())
}
