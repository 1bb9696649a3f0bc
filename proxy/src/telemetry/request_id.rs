//! The name of one request, the same in logs on both sides of the proxy.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::digits::hexadecimal;

/// The header that carries it, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A UUID has 36 bytes; anything far longer is not an id, and would be repeated in every log line.
const BYTES_MAX: usize = 128;

/// The name of one request: the caller's own if it is sane, else one made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's id, or one made from `random`, which is only asked if it is needed.
    #[must_use]
    pub fn of(headers: &HeaderMap, random: impl FnOnce() -> u64) -> Self {
        Self::accepted(headers).unwrap_or_else(|| Self::made(random()))
    }

    /// For the response, and for requests further on.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// For logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("only visible ASCII is accepted or made")
    }

    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(REQUEST_ID)?;
        let sane = (1..=BYTES_MAX).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
        sane.then(|| Self(value.clone()))
    }

    fn made(random: u64) -> Self {
        let digits: [u8; 16] = hexadecimal(random.into());
        Self(HeaderValue::from_bytes(&digits).expect("hexadecimal digits are visible ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &[u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        RequestId::of(&headers, || 0xab)
    }

    #[test]
    fn a_sane_id_is_kept() {
        assert_eq!(of(b"3f2c-1").as_str(), "3f2c-1");
        assert_eq!(of(&[b'x'; 128]).as_str().len(), 128);
    }

    #[test]
    fn an_absent_or_odd_id_is_replaced() {
        let made = "00000000000000ab";
        assert_eq!(RequestId::of(&HeaderMap::new(), || 0xab).as_str(), made);
        for odd in [&b""[..], b"two words", b"caf\xc3\xa9", &[b'x'; 129]] {
            assert_eq!(of(odd).as_str(), made);
        }
    }
}
