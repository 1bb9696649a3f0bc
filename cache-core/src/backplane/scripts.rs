//! The protocol with Redis: six Lua scripts, each atomic, and the bytes they speak.
//!
//! Keys, all in one Cluster slot by their hash tag: `{transom:<ns>}:history` (hash: `epoch`, `seq`, `purged`, `slots`,
//! `replid`, `polled`, `quiet`, and of the change feed `feed_session`, `feed_database`, `feed_covers`, `feed_at`,
//! `feed_settled`), `{transom:<ns>}:table` (string: 8 bytes a slot, little-endian), `{transom:<ns>}:feed` (the version of
//! the publication for which a leader vouches, until it expires). Channel: `{transom:<ns>}:announce`.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fred::{
    clients::Client,
    types::{Value, scripts::Script},
};

use super::reliance::Reliance;
use crate::{
    coherence::{
        Announcement, Break, Coherence, Epoch, Kind, Position, Seq, Settled, Snapshot, Stream, Token, Vouched,
    },
    error::RedisError,
    redis::within,
    tag::Slots,
};

/// Slots in one message at most; more go out as several announcements.
const SLOTS_PER_MESSAGE: usize = 1_024;
/// How many timeouts a snapshot may take: it is megabytes where a poll is bytes.
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
    keys: Arc<[String; 3]>,
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
            keys: Arc::new([format!("{tag}:history"), format!("{tag}:table"), format!("{tag}:feed")]),
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

    /// Announces; answers with the place of the (last) announcement.
    pub(super) async fn announce(&self, slots: &Slots, kind: Kind) -> Result<Token, RedisError> {
        let all: Vec<u32> = slots.iter().collect();
        let mut token = Err(RedisError::Protocol("an announcement of nothing".to_owned()));
        for page in all.chunks(SLOTS_PER_MESSAGE) {
            token = Ok(self.announce_page(page, kind).await?);
        }
        token
    }

    async fn announce_page(&self, slots: &[u32], kind: Kind) -> Result<Token, RedisError> {
        let mut packed = BytesMut::with_capacity(slots.len() * 4);
        slots.iter().for_each(|slot| packed.put_u32_le(*slot));
        let mut args = self.common_args();
        args.extend([bytes(&[kind_byte(kind)]), Value::Bytes(packed.freeze()), bytes(self.channel.as_bytes())]);
        let (epoch, seq): (String, u64) = self.call(&self.announce, args, self.timeout).await?;
        Ok(Token { epoch: parse_epoch(&epoch)?, seq: Seq(seq) })
    }

    /// Where the history stands. Also tells Redis how far this node is, so that a Redis that fell back starts anew.
    pub(super) async fn poll(&self) -> Result<Position, RedisError> {
        let answer: (String, u64, u64, bool) = self.call(&self.poll, self.position_args(), self.timeout).await?;
        position(&answer.0, answer.1, answer.2, answer.3)
    }

    /// Where the history stands, with the whole table.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, RedisError> {
        let patience = self.timeout * SNAPSHOT_TIMEOUTS;
        let answer: (String, u64, u64, bool, Bytes) = self.call(&self.snapshot, self.position_args(), patience).await?;
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

/// Positions have all their digits, so that their order is that of their texts: Lua's numbers would lose some.
fn stream_args(stream: &Stream) -> [Value; 4] {
    let Stream { session, database, covers, at } = stream;
    [session.as_str().into(), database.as_str().into(), covers.as_str().into(), format!("{at:016x}").into()]
}

/// Reads a message of the channel.
pub(super) fn parse_announcement(mut message: Bytes) -> Result<Announcement, RedisError> {
    let malformed = || RedisError::Protocol("a malformed announcement".to_owned());
    if message.len() < 16 + 1 + 8 || !(message.len() - 25).is_multiple_of(4) {
        return Err(malformed());
    }
    let epoch = parse_epoch(std::str::from_utf8(&message.split_to(16)).map_err(|_| malformed())?)?;
    let kind = match message.get_u8() {
        b'c' => Kind::Change,
        b'p' => Kind::Purge,
        _ => return Err(malformed()),
    };
    let seq = Seq(message.get_u64_le());
    let slots = Slots::from_raw(message.chunks_exact(4).map(|mut slot| slot.get_u32_le()));
    Ok(Announcement { epoch, seq, kind, slots })
}

fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Change => b'c',
        Kind::Purge => b'p',
    }
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(Bytes::copy_from_slice(bytes))
}

fn parse_epoch(text: &str) -> Result<Epoch, RedisError> {
    text.parse().map_err(|_| RedisError::Protocol(format!("the epoch {text:?}")))
}

fn position(epoch: &str, seq: u64, purged: u64, trusted: bool) -> Result<Position, RedisError> {
    Ok(Position { epoch: parse_epoch(epoch)?, seq: Seq(seq), purged: Seq(purged), trusted })
}
