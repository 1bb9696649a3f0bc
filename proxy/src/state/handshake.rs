//! How a WebSocket begins (RFC 6455, section 4): a request over HTTP/1.1 that asks for one.

use cache_core::clock::WallMillis;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::said::invalid;
use crate::error::{Error, StateRefusal};

/// A client that asked for a WebSocket as it should.
pub(super) struct Handshake {
    accept: HeaderValue,
    upgrade: OnUpgrade,
    until: WallMillis,
}

/// 16 bytes in base64 (RFC 6455, section 4.1).
const KEY_BYTES: usize = 24;

impl Handshake {
    /// `None` if no WebSocket is asked for. Whoever asks may do so `until` then.
    ///
    /// # Errors
    /// If it is asked for in another way than it should be.
    pub(super) fn of(parts: &Parts, until: WallMillis) -> Result<Option<Self>, Error> {
        let headers = &parts.headers;
        // RFC 9110, section 7.8: means nothing before HTTP/1.1; HTTP/2 has no such header.
        if parts.version != Version::HTTP_11 || !lists(headers, &header::UPGRADE, "websocket") {
            return Ok(None);
        }
        if !lists(headers, &header::CONNECTION, "upgrade") {
            return Err(invalid("a WebSocket is asked for with Connection: Upgrade"));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(StateRefusal::WebSocketVersion.into());
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
        let key = key.ok_or_else(|| invalid("Sec-WebSocket-Key is 16 bytes in base64"))?;
        let upgrade = parts.extensions.get::<OnUpgrade>().cloned();
        let upgrade = upgrade.ok_or_else(|| invalid("this connection cannot become a WebSocket"))?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is visible ASCII");
        Ok(Some(Self { accept, upgrade, until }))
    }

    /// What proves to the client that it was understood.
    pub(super) fn accept(&self) -> HeaderValue {
        self.accept.clone()
    }

    /// The connection, and until when its client may use it.
    pub(super) fn into_parts(self) -> (OnUpgrade, WallMillis) {
        (self.upgrade, self.until)
    }
}

/// Whether one of the words of these headers is that one.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|listed| listed.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

fn is_key(key: &[u8]) -> bool {
    let (text, padding) = key.split_at(key.len().min(KEY_BYTES - 2));
    padding == b"==" && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_keys_are_told_from_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("keep-alive, upgrade"));
        assert!(lists(&headers, &header::CONNECTION, "Upgrade"));
        assert!(!lists(&headers, &header::CONNECTION, "keep"));
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in
            [&b""[..], b"==", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZSBub25jZQ=", b"dGhl HNhbXBsZSBub25jZQ=="]
        {
            assert!(!is_key(wrong), "{wrong:?}");
        }
    }
}
