//! Asks what a user may do, and asks again after it changed.
//!
//! ```sh
//! cargo run -p cache-core --example permission
//! ```

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    cache::TwoTier,
    clock::Clock,
    coherence::Kind,
    entry::Value,
    error::CodecError,
    limits::Limits,
    state::permission::{Permissions, Subject},
    tag::{SlotCount, Tag},
};

/// What a user may do, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
struct May(Bytes);

impl Value for May {
    fn weight(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        Ok(Self(bytes))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits {
        l1_bytes_max: 1 << 20,
        entry_bytes_max: 1 << 10,
        slots: SlotCount::DEFAULT,
        max_staleness: Duration::from_millis(100),
        fill_lease_for: Duration::ZERO,
        redis_timeout: Duration::ZERO,
    };
    let cache = TwoTier::<May>::alone(limits, Clock::start());
    // It shares the history of announcements with the cache of whatever else the program reads.
    let permissions = Permissions::new(cache.beside::<May>("permission", 1 << 20), Duration::from_secs(600));
    let (alice, role) = (Subject::user("alice"), Tag::named("role:clerk"));
    let reads = AtomicU32::new(0);
    let ask = async || {
        let read = async {
            let may = if reads.fetch_add(1, Relaxed) == 0 { "read,write" } else { "read" };
            Ok::<_, Infallible>((May(Bytes::from_static(may.as_bytes())), vec![role]))
        };
        permissions.ask(&alice, read).await
    };
    assert_eq!(ask().await?.value.0, "read,write");
    assert_eq!(ask().await?.value.0, "read,write", "it was stored");
    // The role lost something: every user who has it is asked about again.
    cache.announce([role], Kind::Change).await?;
    assert_eq!(ask().await?.value.0, "read");
    permissions.forget(alice.tag()).await?;
    ask().await?;
    println!("asked four times, read {} times", reads.load(Relaxed));
    Ok(())
}
