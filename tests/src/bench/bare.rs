//! hyper alone, with one function behind it: what the ceilings of the benchmarks are made of.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Answers whatever is asked on a loopback port until the process is ended, by HTTP/1.1 and, with prior knowledge (RFC 9113,
/// section 3.3), by HTTP/2.
///
/// # Panics
/// If the port is taken.
pub async fn serve<A, F>(port: u16, answer: A) -> !
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    loop {
        let (stream, _) = listener.accept().await.expect("connections can be accepted");
        stream.set_nodelay(true).expect("a socket has that option");
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let mut preface = [0; 3];
            let known = stream.peek(&mut preface).await.is_ok();
            let stream = TokioIo::new(stream);
            // A client that goes away is no failure here.
            if known && &preface == b"PRI" {
                drop(http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await);
            } else {
                let mut builder = http1::Builder::new();
                builder.header_read_timeout(None);
                drop(builder.serve_connection(stream, service).await);
            }
        });
    }
}
