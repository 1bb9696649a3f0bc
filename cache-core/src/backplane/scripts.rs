//! The protocol with Redis: eight Lua scripts, each atomic.
//!
//! Keys, all in one Cluster slot by their hash tag: `{transom:<ns>}:history` (hash: `epoch`, `seq`, `purged`, `slots`,
//! `templates`, `replid`, `polled`, `quiet`, and of the change feed `feed_session`, `feed_database`, `feed_covers`,
//! `feed_at`, `feed_settled`), `{transom:<ns>}:table` (string: 8 bytes a slot, little-endian), `{transom:<ns>}:feed` (the version of
//! the publication for which a leader vouches, until it expires), `{transom:<ns>}:templates` (set of names). Channel:
//! `{transom:<ns>}:announce`.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use fred::{
    clients::Client,
    types::{Value, scripts::Script},
};

use super::{message, reliance::Reliance};
use crate::{
    coherence::{
        Break, Coherence, Epoch, Kind, Position, Seq, Settled, Snapshot, Stream, Token, Trusted, Vouched, WriteId,
    },
    error::RedisError,
    redis::within,
    sabotage::{self, Protection},
    tag::Slots,
    template::{Edition, Published, TEMPLATES_MAX, Template, Templates},
};

/// Slots in one message at most; more go out as several announcements.
const SLOTS_PER_MESSAGE: usize = 1_024;
/// How many timeouts a snapshot, or the list of templates, may take: it is megabytes where a poll is bytes.
const SNAPSHOT_TIMEOUTS: u32 = 10;

/// The scripts of one namespace.
#[derive(Clone)]
pub(super) struct Scripts {
    client: Client,
    announce: Script,
    poll: Script,
    snapshot: Script,
    clock: Script,
    adopt: Script,
    vouch: Script,
    register: Script,
    templates: Script,
    keys: Arc<[String; 4]>,
    channel: Arc<str>,
    coherence: Arc<Coherence>,
    reliance: Reliance,
    timeout: Duration,
}

impl Scripts {
    pub(super) fn new(
        client: Client,
        timeout: Duration,
        namespace: &str,
        coherence: &Arc<Coherence>,
        reliance: Reliance,
    ) -> Self {
        let tag = format!("{{transom:{namespace}}}");
        let script = |parts: &[&str]| Script::from_lua(parts.concat());
        let (history, position) = (include_str!("scripts/history.lua"), include_str!("scripts/position.lua"));
        Self {
            client,
            announce: script(&[history, include_str!("scripts/announce.lua")]),
            poll: script(&[history, position, include_str!("scripts/poll.lua")]),
            snapshot: script(&[history, position, include_str!("scripts/snapshot.lua")]),
            clock: script(&[history, include_str!("scripts/clock.lua")]),
            adopt: script(&[history, include_str!("scripts/adopt.lua")]),
            vouch: script(&[history, include_str!("scripts/vouch.lua")]),
            register: script(&[history, include_str!("scripts/register.lua")]),
            templates: script(&[history, include_str!("scripts/templates.lua")]),
            keys: Arc::new(["history", "table", "feed", "templates"].map(|key| format!("{tag}:{key}"))),
            channel: format!("{tag}:announce").into(),
            coherence: coherence.clone(),
            reliance,
            timeout,
        }
    }

    /// The channel on which announcements travel.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// Announces what does not depend on templates; answers with the place of the (last) announcement.
    pub(super) async fn announce(&self, slots: &Slots, kind: Kind) -> Result<Token, RedisError> {
        match self.announce_pages(slots, kind, None, &[]).await? {
            Published::Yes(token) => Ok(token),
            Published::Outdated => Err(RedisError::Protocol("outdated to what depends on nothing".to_owned())),
        }
    }

    /// Announces what was computed from an edition of the templates. The writes go with the last page: whoever has applied
    /// everything up to it has applied the others.
    pub(super) async fn announce_knowing(
        &self,
        slots: &Slots,
        kind: Kind,
        edition: Edition,
        writes: &[WriteId],
    ) -> Result<Published, RedisError> {
        self.announce_pages(slots, kind, Some(edition), writes).await
    }

    /// The slots of a tag may come on two pages. A fill that began between them is as of the first, and what it does not see
    /// of the second it need not: what changed was visible before either.
    async fn announce_pages(
        &self,
        slots: &Slots,
        kind: Kind,
        edition: Option<Edition>,
        writes: &[WriteId],
    ) -> Result<Published, RedisError> {
        let all: Vec<u32> = slots.iter().collect();
        let mut rest = &all[..];
        while let Some((page, more)) = rest.split_at_checked(SLOTS_PER_MESSAGE).filter(|(_, more)| !more.is_empty()) {
            if self.announce_page(page, kind, edition, &[]).await? == Published::Outdated {
                return Ok(Published::Outdated);
            }
            rest = more;
        }
        self.announce_page(rest, kind, edition, writes).await
    }

    async fn announce_page(
        &self,
        slots: &[u32],
        kind: Kind,
        edition: Option<Edition>,
        writes: &[WriteId],
    ) -> Result<Published, RedisError> {
        let edition = edition.filter(|_| !sabotage::is_off(Protection::Templates));
        let mut args = self.common_args();
        args.extend([
            bytes(&[message::kind_byte(kind)]),
            Value::Bytes(message::pack(writes, slots)),
            message::slots_begin(writes.len()).to_string().into(),
            bytes(self.channel.as_bytes()),
            edition.map_or_else(String::new, |edition| edition.epoch.to_string()).into(),
            edition.map_or_else(String::new, |edition| edition.version.to_string()).into(),
        ]);
        let (epoch, seq): (String, u64) = self.call(&self.announce, args, self.timeout).await?;
        if seq == 0 {
            return Ok(Published::Outdated);
        }
        Ok(Published::Yes(Token { epoch: parse_epoch(&epoch)?, seq: Seq(seq) }))
    }

