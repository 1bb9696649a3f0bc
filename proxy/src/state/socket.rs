//! A stream over a WebSocket (RFC 6455): messages are texts of JSON, both ways.
//!
//! One task serves a client, and does one thing at a time: while the client does not read, nothing more is taken from the channel
//! on its behalf, and it is told what it lost; and while something that it said is published, no more of it is read.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    clock::WallMillis,
    state::events::{EVENT_BYTES_MAX, EventId},
};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as SocketError, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    handshake::Handshake,
    said::invalid,
    streams::{News, Place},
};
use crate::{auth::NEVER, error::Error};

/// How long a connection may take to become a WebSocket: as long as the answer takes to be written.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);
/// A client is asked so often whether it is there ..
const PING_EVERY: Duration = Duration::from_secs(15);
/// .. and is left if it does not answer, or does not read, for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client has to answer that the socket is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Largest message of a client: an event in JSON, in which some characters take two bytes.
const MESSAGE_BYTES_MAX: usize = 2 * EVENT_BYTES_MAX;
/// What is read at once. There may be many sockets.
const READ_BYTES: usize = 4 << 10;
/// What may wait to be written: one message is, and answers to pings.
const WRITE_BYTES_MAX: usize = 16 * EVENT_BYTES_MAX;
/// What is read to no purpose, so that the client gets to read why its socket is closed.
const DISCARDED_BYTES_MAX: u64 = 16 << 20;

/// Where what the client says goes.
pub(super) trait Sink: Send + Sync + 'static {
    /// Takes a text.
    fn take(&self, text: String) -> impl Future<Output = Result<EventId, Error>> + Send;
}

/// A stream that is about to be told over a WebSocket.
pub(super) struct Socket<N, K> {
    pub(super) news: N,
    /// `None`: what the client says is refused
    pub(super) sink: Option<K>,
    pub(super) closing: CancellationToken,
    pub(super) _place: Place,
}

/// What a client says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    publish: String,
    /// comes back with the answer
    #[serde(default, rename = "ref")]
    reference: Value,
}

/// Why a socket ends, as the client is told.
struct End {
    code: CloseCode,
    reason: &'static str,
}

type Stream = WebSocketStream<TokioIo<Upgraded>>;

impl<N: News, K: Sink> Socket<N, K> {
    /// Serves the client to its end.
    pub(super) async fn serve(mut self, handshake: Handshake) {
        let (upgrade, until) = handshake.into_parts();
        // The client may be gone before it got the answer.
        let Ok(Ok(connection)) = timeout(UPGRADE_WITHIN, upgrade).await else { return };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BYTES_MAX)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let mut stream = Stream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await;
        if let Some(end) = self.talk(&mut stream, until).await {
            close(stream, end).await;
        }
    }

    /// Returns what the client is still to be told; `None` if it left, or does not listen any more.
    async fn talk(&mut self, stream: &mut Stream, until: WallMillis) -> Option<End> {
        let expiry = sleep_until(moment_of(until));
        tokio::pin!(expiry);
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When it was asked whether it is there, if nothing was heard of it since.
        let mut asked = None;
        let closing = self.closing.clone();
        let drained = || Some(End::of(CloseCode::Away, "the node is drained: come again"));
        loop {
            let message = tokio::select! {
                biased;
                () = closing.cancelled() => return drained(),
                () = &mut expiry => return Some(End::of(CloseCode::Policy, "the token has expired")),
                said = stream.next() => {
                    asked = None;
                    match said? {
                        Ok(Message::Text(text)) => text_of(&hear(&self.sink, &text).await),
                        Ok(Message::Binary(_)) => return Some(End::of(CloseCode::Unsupported, "only texts are understood")),
                        Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                        // The answer is under way already; what follows is the end.
                        Ok(Message::Close(_)) => continue,
                        Err(error) => return End::after(&error),
                    }
                }
                piece = self.news.next() => text_of(&piece.to_message()),
                _ = pings.tick() => {
                    if asked.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                        return None;
                    }
                    Message::Ping(Bytes::new())
                }
            };
            tokio::select! {
                biased;
                sent = timeout(PATIENCE, stream.send(message)) => match sent {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return End::after(&error),
                    Err(_) => return None,
                },
                () = closing.cancelled() => return drained(),
            }
        }
    }
}

impl End {
    fn of(code: CloseCode, reason: &'static str) -> Self {
        Self { code, reason }
    }

    /// What a client is told after it broke the rules; nothing if it is gone.
    fn after(error: &SocketError) -> Option<Self> {
        match error {
            SocketError::Capacity(_) => Some(Self::of(CloseCode::Size, "the message is too large")),
            SocketError::Protocol(_) => Some(Self::of(CloseCode::Protocol, "this is no WebSocket")),
            SocketError::Utf8(_) => Some(Self::of(CloseCode::Invalid, "the text is not in UTF-8")),
            SocketError::ConnectionClosed | SocketError::AlreadyClosed | SocketError::Io(_) => None,
            _ => Some(Self::of(CloseCode::Error, "something went wrong here")),
        }
    }
}

/// Does what the client says, and says what came of it.
async fn hear<K: Sink>(sink: &Option<K>, text: &str) -> Value {
    let said: Result<Said, _> = serde_json::from_str(text);
    let (reference, taken) = match said {
        Ok(Said { publish, reference }) => (reference, take(sink, publish).await),
        Err(error) => (Value::Null, Err(invalid(error.to_string()))),
    };
    match taken {
        Ok(id) => json!({ "event": "published", "id": id.to_string(), "ref": reference }),
        Err(error) => {
            let problem = error.problem();
            json!({
                "event": "refused", "ref": reference, "code": problem.code, "message": problem.message,
                "details": problem.details, "hint": problem.hint,
            })
        }
    }
}

async fn take<K: Sink>(sink: &Option<K>, text: String) -> Result<EventId, Error> {
    let Some(sink) = sink else { return Err(invalid("nothing can be published here")) };
    if text.len() > EVENT_BYTES_MAX {
        return Err(invalid(format!("an event has at most {EVENT_BYTES_MAX} bytes")));
    }
    sink.take(text).await
}

/// Says why, and waits a little until the client has read it: to close over what nobody read is to reset the connection, and what
/// was said with it.
async fn close(mut stream: Stream, End { code, reason }: End) {
    let farewell = async {
        stream.close(Some(CloseFrame { code, reason: reason.into() })).await.ok()?;
        // Not as messages: after an error there may be none. The client closes its side when it has answered.
        let mut rest = stream.get_mut().take(DISCARDED_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.ok()
    };
    drop(timeout(CLOSE_WITHIN, farewell).await);
}

fn text_of(value: &Value) -> Message {
    Message::text(value.to_string())
}

/// By the clock that tokio waits by.
fn moment_of(until: WallMillis) -> Instant {
    /// Longer than any node runs; what is further away does not fit into a moment.
    const FAR: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
    let left = if until == NEVER { FAR } else { until.since(cache_core::clock::Clock::start().wall()) };
    Instant::now() + left.min(FAR)
}
