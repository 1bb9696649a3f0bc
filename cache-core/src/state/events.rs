//! Events: published by anybody, heard by everybody who listens to the channel, on every node, in one order.
//!
//! ```text
//! publish ── one script: append to the channel's stream, wake the nodes that listen
//! hub     ── one per node and channel with listeners: woken, or once a second, reads what is new and hands it on
//! listen  ── takes from the hub; who is behind reads the stream; what the stream does not have any more is told as lost
//! ```
//!
//! Pub/sub only wakes, so nothing depends on its messages. The stream in Redis is bounded, and so is what a hub holds: a slow
//! listener costs nobody else anything. Events of a channel are numbered without gaps, so a listener knows how many it lost.

mod hub;
mod id;
mod listener;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fred::types::{Value, scripts::Script};

use self::hub::Hubs;
pub use self::{
    id::{EventId, InvalidId},
    listener::{Heard, Listener},
};
use super::{Keyspace, Name};
use crate::{
    error::RedisError,
    seal::{KeyRing, open_text, seal_text},
};

/// Largest event.
pub const EVENT_BYTES_MAX: usize = 64 << 10;
/// Events read at once.
const PAGE: u32 = 256;

/// An event of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// its place among the events of its channel
    pub id: EventId,
    /// whatever was published
    pub data: Bytes,
}

/// How much of a channel can be heard again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// so many events
    pub events: u32,
    /// so long after the last one; then the channel is forgotten, and its numbers begin anew
    pub lasts_for: Duration,
}

/// The channels of a namespace, under `transom:<namespace>:events:{<channel>}`. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    shared: Arc<Shared>,
    hubs: Arc<Hubs>,
}

/// An event as it was found: without its data if that does not open.
#[derive(Debug, Clone)]
struct Found {
    id: EventId,
    data: Option<Bytes>,
}

/// What reads and writes streams.
struct Shared {
    keys: Keyspace,
    /// what data is sealed with
    ring: Option<Arc<KeyRing>>,
    names: fn(&Keyspace, &Name) -> Vec<String>,
    publish: Script,
    page: Script,
    tail: Script,
    retention: Retention,
}

/// Where the streams are that others listen to.
pub(super) struct Source {
    /// the keys of a channel, the stream first
    pub(super) names: fn(&Keyspace, &Name) -> Vec<String>,
    /// what reads one, with the arguments of `page.lua`
    pub(super) page: Script,
}

impl Retention {
    /// As the scripts take it.
    pub(super) fn args(self) -> Vec<Value> {
        let lasts_for = i64::try_from(self.lasts_for.as_millis()).unwrap_or(i64::MAX);
        vec![self.events.max(1).into(), lasts_for.max(1).into()]
    }
}

impl Events {
    /// The channels of this namespace. To be called within a tokio runtime.
    #[must_use]
    pub fn new(keys: Keyspace, retention: Retention) -> Self {
        let page = Script::from_lua(include_str!("events/page.lua"));
        let names = |keys: &Keyspace, channel: &Name| vec![keys.key("events", channel.as_str())];
        let ring = keys.ring();
        Self::with(keys, ring, Source { names, page }, retention)
    }

    /// Streams that are filled by scripts, which cannot seal what they write.
    pub(super) fn over(keys: Keyspace, source: Source, retention: Retention) -> Self {
        Self::with(keys, None, source, retention)
    }

    fn with(keys: Keyspace, ring: Option<Arc<KeyRing>>, Source { names, page }: Source, retention: Retention) -> Self {
        let publish = [include_str!("events/append.lua"), include_str!("events/publish.lua")].concat();
        let shared = Arc::new(Shared {
            keys,
            ring,
            names,
            publish: Script::from_lua(publish),
            page,
            tail: Script::from_lua(include_str!("events/tail.lua")),
            retention,
        });
        Self { hubs: Arc::new(Hubs::new(shared.clone())), shared }
    }

    /// Publishes to whoever listens, now or within the retention.
    ///
    /// # Errors
    /// If Redis does not answer: the event may have been published all the same.
    pub async fn publish(&self, channel: &Name, data: Bytes) -> Result<EventId, RedisError> {
        let Shared { keys, ring, publish, retention, .. } = &*self.shared;
        let (names, mut args) = (self.shared.names(channel), retention.args());
        args.push(Value::Bytes(seal_text(ring.as_deref(), &names[0], data)));
        let id: String = keys.run(publish, names, args).await?;
        parse(&id)
    }

    /// Listens to a channel: to what comes after that event, or from now on.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn listen(&self, channel: &Name, after: Option<EventId>) -> Result<Listener, RedisError> {
        // Before the position is read, so that nothing falls between the two.
        let hub = self.hubs.join(channel);
        let position = match after {
            Some(after) => after,
            None => self.shared.tail(channel).await?,
        };
        Ok(Listener::new(self.shared.clone(), channel.clone(), hub, position))
    }
}

impl Shared {
    /// The keys of a channel, the stream first.
    fn names(&self, channel: &Name) -> Vec<String> {
        (self.names)(&self.keys, channel)
    }

    /// The last event there is.
    async fn tail(&self, channel: &Name) -> Result<EventId, RedisError> {
        let id: String = self.keys.run(&self.tail, self.names(channel), Vec::new()).await?;
        parse(&id)
    }

    /// The events after a position, as many as are read at once.
    async fn page(&self, channel: &Name, after: EventId) -> Result<Vec<Found>, RedisError> {
        let mut args = self.retention.args();
        args.extend([after.to_string().into(), PAGE.into()]);
        let names = self.names(channel);
        let flat: Vec<Bytes> = self.keys.run(&self.page, names.clone(), args).await?;
        flat.chunks_exact(2)
            .map(|pair| {
                let data = open_text(self.ring.as_deref(), &names[0], pair[1].clone());
                if let Err(why) = data {
                    tracing::debug!(channel = channel.as_str(), why = why.as_str(), "an event cannot be read");
                }
                Ok(Found { id: parse(&String::from_utf8_lossy(&pair[0]))?, data: data.ok() })
            })
            .collect()
    }
}

fn parse(id: &str) -> Result<EventId, RedisError> {
    id.parse().map_err(|_| RedisError::Protocol(format!("the event id {id:?}")))
}
