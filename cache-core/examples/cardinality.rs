//! Counts the different visitors of two days, and of both together.
//!
//! ```sh
//! cargo run -p cache-core --example cardinality -- redis://127.0.0.1:6379 visitors
//! ```

use std::{slice::from_ref, time::Duration};

use cache_core::{
    redis::RedisLink,
    state::{
        Keyspace, Name,
        cardinality::{Cardinality, ITEMS_MAX},
    },
};

const TTL: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name] = &arguments[..] else { return Err("usage: cardinality REDIS_URL NAME".into()) };
    let [today, yesterday] = [Name::new(&format!("{name}:today"))?, Name::new(&format!("{name}:yesterday"))?];

    let link = RedisLink::open(url, Duration::from_secs(1))?;
    let cardinality = Cardinality::new(Keyspace::new(link.clone(), "default"));
    let visitors: Vec<String> = (0..3 * ITEMS_MAX / 2).map(|id| format!("visitor-{id}")).collect();
    // A third of them came on both days.
    cardinality.add(&yesterday, &visitors[..ITEMS_MAX], Some(TTL)).await?;
    cardinality.add(&today, &visitors[ITEMS_MAX / 2..], Some(TTL)).await?;
    let both = cardinality.count(&[today.clone(), yesterday.clone()]).await?;
    println!("about {} and {}, about {both} together", ITEMS_MAX, cardinality.count(from_ref(&today)).await?);
    println!("about {} after merging", cardinality.merge(&today, from_ref(&yesterday), None).await?);
    cardinality.delete(&today).await?;
    cardinality.delete(&yesterday).await?;
    link.close().await;
    Ok(())
}
