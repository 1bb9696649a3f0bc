//! Streams of what is new: as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), or over a
//! WebSocket, if the client asks for one.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::state::events::EventId;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    handshake::Handshake,
    socket::{Sink, Socket},
};
use crate::{
    error::{Error, StateRefusal},
    reply::{self, Reply},
    telemetry::Metrics,
};

/// A stream without news says so, lest somebody in between takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const COMMENT: Bytes = Bytes::from_static(b":\n\n");
/// The first thing that is sent: when to come again after the connection was lost, in milliseconds.
const GREETING: Bytes = Bytes::from_static(b"retry: 1000\n\n");

/// Where a stream gets what it sends.
pub(super) trait News: Send + 'static {
    /// The next message. Nothing is lost if it is dropped halfway.
    fn next(&mut self) -> impl Future<Output = Piece> + Send;
}

/// One message of a stream.
pub(super) enum Piece {
    /// what was published
    Event {
        /// its place
        id: EventId,
        /// as it was published: a text
        data: Bytes,
    },
    /// something happened
    Change {
        /// what
        event: &'static str,
        /// its place
        id: EventId,
        /// an object
        data: Value,
    },
    /// so many messages that this client will never see, if that is known
    Lost(Option<u64>),
}

/// The streams of a node, as many as there may be.
pub(super) struct Streams {
    places: Arc<Semaphore>,
    streams_max: usize,
    closing: CancellationToken,
    /// sockets: they outlive the connections that they began as
    sockets: TaskTracker,
    metrics: Arc<Metrics>,
}

struct Open<N> {
    news: N,
    closing: CancellationToken,
    next: Next,
    _place: Place,
}

enum Next {
    Greeting,
    News,
}

/// A place for a stream, and a stream that is counted.
pub(super) struct Place {
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.state().stream_closed();
    }
}

impl Streams {
    pub(super) fn new(streams_max: usize, metrics: Arc<Metrics>) -> Self {
        let places = Arc::new(Semaphore::new(streams_max));
        Self { places, streams_max, closing: CancellationToken::new(), sockets: TaskTracker::new(), metrics }
    }

    /// A place, before anything is asked on behalf of the stream.
    pub(super) fn place(&self) -> Result<Place, Error> {
        let permit = self.places.clone().try_acquire_owned();
        let permit = permit.map_err(|_| StateRefusal::TooManyStreams { streams_max: self.streams_max })?;
        self.metrics.state().stream_opened();
        Ok(Place { metrics: self.metrics.clone(), _permit: permit })
    }

    /// An answer that goes on until the client has enough, or the node is drained: over a WebSocket if the client shook hands for one.
    /// What such a client says goes to `sink`.
    pub(super) fn answer<N: News, K: Sink>(
        &self,
        handshake: Option<Handshake>,
        place: Place,
        news: N,
        sink: Option<K>,
    ) -> Reply {
        let Some(handshake) = handshake else { return self.events(place, news) };
        let reply = reply::to_websocket(handshake.accept());
        let socket = Socket { news, sink, closing: self.closing.clone(), _place: place };
        drop(self.sockets.spawn(socket.serve(handshake)));
        reply
    }

    fn events<N: News>(&self, place: Place, news: N) -> Reply {
        let open = Open { news, closing: self.closing.clone(), next: Next::Greeting, _place: place };
        let frames = stream::unfold(open, |mut open| async move {
            let text = open.text().await?;
            Some((Ok::<_, Infallible>(Frame::data(text)), open))
        });
        reply::to_stream(reply::Body::Stream(Box::pin(StreamBody::new(frames))))
    }

    /// Ends all streams; their clients come again, to another node.
    pub(super) fn close(&self) {
        self.closing.cancel();
        self.sockets.close();
    }

    /// Waits until the sockets have ended, which `close` makes them do.
    pub(super) async fn finish(&self) {
        self.sockets.wait().await;
    }
}

impl<N: News> Open<N> {
    async fn text(&mut self) -> Option<Bytes> {
        if matches!(self.next, Next::Greeting) {
            self.next = Next::News;
            return Some(GREETING);
        }
        tokio::select! {
            biased;
            () = self.closing.cancelled() => None,
            piece = self.news.next() => Some(piece.to_event()),
            () = sleep(KEEP_ALIVE) => Some(COMMENT),
        }
    }
}

/// A message: each line of its data is a field of its own.
fn message(event: Option<&str>, id: Option<&str>, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + 64);
    for (field, value) in [("event", event), ("id", id)] {
        if let Some(value) = value {
            text.extend([field, ": ", value, "\n"]);
        }
    }
    // A carriage return alone ends a line too.
    for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
        text.extend(["data: ", line, "\n"]);
    }
    text.push('\n');
    text.into()
}

impl Piece {
    /// As a server-sent event.
    fn to_event(&self) -> Bytes {
        match self {
            Self::Event { id, data } => message(None, Some(&id.to_string()), &String::from_utf8_lossy(data)),
            Self::Change { event, id, data } => message(Some(event), Some(&id.to_string()), &data.to_string()),
            Self::Lost(count) => message(Some("lost"), None, &json!({ "count": count }).to_string()),
        }
    }

    /// As a message of a WebSocket.
    pub(super) fn to_message(&self) -> Value {
        match self {
            Self::Event { id, data } => {
                json!({ "event": "message", "id": id.to_string(), "data": String::from_utf8_lossy(data) })
            }
            Self::Change { event, id, data } => json!({ "event": event, "id": id.to_string(), "data": data }),
            Self::Lost(count) => json!({ "event": "lost", "data": { "count": count } }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_breaks_out_of_its_message() {
        let text = message(None, Some("1-2"), "one\ntwo\r\nid: 9\rfour\n");
        assert_eq!(text, "id: 1-2\ndata: one\ndata: two\ndata: id: 9\ndata: four\ndata: \n\n");
        assert_eq!(message(Some("join"), None, ""), "event: join\ndata: \n\n");
        assert_eq!(Piece::Lost(Some(3)).to_event(), "event: lost\ndata: {\"count\":3}\n\n");
        assert_eq!(Piece::Lost(None).to_event(), "event: lost\ndata: {\"count\":null}\n\n");
    }

    #[test]
    fn there_are_only_so_many_places() {
        let streams = Streams::new(1, Arc::new(Metrics::new(KEEP_ALIVE)));
        let place = streams.place().map_err(|error| error.to_string()).unwrap();
        assert!(streams.place().is_err());
        drop(place);
        assert!(streams.place().is_ok());
    }
}
