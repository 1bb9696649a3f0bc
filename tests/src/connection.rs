//! A connection to a server, as light as it can be: checker and benchmarks share the machine with what they look at.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A little longer than a node's own deadline for a request: whatever takes so long hangs.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// nobody listens, or the connection broke
    Connection,
    /// not within [`PATIENCE`]
    Hung,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// the status code
    pub status: u16,
    /// all headers
    pub headers: HeaderMap,
    /// the body
    pub body: Bytes,
}

impl Answer {
    /// The first header of that name; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The last part of `Content-Range`.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.header("content-range").rsplit_once('/')?.1.parse().ok()
    }
}

/// A client of one server. It connects when it has to, and stays connected.
#[derive(Debug)]
pub struct Connection {
    port: u16,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// To the server on this port.
    #[must_use]
    pub fn to(port: u16) -> Self {
        Self { port, open: None }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// If there is none; the next request makes a new connection.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        match timeout(PATIENCE, self.exchange(request)).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                self.open = None;
                Err(NoAnswer::Connection)
            }
            Err(_) => {
                self.open = None;
                Err(NoAnswer::Hung)
            }
        }
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Option<Answer> {
        if self.open.as_ref().is_none_or(|open| open.sender.is_closed()) {
            self.open = Some(connect(self.port).await?);
        }
        let sender = &mut self.open.as_mut()?.sender;
        sender.ready().await.ok()?;
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

async fn connect(port: u16) -> Option<Open> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    Some(Open { sender, driver })
}
