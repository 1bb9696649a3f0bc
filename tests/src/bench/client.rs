//! A client that expects success: a benchmark of failures would measure nothing.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

pub use crate::connection::Answer;
use crate::connection::Connection;

/// One HTTP/1.1 connection that stays open.
#[derive(Debug)]
pub struct Client(Connection);

impl Client {
    /// A client of the server on this port.
    #[must_use]
    pub fn to(port: u16) -> Self {
        Self(Connection::to(port))
    }

    /// Asks for a target.
    ///
    /// # Panics
    /// If the answer is anything but a 200.
    pub async fn get(&mut self, target: &str) -> Answer {
        let request = Request::get(target).body(Full::default()).expect("a well-formed request");
        self.send(target, request, 200).await
    }

    /// Changes a row.
    ///
    /// # Panics
    /// If the answer is anything but a 204.
    pub async fn patch(&mut self, target: &str, json: String) {
        let request = Request::patch(target).header("content-type", "application/json").body(Full::from(json));
        self.send(target, request.expect("a well-formed request"), 204).await;
    }

    async fn send(&mut self, target: &str, mut request: Request<Full<Bytes>>, expected: u16) -> Answer {
        request.headers_mut().insert("host", http::HeaderValue::from_static("bench"));
        let answer = self.0.send(request).await.unwrap_or_else(|reason| panic!("{target}: {reason:?}"));
        assert_eq!(answer.status, expected, "{target}: {:?}", answer.body);
        answer
    }
}
