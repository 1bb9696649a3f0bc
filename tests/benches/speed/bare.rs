//! The ceiling: hyper alone, which gives one answer to whatever is asked. It runs in a process of its own, as this program
//! called by another name. The caches have the same server behind them.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use transom_tests::bench::Answer;

/// What this program is called by to be that server.
pub(super) const NAME: &str = "bare-hyper";

/// How this program is called to be that server. It reads the answer from a file.
pub(super) fn command(port: u16, answer: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("a running program has a path"));
    command.arg(NAME).arg(port.to_string()).arg(answer);
    command
}

/// Writes an answer as [`serve`] reads it: status, headers, body.
pub(super) fn written(answer: &Answer) -> Vec<u8> {
    let mut text = format!("{}\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        // hyper writes these two by itself.
        if name != http::header::DATE && name != http::header::CONTENT_LENGTH {
            text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
    }
    text.push(b'\n');
    text.extend_from_slice(&answer.body);
    text
}

/// Serves until it is ended.
pub(super) fn serve(port: &str, answer: &str) -> ! {
    let answer = read(&PathBuf::from(answer));
    let port: u16 = port.parse().expect("a port");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        loop {
            let (stream, _) = listener.accept().await.expect("connections can be accepted");
            stream.set_nodelay(true).expect("a socket has that option");
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |_: Request<Incoming>| {
                    let answer = answer.clone();
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut preface = [0; 3];
                let known = stream.peek(&mut preface).await.is_ok();
                let stream = TokioIo::new(stream);
                // A client that goes away is no failure here.
                if known && &preface == b"PRI" {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(stream, service).await);
                } else {
                    let mut builder = hyper::server::conn::http1::Builder::new();
                    builder.header_read_timeout(None);
                    drop(builder.serve_connection(stream, service).await);
                }
            });
        }
    })
}

fn read(answer: &Path) -> Response<Full<Bytes>> {
    let text = fs::read(answer).expect("the answer was written");
    let end = text.windows(2).position(|pair| pair == b"\n\n").expect("an empty line ends the head");
    let head = String::from_utf8(text[..end].to_vec()).expect("a head in ASCII");
    let mut lines = head.lines();
    let status: u16 = lines.next().and_then(|line| line.parse().ok()).expect("a status");
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(&text[end + 2..])));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        response.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
    }
    response
}
