//! An HTTP server that says what the test wants: stands in for a node where only its outside matters.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running stub; it ends when dropped.
#[derive(Debug)]
pub struct Stub {
    port: u16,
    accepting: JoinHandle<()>,
}

impl Stub {
    /// Starts one whose `answer` maps the path of a request to a status and a body.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start<A>(answer: A) -> Self
    where
        A: Fn(&str) -> (u16, String) + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let answer = Arc::new(answer);
        let accepting = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let (status, body) = answer(request.uri().path());
                    let response = http::Response::builder().status(status).body(Full::new(Bytes::from(body)));
                    async move { Ok::<_, Infallible>(response.expect("the test names a real status")) }
                });
                // A connection lives as long as its client or the runtime of the test.
                tokio::spawn(async move {
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(connection), service)
                        .await;
                });
            }
        });
        Self { port, accepting }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
