//! Puts some towers into an index, and looks which of them are near.
//!
//! ```sh
//! cargo run -p cache-core --example nearness -- redis://127.0.0.1:6379 towers
//! ```

use std::time::Duration;

use cache_core::{
    redis::RedisLink,
    state::{
        Keyspace, Name,
        nearness::{Area, Middle, Nearness, Point, Unit},
    },
};

const TTL: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name] = &arguments[..] else { return Err("usage: nearness REDIS_URL NAME".into()) };
    let name = Name::new(name)?;

    let link = RedisLink::open(url, Duration::from_secs(1))?;
    let nearness = Nearness::new(Keyspace::new(link.clone(), "default"));
    let towers = [
        ("Eiffel", Point::new(2.2945, 48.8584)?),
        ("Montparnasse", Point::new(2.3219, 48.8421)?),
        ("Pisa", Point::new(10.3966, 43.7230)?),
    ];
    println!("{:?}", nearness.put(&name, &towers, Some(TTL)).await?);
    let louvre = Middle::Point(Point::new(2.3376, 48.8606)?);
    for found in nearness.search(&name, &louvre, Area::circle(5.0, Unit::Kilometers)?, Unit::Kilometers, 10).await? {
        println!("{} is {:.1} km from the Louvre", found.member, found.distance);
    }
    println!("{:?} km to Pisa", nearness.distance(&name, "Eiffel", "Pisa", Unit::Kilometers).await?);
    nearness.delete(&name).await?;
    link.close().await;
    Ok(())
}
