//! Accepts connections, serves HTTP/1.1 and h2c on them, and drains.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

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
        let builder = connection_builder(allowance.header_read_timeout);
        loop {
            let (stream, address) = tokio::select! {
                biased;
                () = drain.cancelled() => break,
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
                    let patience = allowance.header_read_timeout;
                    let connection = Connection { builder: builder.clone(), patience, place };
                    let peer = (allowance.peers == Peers::Told).then(|| Peer(address.ip()));
                    let service = Introduce::new(service.clone(), peer);
                    connections.spawn(connection.serve(stream, service, drain.clone()));
                }
                Err(_) => drop(connections.spawn(turn_away(stream))),
            }
        }
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }
}

fn connection_builder(header_read_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_read_timeout);
    builder.http2().timer(TokioTimer::new());
    builder
}

struct Connection {
    builder: auto::Builder<TokioExecutor>,
    patience: Duration,
    place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve<S>(self, stream: TcpStream, service: S, drain: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
            + Clone
            + Send
            + 'static,
    {
        let heard = tokio::select! {
            biased;
            heard = timeout(self.patience, until_it_speaks(&stream)) => heard.is_ok(),
            () = drain.cancelled() => false,
        };
        if !heard {
            return;
        }
        // Answers are written whole: waiting to fill a packet only delays them.
        drop(stream.set_nodelay(true));
        let service = TowerToHyperService::new(service);
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let end = tokio::select! {
            biased;
            end = connection.as_mut() => end,
            () = drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = end {
            tracing::debug!(%error, "a connection broke");
        }
        drop(self.place);
    }
}

/// Waits until it can be told which HTTP is spoken. hyper waits for that without an end: its timeout is that of
/// HTTP/1.1, and whoever says nothing, or the first half of the HTTP/2 preface, would keep a place for ever.
async fn until_it_speaks(stream: &TcpStream) {
    let mut start = [0; PREFACE.len()];
    while let Ok(length) = stream.peek(&mut start).await {
        let undecided = length > 0 && length < PREFACE.len() && PREFACE.starts_with(&start[..length]);
        if !undecided {
            return;
        }
        // What was only looked at stays readable, so the socket does not tell when there is more.
        sleep(PREFACE_PAUSE).await;
    }
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
