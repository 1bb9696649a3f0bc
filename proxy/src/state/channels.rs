//! Events and presence over HTTP.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use cache_core::{
    clock::WallMillis,
    state::{
        Keyspace, Name,
        events::{Event, EventId, Events, Heard, Listener, Retention},
        presence::{Join, Leave, Member, Place, Presence, Seen, Watcher},
    },
};
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    handshake::Handshake,
    said::{as_millis, away, invalid, read},
    socket::Sink,
    streams::{News, Piece, Streams},
};
use crate::{
    config,
    error::{Error, StateRefusal},
    reply::Reply,
    telemetry::{EventCount, Metrics},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    user: String,
    client: Option<String>,
}

/// Answers requests for channels.
pub(super) struct ChannelDesk {
    kept: Option<Kept>,
    streams: Streams,
    metrics: Arc<Metrics>,
}

/// What lives in Redis.
struct Kept {
    events: Events,
    presence: Presence,
}

impl ChannelDesk {
    pub(super) fn new(keys: Option<Keyspace>, config: &config::State, metrics: Arc<Metrics>) -> Self {
        let retention = Retention { events: config.events_kept, lasts_for: config.events_kept_for };
        let kept = keys.map(|keys| Kept {
            events: Events::new(keys.clone(), retention),
            presence: Presence::new(keys, config.presence_ttl, retention),
        });
        Self { kept, streams: Streams::new(config.event_streams_max, metrics.clone()), metrics }
    }

    /// Ends all streams.
    pub(super) fn close(&self) {
        self.streams.close();
    }

    /// Waits until the sockets have ended.
    pub(super) async fn finish(&self) {
        self.streams.finish().await;
    }

    /// Publishes the body as it is.
    pub(super) async fn publish(&self, channel: &Name, body: &Bytes) -> Result<Value, Error> {
        if std::str::from_utf8(body).is_err() {
            return Err(invalid("an event is a text in UTF-8"));
        }
        let id = self.publisher(channel)?.publish(body.clone()).await?;
        Ok(json!({ "channel": channel.as_str(), "id": id.to_string() }))
    }

    /// Everything that is published, and over a WebSocket, publishes what the client says.
    pub(super) async fn listen(&self, channel: &Name, parts: &Parts, until: WallMillis) -> Result<Reply, Error> {
        let handshake = Handshake::of(parts, until)?;
        let (kept, after, place) = (self.kept()?, after(parts)?, self.streams.place()?);
        let listener = kept.events.listen(channel, after).await.map_err(away)?;
        let news = Told { listener, metrics: self.metrics.clone() };
        Ok(self.streams.answer(handshake, place, news, Some(self.publisher(channel)?)))
    }

    fn publisher(&self, channel: &Name) -> Result<Publisher, Error> {
        Ok(Publisher { events: self.kept()?.events.clone(), channel: channel.clone(), metrics: self.metrics.clone() })
    }

    /// A member comes, or stays.
    pub(super) async fn join(&self, channel: &Name, body: &Bytes) -> Result<Value, Error> {
        let (user, client) = who(body)?;
        let presence = &self.kept()?.presence;
        let came = presence.join(channel, &user, &client).await.map_err(away)? == Join::Came;
        let ttl = as_millis(presence.ttl());
        Ok(json!({ "user": user.as_str(), "client": client.as_str(), "came": came, "ttl_ms": ttl }))
    }

    /// A member leaves.
    pub(super) async fn leave(&self, channel: &Name, body: &Bytes) -> Result<Value, Error> {
        let (user, client) = who(body)?;
        let left = self.kept()?.presence.leave(channel, &user, &client).await.map_err(away)? == Leave::Left;
        Ok(json!({ "user": user.as_str(), "client": client.as_str(), "left": left }))
    }

    /// Who is there, by user.
    pub(super) async fn members(&self, channel: &Name) -> Result<Value, Error> {
        let members = self.kept()?.presence.members(channel).await.map_err(away)?;
        let users = grouped("user", members.listed.iter().map(|Member { user, client }| (&**user, &**client)));
        Ok(json!({ "channel": channel.as_str(), "members": members.count, "users": users }))
    }

