//! The little HTTP that commands need to talk to a node's admin listener.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longest wait for an answer; a purge waits for Redis at most.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Admin answers are small; anything larger did not come from a node.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What the node said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

/// Sends one request to the listener at `address` (host and port) and reads the whole answer.
///
/// # Errors
/// A sentence for people: no listener, no HTTP, no answer in time.
pub(super) async fn send(address: &str, method: Method, path: &str, body: String) -> Result<Answer, String> {
    let exchange = exchange(address, method, path, body);
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("{address} did not answer within {} seconds", TIMEOUT.as_secs())),
    }
}

async fn exchange(address: &str, method: Method, path: &str, body: String) -> Result<Answer, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("no node listens at {address} ({error}); start one, or name its admin listener"))?;
    let not_http = |error: hyper::Error| format!("{address} does not answer as a node does: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(not_http)?;
    // Ends with `sender`, at the end of this function.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| format!("{address}{path} is not a URL: {error}"))?;
    let (head, body) = sender.send_request(request).await.map_err(not_http)?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Answer { status: head.status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Host and port of `http://host:port`; the scheme may be left out.
pub(super) fn authority(base: &str) -> Result<String, String> {
    let wrong = || format!("{base:?} is not the URL of an admin listener; write for example http://127.0.0.1:8001");
    let uri: Uri = base.trim_end_matches('/').parse().map_err(|_| wrong())?;
    if !matches!(uri.scheme_str(), None | Some("http")) {
        return Err(wrong());
    }
    let authority = uri.authority().ok_or_else(wrong)?;
    match authority.port() {
        Some(_) => Ok(authority.to_string()),
        None => Ok(format!("{authority}:80")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_is_named_by_url_or_by_address() {
        assert_eq!(authority("http://127.0.0.1:8001/").unwrap(), "127.0.0.1:8001");
        assert_eq!(authority("node-1:8001").unwrap(), "node-1:8001");
        assert_eq!(authority("http://node-1").unwrap(), "node-1:80");
        assert_eq!(authority("http://[::1]:8001").unwrap(), "[::1]:8001");
        for wrong in ["", "https://node-1:8001", "/purge", "not a url"] {
            assert!(authority(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_absent_node_is_said_to_be_absent() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = send(&free.to_string(), Method::GET, "/livez", String::new()).await.unwrap_err();
        assert!(error.starts_with(&format!("no node listens at {free}")), "{error}");
    }
}
