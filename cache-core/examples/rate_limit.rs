//! Lets five a second pass, on however many processes this runs.
//!
//! ```sh
//! cargo run -p cache-core --example rate_limit -- redis://127.0.0.1:6379 alice
//! ```

use std::time::Duration;

use cache_core::{
    redis::RedisLink,
    state::{
        Keyspace,
        rate::{Quota, RateKey, RateLimits, Verdict},
    },
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, user] = &arguments[..] else { return Err("usage: rate_limit REDIS_URL USER".into()) };

    let link = RedisLink::open(url, Duration::from_secs(1))?;
    // Should Redis be away, this process admits a third by itself.
    let limits = RateLimits::new(Some(Keyspace::new(link.clone(), "default")), 33);
    let quota = Quota::new(5, Duration::from_secs(1)).ok_or("not a quota")?;
    let key = RateKey::new("user", user, "example");

    let mut passed = 0;
    while passed < 10 {
        let decision = limits.check(&key, quota, 1).await;
        match decision.verdict {
            Verdict::Allowed => {
                passed += 1;
                println!("passed, {} left, says {:?}", decision.remaining, decision.judge);
            }
            Verdict::Refused { retry_after } => tokio::time::sleep(retry_after).await,
        }
    }
    link.close().await;
    Ok(())
}