    /// Where a user is, by channel.
    pub(super) async fn places(&self, user: &Name) -> Result<Value, Error> {
        let places = self.kept()?.presence.places(user).await.map_err(away)?;
        let channels = grouped("channel", places.iter().map(|Place { channel, client }| (&**channel, &**client)));
        Ok(json!({ "user": user.as_str(), "places": places.len(), "channels": channels }))
    }

    /// Who comes and goes.
    pub(super) async fn watch(&self, channel: &Name, parts: &Parts, until: WallMillis) -> Result<Reply, Error> {
        let handshake = Handshake::of(parts, until)?;
        let (kept, after, place) = (self.kept()?, after(parts)?, self.streams.place()?);
        let watcher = kept.presence.watch(channel, after).await.map_err(away)?;
        let news = Shown { watcher, metrics: self.metrics.clone() };
        Ok(self.streams.answer(handshake, place, news, None::<Publisher>))
    }

    fn kept(&self) -> Result<&Kept, Error> {
        self.kept.as_ref().ok_or_else(|| StateRefusal::NoRedis.into())
    }
}

/// The clients of each user, or in each channel.
fn grouped<'t>(name: &str, pairs: impl Iterator<Item = (&'t str, &'t str)>) -> Vec<Value> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (group, client) in pairs {
        groups.entry(group).or_default().push(client);
    }
    groups.iter().map(|(group, clients)| json!({ name: group, "clients": clients })).collect()
}

/// Tells what is published.
struct Told {
    listener: Listener,
    metrics: Arc<Metrics>,
}

impl News for Told {
    async fn next(&mut self) -> Piece {
        match self.listener.next().await {
            Heard::Event(Event { id, data }) => {
                self.metrics.state().events(EventCount::Delivered, 1);
                Piece::Event { id, data }
            }
            Heard::Lost(count) => missed(&self.metrics, count),
        }
    }
}

/// Publishes to a channel.
struct Publisher {
    events: Events,
    channel: Name,
    metrics: Arc<Metrics>,
}

impl Publisher {
    async fn publish(&self, data: Bytes) -> Result<EventId, Error> {
        let id = self.events.publish(&self.channel, data).await.map_err(away)?;
        self.metrics.state().events(EventCount::Published, 1);
        Ok(id)
    }
}

impl Sink for Publisher {
    async fn take(&self, text: String) -> Result<EventId, Error> {
        self.publish(text.into()).await
    }
}

/// Shows who comes and goes.
struct Shown {
    watcher: Watcher,
    metrics: Arc<Metrics>,
}

impl News for Shown {
    async fn next(&mut self) -> Piece {
        let (event, id, Member { user, client }) = match self.watcher.next().await {
            Seen::Came(id, member) => ("join", id, member),
            Seen::Left(id, member) => ("leave", id, member),
            Seen::Lost(count) => return missed(&self.metrics, count),
        };
        self.metrics.state().events(EventCount::Delivered, 1);
        Piece::Change { event, id, data: json!({ "user": user, "client": client }) }
    }
}

fn missed(metrics: &Metrics, count: Option<u64>) -> Piece {
    metrics.state().events(EventCount::Lost, count.unwrap_or(1));
    Piece::Lost(count)
}

/// Where a client was when its connection was lost: browsers send the header, others may say it in the query.
fn after(parts: &Parts) -> Result<Option<EventId>, Error> {
    let header = parts.headers.get("last-event-id").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let query = parts.uri.query().and_then(|query| query.strip_prefix("last_event_id=")).map(str::to_owned);
    let Some(text) = header.or(query).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| invalid(format!("Last-Event-ID: {error}")))
}

fn who(body: &Bytes) -> Result<(Name, Name), Error> {
    let Who { user, client } = read(body)?;
    let name = |text: &str| Name::new(text).map_err(|error| invalid(error.to_string()));
    let client = client.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    Ok((name(&user)?, name(&client)?))
}
