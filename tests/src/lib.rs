//! Harness: real servers on private ports in temporary folders, stopped however the test ends.
//!
//! ```no_run
//! # async fn test() {
//! use std::time::Duration;
//! use transom_tests::{Postgres, Redis, eventually};
//!
//! let database = Postgres::shared().await.database().await; // a copy of the sample, for this test alone
//! let redis = Redis::start().await;
//! redis.pause();
//! eventually("redis is back", Duration::from_secs(5), async || redis.command(&["PING"]).await).await;
//! # }
//! ```
//!
//! Who stops what: dropping a server ends its process and removes its folder, also when the test panics. When the test
//! process itself dies, a small watcher process per folder does the same (see [`Folder`]).

mod eventually;
mod folder;
mod ports;
mod process;
mod resp;

mod dashboard;
mod haproxy;
mod judge;
mod http;
mod postgres;
mod postgrest;
mod prometheus;
mod redis;
mod node;
mod sample;
mod stub;
mod wire;
mod body;
mod cache_status;
pub mod connection;

pub mod bench;
pub mod consistency;
pub mod simulator;

pub use self::body::Body;
pub use self::cache_status::CacheStatus;
pub use self::dashboard::{PanelQuery, dashboard_queries};
pub use self::eventually::{Settle, eventually, within_bound};
pub use self::folder::Folder;
pub use self::haproxy::{HaProxy, HaProxyBuilder};
pub use self::http::{Http, Request, Response};
pub use self::judge::Judge;
pub use self::node::{Lease, Node, NodeBuilder, NodeProcess, binary};
pub use self::ports::{free_port, wait_for_port};
pub use self::postgres::{Database, Postgres, program as postgres_program};
pub use self::postgrest::{PostgRest, PostgRestBuilder};
pub use self::process::{Process, Signal, unprivileged};
pub use self::prometheus::Prometheus;
pub use self::redis::{Redis, RedisBuilder, RedisCluster, RedisSentinel};
pub use self::resp::Reply;
pub use self::sample::load_sample;
pub use self::stub::Stub;
pub use self::wire::Wire;

use std::path::{Path, PathBuf};

/// The root of the repository, for tests that read what is shipped there.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lives in a folder of the workspace").to_path_buf()
}
