//! A connection that stays open, with as little between the benchmark and the socket as hyper allows.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An answer, read to its end.
pub type Answer = Response<Bytes>;

/// One HTTP/1.1 connection to a server of this machine.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// If nobody listens.
    pub async fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
        stream.set_nodelay(true).expect("a socket can be told so");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a fresh connection");
        // It ends when the sender is dropped.
        tokio::spawn(connection);
        Self { sender }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Panics
    /// If the connection breaks: a benchmark of failures would measure nothing.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        self.sender.ready().await.expect("the connection stays open");
        let answer = self.sender.send_request(request).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        Response::from_parts(parts, body.collect().await.expect("the whole answer").to_bytes())
    }

    /// Asks for a target.
    ///
    /// # Panics
    /// If the answer is anything but a 200.
    pub async fn get(&mut self, target: &str) -> Answer {
        let answer = self.send(get(target)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{target}: {:?}", answer.body());
        answer
    }

    /// Changes a row.
    ///
    /// # Panics
    /// If the answer is anything but a 204.
    pub async fn patch(&mut self, target: &str, json: String) {
        let request = Request::patch(target)
            .header("host", "bench")
            .header("content-type", "application/json")
            .body(Full::from(json))
            .expect("a well-formed request");
        let answer = self.send(request).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{target}: {:?}", answer.body());
    }
}

/// A GET of a target.
pub(super) fn get(target: &str) -> Request<Full<Bytes>> {
    Request::get(target).header("host", "bench").body(Full::default()).expect("a well-formed request")
}
