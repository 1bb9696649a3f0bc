//! Accepts connections, serves HTTP/1.1 and h2c on them, and drains.

mod watch;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::watch::{Watch, Watched};

use crate::{
    layers::introduce::{Introduce, Peer},
    reply::Body,
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// Pause after an error of `accept` that is not the connection's own fault (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often to look whether the rest of it has come.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);
/// How often the listener looks for connections that wait too long: so many times in what they are allowed ..
const LOOKS: u32 = 16;
/// .. but not more often than this, and not less often than that.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// What a connection beyond the limit has to read its answer and go.
const TURN_AWAY_WITHIN: Duration = Duration::from_secs(1);
/// What a connection beyond the limit gets before it is closed.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json; charset=utf-8\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 118\r\n\r\n\
    {\"code\":\"TRANSOM11\",\"message\":\"Too many connections\",\"details\":null,\"hint\":\"the limit is the setting connections_max\"}";

/// A bound socket: the address is known, nothing is accepted yet.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// What a listener allows its connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// at the same time
    pub(crate) connections_max: usize,
    /// for the head of a request to arrive
    pub(crate) header_read_timeout: Duration,
    /// whether requests are told whom they come from
    pub(crate) peers: Peers,
}

/// Whether requests are told whom they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peers {
    Told,
    Untold,
}

impl Listener {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A node that restarts takes its address back from connections that are still being closed.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until `drain` is cancelled; then closes idle connections and waits until the others have finished the
    /// requests that they are at.
    pub(crate) async fn serve<S>(self, service: S, allowance: Allowance, drain: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
            + Clone
            + Send
            + 'static,
    {
        let places = Arc::new(Semaphore::new(allowance.connections_max));
        let connections = TaskTracker::new();
        let watch = Arc::new(Watch::default());
        let mut looks = interval((allowance.header_read_timeout / LOOKS).clamp(LOOK_EVERY.0, LOOK_EVERY.1));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (stream, address) = tokio::select! {
                biased;
                () = drain.cancelled() => break,
                _ = looks.tick() => {
                    watch.look(Instant::now());
                    continue;
                }
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            match places.clone().try_acquire_owned() {
                Ok(place) => {
                    let connection = Connection { allowance, watched: watch.over(), place };
                    let peer = (allowance.peers == Peers::Told).then(|| Peer(address.ip()));
                    let service = Introduce::new(service.clone(), peer);
                    connections.spawn(connection.serve(stream, service, drain.clone()));
                }
                Err(_) => drop(connections.spawn(turn_away(stream))),
            }
        }
        drop(self.listener);
        watch.dismiss();
        connections.close();
        connections.wait().await;
    }
}

struct Connection {
    allowance: Allowance,
    watched: Watched,
    place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve<S>(self, stream: TcpStream, service: S, drain: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Send + 'static,
    {
        let heard = tokio::select! {
            biased;
            heard = timeout(self.allowance.header_read_timeout, until_it_speaks(&stream)) => heard.ok(),
            () = drain.cancelled() => None,
        };
        let Some(speaks) = heard else { return };
        // Answers are written whole: waiting to fill a packet only delays them.
        drop(stream.set_nodelay(true));
        let stream = TokioIo::new(stream);
        let end = match speaks {
            Speaks::Http1 => {
                let mut builder = http1::Builder::new();
                builder.timer(self.watched.timer()).header_read_timeout(self.allowance.header_read_timeout);
                // A WebSocket leaves the connection that it began as: its place is then that of a stream.
                let connection = pin!(builder.serve_connection(stream, service).with_upgrades());
                self.watched.drive(connection, http1::UpgradeableConnection::graceful_shutdown).await
            }
            Speaks::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.timer(TokioTimer::new());
                let connection = pin!(builder.serve_connection(stream, service));
                self.watched.drive(connection, http2::Connection::graceful_shutdown).await
            }
        };
        if let Err(error) = end {
            tracing::debug!(%error, "a connection broke");
        }
        drop(self.place);
    }
}

/// Which HTTP a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
}

/// Waits until it can be told which HTTP is spoken. Whoever says nothing, or the first half of the HTTP/2 preface, must not
/// keep a place for ever, so the caller has to set a limit. A client that went away speaks HTTP/1.1, which hyper will find out.
async fn until_it_speaks(stream: &TcpStream) -> Speaks {
    let mut start = [0; PREFACE.len()];
    while let Ok(length @ 1..) = stream.peek(&mut start).await {
        if start == *PREFACE {
            return Speaks::Http2;
        }
        if !PREFACE.starts_with(&start[..length]) {
            return Speaks::Http1;
        }
        // What was only looked at stays readable, so the socket does not tell when there is more.
        sleep(PREFACE_PAUSE).await;
    }
    Speaks::Http1
}

/// Says why, instead of leaving the client to guess.
async fn turn_away(mut stream: TcpStream) {
    let farewell = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        // To close over a request that nobody read is to reset the connection, and the answer with it.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // The client may be gone, or never read: neither matters here.
    drop(timeout(TURN_AWAY_WITHIN, farewell).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_full_listener_is_well_formed() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
