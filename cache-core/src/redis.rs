//! Connections to Redis: standalone, Sentinel or Cluster, by URL.

mod gather;

use std::{sync::Arc, time::Duration};

use fred::{
    clients::{Client, SubscriberClient},
    interfaces::ClientLike,
    types::{
        Builder,
        config::{Config, ReconnectPolicy, UnresponsiveConfig},
    },
};

pub(crate) use self::gather::{Command, Gatherer};
use crate::{error::RedisError, seal::KeyRing};

/// The three connections of a node. Apart, so that a large value on its way never delays a poll, and a poll never waits
/// behind a page of announcements.
#[derive(Clone)]
pub struct RedisLink {
    /// reads and stores entries, and what services share
    pub(crate) data: Client,
    /// announces, polls, resyncs
    pub(crate) control: Client,
    /// hears announcements
    pub(crate) subscriber: SubscriberClient,
    pub(crate) timeout: Duration,
    /// what values at rest are sealed with
    pub(crate) ring: Option<Arc<KeyRing>>,
}

/// Waits between attempts to connect, the first of a start among them: shorter than any lease, so that an outage ends for a
/// node when it ends.
const RECONNECT_MS: (u32, u32) = (5, 50);
/// Nodes that lost the same Redis do not come back at the same moment.
const RECONNECT_JITTER_MS: u32 = 5;
/// A connection on which nothing was answered for this long is made anew: a black hole reports no error. By the library if
/// nothing more is asked, by the backplane's vigil if it is, and by the kernel if not even the question could be sent.
pub(crate) const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(1);

impl RedisLink {
    /// Starts to connect, and keeps trying forever; never waits for Redis.
    ///
    /// URL forms: `redis://user:password@host:6379/0`, `redis-sentinel://host:26379/0?sentinelServiceName=mymaster&node=..`,
    /// `redis-cluster://host:30001?node=..`.
    ///
    /// # Errors
    /// If the URL is none of these.
    pub fn open(url: &str, timeout: Duration) -> Result<Self, RedisError> {
        let mut config = Config::from_url(url)?;
        config.fail_fast = false;
        let mut policy = ReconnectPolicy::new_exponential(0, RECONNECT_MS.0, RECONNECT_MS.1, 2);
        policy.set_jitter(RECONNECT_JITTER_MS);
        let mut builder = Builder::from_config(config);
        builder
            .set_policy(policy)
            .with_connection_config(|connection| {
                // A claim must not wait until the answer to a store before it has been acknowledged.
                connection.tcp.nodelay = Some(true);
                connection.connection_timeout = Duration::from_secs(1);
                connection.internal_command_timeout = Duration::from_secs(1);
                // A command that was lost with its connection is not sent again: the caller's time is over by then.
                connection.max_command_attempts = 1;
                connection.unresponsive =
                    UnresponsiveConfig { max_timeout: Some(UNRESPONSIVE_AFTER), interval: UNRESPONSIVE_AFTER / 4 };
                #[cfg(target_os = "linux")]
                {
                    connection.tcp.user_timeout = Some(UNRESPONSIVE_AFTER * 2);
                }
            })
            .with_performance_config(|performance| {
                performance.broadcast_channel_capacity = 4_096;
                // Nobody waits longer, so nothing queues longer either.
                performance.default_command_timeout = timeout * 10;
            });
        let link = Self {
            data: builder.build()?,
            control: builder.build()?,
            subscriber: builder.build_subscriber_client()?,
            timeout,
            ring: None,
        };
        // The handles of the connection tasks are fred's to keep; `close` ends them.
        drop((link.data.connect(), link.control.connect(), link.subscriber.connect()));
        Ok(link)
    }

    /// Values at rest are sealed with the first of these keys from now on, and nothing else is read.
    #[must_use]
    pub fn sealing(self, ring: KeyRing) -> Self {
        Self { ring: Some(Arc::new(ring)), ..self }
    }

    /// Says goodbye on every connection, waiting at most one timeout.
    pub async fn close(&self) {
        let goodbyes = async { (self.data.quit().await, self.control.quit().await, self.subscriber.quit().await) };
        // A Redis that does not answer is left without goodbye.
        drop(tokio::time::timeout(self.timeout, goodbyes).await);
    }
}

/// Waits for Redis, but not longer than `patience`.
pub(crate) async fn within<T, E: Into<RedisError>>(
    patience: Duration,
    command: impl Future<Output = Result<T, E>>,
) -> Result<T, RedisError> {
    match tokio::time::timeout(patience, command).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(RedisError::Timeout(patience)),
    }
}
