//! A response as it is stored: finished, except for what depends on the request that it answers.

use bytes::{Buf, BufMut, Bytes};
use cache_core::{entry::Value, error::CodecError};
use http::{HeaderName, HeaderValue, StatusCode};
use xxhash_rust::xxh3::Xxh3;

/// Status, headers and body. Cloning copies no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// 200 or 206
    pub status: StatusCode,
    /// what describes the body
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// a strong validator of status, headers and body (RFC 9110, section 8.8.3)
    pub etag: HeaderValue,
    /// as Postgres built it
    pub body: Bytes,
}

impl StoredResponse {
    /// A response with its validator.
    #[must_use]
    pub fn new(status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>, body: Bytes) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&status.as_u16().to_le_bytes());
        for (name, value) in &headers {
            hash.update(name.as_str().as_bytes());
            hash.update(value.as_bytes());
        }
        hash.update(&body);
        let etag = super::format_value(format_args!("\"{:032x}\"", hash.digest128()));
        Self { status, headers, etag, body }
    }
}

/// Bytes that a header costs beside its text.
const HEADER_OVERHEAD: usize = 72;

impl Value for StoredResponse {
    fn weight(&self) -> usize {
        let header = |(name, value): &(HeaderName, HeaderValue)| name.as_str().len() + value.len() + HEADER_OVERHEAD;
        self.body.len() + self.etag.len() + self.headers.iter().map(header).sum::<usize>()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16_le(self.status.as_u16());
        out.put_u16_le(u16::try_from(self.headers.len()).unwrap_or(u16::MAX));
        put(out, self.etag.as_bytes());
        for (name, value) in &self.headers {
            put(out, name.as_str().as_bytes());
            put(out, value.as_bytes());
        }
        out.put_slice(&self.body);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, CodecError> {
        let broken = |_| CodecError::NotAnEntry;
        let status =
            StatusCode::from_u16(bytes.try_get_u16_le().map_err(broken)?).map_err(|_| CodecError::NotAnEntry)?;
        let count = bytes.try_get_u16_le().map_err(broken)?;
        let etag = value(&mut bytes)?;
        let mut headers = Vec::with_capacity(usize::from(count.min(64)));
        for _ in 0..count {
            let name = HeaderName::from_bytes(&get(&mut bytes)?).map_err(|_| CodecError::NotAnEntry)?;
            headers.push((name, value(&mut bytes)?));
        }
        Ok(Self { status, headers, etag, body: bytes })
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

fn value(bytes: &mut Bytes) -> Result<HeaderValue, CodecError> {
    HeaderValue::from_maybe_shared(get(bytes)?).map_err(|_| CodecError::NotAnEntry)
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn response() -> StoredResponse {
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))];
        StoredResponse::new(StatusCode::PARTIAL_CONTENT, headers, Bytes::from_static(b"[1]"))
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
        for length in 0..out.len() - response().body.len() {
            assert!(StoredResponse::decode(out[..length].to_vec().into()).is_err(), "length {length}");
        }
    }

    #[test]
    fn the_validator_covers_status_headers_and_body() {
        let plain = StoredResponse::new(StatusCode::OK, Vec::new(), Bytes::from_static(b"[1]"));
        assert_ne!(plain.etag, response().etag);
        assert_ne!(plain.etag, StoredResponse::new(StatusCode::OK, Vec::new(), Bytes::from_static(b"[2]")).etag);
    }
}