    /// Makes templates known to whoever announces.
    pub(super) async fn register(&self, templates: &[Template]) -> Result<Registration, RedisError> {
        let mut args = self.common_args();
        args.push(TEMPLATES_MAX.to_string().into());
        args.extend(templates.iter().map(|template| Value::from(template.name())));
        let (epoch, count): (String, u64) = self.call(&self.register, args, self.timeout).await?;
        if count == 0 && !templates.is_empty() {
            return Ok(Registration::Full);
        }
        Ok(Registration::Done(parse_epoch(&epoch)?))
    }

    /// The templates that are registered.
    pub(super) async fn templates(&self) -> Result<Templates, RedisError> {
        let patience = self.timeout * SNAPSHOT_TIMEOUTS;
        let (epoch, names): (String, Vec<String>) = self.call(&self.templates, self.common_args(), patience).await?;
        let edition = Edition { epoch: parse_epoch(&epoch)?, version: names.len() as u64 };
        Ok(Templates { edition, known: names.into_iter().map(Template::named).collect() })
    }

    /// Where the history stands. Also tells Redis how far this node is, so that a Redis that fell back starts anew.
    pub(super) async fn poll(&self) -> Result<Position, RedisError> {
        let answer: (String, u64, u64, u64) = self.call(&self.poll, self.position_args(), self.timeout).await?;
        position(&answer.0, answer.1, answer.2, answer.3)
    }

    /// Where the history stands, with the whole table.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, RedisError> {
        let patience = self.timeout * SNAPSHOT_TIMEOUTS;
        let answer: (String, u64, u64, u64, Bytes) = self.call(&self.snapshot, self.position_args(), patience).await?;
        if answer.4.len() != self.coherence.slot_count() * 8 {
            return Err(RedisError::Protocol(format!("a table of {} bytes", answer.4.len())));
        }
        let table = answer.4.chunks_exact(8).map(|mut seq| seq.get_u64_le()).collect();
        Ok(Snapshot { position: position(&answer.0, answer.1, answer.2, answer.3)?, table })
    }

    /// The time by Redis' clock, in milliseconds.
    pub(super) async fn clock(&self) -> Result<u64, RedisError> {
        let millis: String = self.call(&self.clock, self.common_args(), self.timeout).await?;
        millis.parse().map_err(|_| RedisError::Protocol(format!("the time {millis:?}")))
    }

    /// Takes the lead of the change feed; says why a new epoch had to begin, if it had to.
    pub(super) async fn adopt(&self, stream: &Stream) -> Result<Option<Break>, RedisError> {
        let mut args = self.common_args();
        args.extend(stream_args(stream));
        let reason: String = self.call(&self.adopt, args, self.timeout).await?;
        match Break::ALL.into_iter().find(|known| known.as_str() == reason) {
            None if !reason.is_empty() => Err(RedisError::Protocol(format!("the reason {reason:?}"))),
            known => Ok(known),
        }
    }

    /// Vouches for the stream until a moment by Redis' clock.
    pub(super) async fn vouch(&self, stream: &Stream, until: u64, settled: Settled) -> Result<Vouched, RedisError> {
        let mut args = self.common_args();
        args.extend(stream_args(stream));
        args.extend([until.to_string().into(), if settled == Settled::Yes { "1" } else { "0" }.into()]);
        let leads: bool = self.call(&self.vouch, args, self.timeout).await?;
        Ok(if leads { Vouched::Yes } else { Vouched::Deposed })
    }

    async fn call<R: fred::types::FromValue>(
        &self,
        script: &Script,
        args: Vec<Value>,
        patience: Duration,
    ) -> Result<R, RedisError> {
        // Boxed, as the client's future is twenty times the size of what is awaited around it.
        within(patience, Box::pin(script.evalsha_with_reload(&self.client, self.keys.to_vec(), args))).await
    }

    /// A name for a new epoch, should Redis need one, and the size of the table.
    fn common_args(&self) -> Vec<Value> {
        vec![Epoch::random().to_string().into(), self.coherence.slot_count().to_string().into()]
    }

    fn position_args(&self) -> Vec<Value> {
        let mut args = self.common_args();
        let epoch = self.coherence.epoch().map_or_else(String::new, |epoch| epoch.to_string());
        let lapse = self.coherence.max_staleness() / 4;
        args.extend([
            epoch.into(),
            self.coherence.watermark().0.to_string().into(),
            lapse.as_millis().to_string().into(),
            self.reliance.covers().into(),
        ]);
        args
    }
}

/// Whether templates could be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registration {
    /// they are, in this epoch
    Done(Epoch),
    /// there is no room for all of them, and none of the new ones is
    Full,
}

/// Positions have all their digits, so that their order is that of their texts: Lua's numbers would lose some.
fn stream_args(stream: &Stream) -> [Value; 4] {
    let Stream { session, database, covers, at } = stream;
    [session.as_str().into(), database.as_str().into(), covers.as_str().into(), format!("{at:016x}").into()]
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(Bytes::copy_from_slice(bytes))
}

fn parse_epoch(text: &str) -> Result<Epoch, RedisError> {
    text.parse().map_err(|_| RedisError::Protocol(format!("the epoch {text:?}")))
}

fn position(epoch: &str, seq: u64, purged: u64, trusted: u64) -> Result<Position, RedisError> {
    let trusted = match trusted {
        1 => Trusted::Yes,
        2 => Trusted::Unvouched,
        _ => Trusted::Quiet,
    };
    Ok(Position { epoch: parse_epoch(epoch)?, seq: Seq(seq), purged: Seq(purged), trusted })
}
