//! A response as it is stored: finished, except for what depends on the request that it answers.

use bytes::{Buf, BufMut, Bytes};
use cache_core::{entry::Value, error::CodecError};
use http::{HeaderName, HeaderValue, StatusCode};
use xxhash_rust::xxh3::Xxh3;

/// Status, headers and body, in one piece of memory that is laid out as it travels: status, number of headers, validator, each
/// header's name and value, body. Cloning copies no bytes, and neither does reading what a peer stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    bytes: Bytes,
    body_at: usize,
}

/// Where the validator begins: behind the status and the number of headers.
const ETAG_AT: usize = 4;

impl StoredResponse {
    /// A response of 200 or 206 with what describes its body.
    #[must_use]
    pub fn new(status: StatusCode, headers: &[(HeaderName, HeaderValue)], body: &[u8]) -> Self {
        let etag = etag(status, headers, body);
        let texts = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 2 * size_of::<u32>());
        let length = ETAG_AT + size_of::<u32>() + etag.len() + texts.sum::<usize>() + body.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.put_u16_le(status.as_u16());
        bytes.put_u16_le(u16::try_from(headers.len()).unwrap_or(u16::MAX));
        put(&mut bytes, etag.as_bytes());
        for (name, value) in headers.iter().take(usize::from(u16::MAX)) {
            put(&mut bytes, name.as_str().as_bytes());
            put(&mut bytes, value.as_bytes());
        }
        let body_at = bytes.len();
        bytes.put_slice(body);
        Self { bytes: bytes.into(), body_at }
    }

    /// 200 or 206.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.bytes.slice(..).get_u16_le()).expect("it was one when this was made")
    }

    /// A strong validator of status, headers and body (RFC 9110, section 8.8.3).
    #[must_use]
    pub fn etag(&self) -> HeaderValue {
        value(&mut self.bytes.slice(ETAG_AT..)).expect(WAS_READ)
    }

    /// What describes the body.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let mut rest = self.bytes.slice(ETAG_AT..self.body_at);
        get(&mut rest).expect(WAS_READ);
        std::iter::from_fn(move || rest.has_remaining().then(|| header(&mut rest).expect(WAS_READ)))
    }

    /// As Postgres built it.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body_at..)
    }

    /// Whether both say the same, whatever their headers.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.status() == other.status() && self.bytes[self.body_at..] == other.bytes[other.body_at..]
    }
}

/// Why what is stored can be read: it was written here, or read once when it came.
const WAS_READ: &str = "the head was written or read before";

fn etag(status: StatusCode, headers: &[(HeaderName, HeaderValue)], body: &[u8]) -> HeaderValue {
    let mut hash = Xxh3::new();
    hash.update(&status.as_u16().to_le_bytes());
    for (name, value) in headers {
        hash.update(name.as_str().as_bytes());
        hash.update(value.as_bytes());
    }
    hash.update(body);
    super::format_value(format_args!("\"{:032x}\"", hash.digest128()))
}

impl Value for StoredResponse {
    fn weight(&self) -> usize {
        self.bytes.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_slice(&self.bytes);
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let broken = |_| CodecError::NotAnEntry;
        let mut rest = bytes.clone();
        StatusCode::from_u16(rest.try_get_u16_le().map_err(broken)?).map_err(|_| CodecError::NotAnEntry)?;
        let count = rest.try_get_u16_le().map_err(broken)?;
        value(&mut rest)?;
        for _ in 0..count {
            header(&mut rest)?;
        }
        Ok(Self { body_at: bytes.len() - rest.len(), bytes })
    }
}

fn put(out: &mut Vec<u8>, text: &[u8]) {
    out.put_u32_le(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text);
}

fn get(bytes: &mut Bytes) -> Result<Bytes, CodecError> {
    let length = bytes.try_get_u32_le().map_err(|_| CodecError::NotAnEntry)? as usize;
    if bytes.len() < length { Err(CodecError::NotAnEntry) } else { Ok(bytes.split_to(length)) }
}

fn header(bytes: &mut Bytes) -> Result<(HeaderName, HeaderValue), CodecError> {
    let name = HeaderName::from_bytes(&get(bytes)?).map_err(|_| CodecError::NotAnEntry)?;
    Ok((name, value(bytes)?))
}

fn value(bytes: &mut Bytes) -> Result<HeaderValue, CodecError> {
    HeaderValue::from_maybe_shared(get(bytes)?).map_err(|_| CodecError::NotAnEntry)
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn response() -> StoredResponse {
        StoredResponse::new(StatusCode::PARTIAL_CONTENT, &described(), b"[1]")
    }

    fn described() -> [(HeaderName, HeaderValue); 1] {
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))]
    }

    #[test]
    fn it_has_what_it_was_made_of() {
        let response = response();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(response.headers().collect::<Vec<_>>(), described());
        assert_eq!(response.body(), "[1]");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        response().encode(&mut out);
        assert_eq!(StoredResponse::decode(out.into()), Ok(response()));
    }

    #[test]
    fn a_cut_before_the_body_is_noticed() {
        let mut out = Vec::new();
        response().encode(&mut out);
        for length in 0..response().body_at {
            assert!(StoredResponse::decode(out[..length].to_vec().into()).is_err(), "length {length}");
        }
    }

    #[test]
    fn the_validator_covers_status_headers_and_body() {
        let plain = StoredResponse::new(StatusCode::OK, &[], b"[1]");
        assert_ne!(plain.etag(), response().etag());
        assert_ne!(plain.etag(), StoredResponse::new(StatusCode::OK, &[], b"[2]").etag());
    }
}
