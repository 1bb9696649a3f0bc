//! A response as it is stored: finished, except for what depends on the request that it answers.

use bytes::{Buf, BufMut, Bytes};
use cache_core::{entry::Value, error::CodecError};
use http::{HeaderName, HeaderValue, StatusCode, header};
use xxhash_rust::xxh3::Xxh3;

use crate::digits::hexadecimal;

/// Status, headers and body, in one piece of memory that is laid out as it travels, little-endian: status `u16`, where the body
/// begins `u32`, validator `u128`, headers, body. Cloning copies no bytes, and neither does reading what a peer stored.
///
/// A header is a byte: the place of what is usual, or 255, and its name follows. Its value does unless the place says it. Texts
/// are a length `u32` and so many bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse(Bytes);

const BODY_AT: usize = 2;
const VALIDATOR_AT: usize = 6;
const HEADERS_AT: usize = 22;

/// Names of headers, and some of their values, that are stored as one byte. Peers read them: whoever changes what is where
/// raises [the version](cache_core::codec::VERSION).
static USUAL: [(HeaderName, Option<&str>); 6] = [
    (header::CONTENT_TYPE, Some("application/json; charset=utf-8")),
    (header::CONTENT_TYPE, Some("application/vnd.pgrst.object+json; charset=utf-8")),
    (header::CONTENT_TYPE, None),
    (header::CONTENT_RANGE, None),
    (HeaderName::from_static("content-profile"), None),
    (HeaderName::from_static("preference-applied"), None),
];
const UNUSUAL: u8 = u8::MAX;

/// Bytes of a validator: quotation marks and 32 digits.
const ETAG_BYTES: usize = 34;

impl StoredResponse {
    /// A response of 200 or 206 with what describes its body.
    #[must_use]
    pub fn new(status: StatusCode, headers: &[(HeaderName, HeaderValue)], body: &[u8]) -> Self {
        let mut described = Vec::new();
        headers.iter().for_each(|(name, value)| put_header(&mut described, name, value));
        let body_at = HEADERS_AT + described.len();
        let mut bytes = Vec::with_capacity(body_at + body.len());
        bytes.put_u16_le(status.as_u16());
        bytes.put_u32_le(u32::try_from(body_at).expect("headers are smaller than an answer may be"));
        bytes.put_u128_le(validator(status, headers, body));
        bytes.put_slice(&described);
        bytes.put_slice(body);
        Self(bytes.into())
    }

    /// 200 or 206.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16((&self.0[..]).get_u16_le()).expect(WAS_READ)
    }

    /// A strong validator of status, headers and body (RFC 9110, section 8.8.3).
    #[must_use]
    pub fn etag(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.etag_text()).expect("digits and quotation marks are visible ASCII")
    }

    /// The text of [`etag`](Self::etag).
    #[must_use]
    pub fn etag_text(&self) -> [u8; ETAG_BYTES] {
        let digits: [u8; ETAG_BYTES - 2] = hexadecimal((&self.0[VALIDATOR_AT..]).get_u128_le());
        let mut text = [b'"'; ETAG_BYTES];
        text[1..ETAG_BYTES - 1].copy_from_slice(&digits);
        text
    }

    /// What describes the body.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let mut rest = self.0.slice(HEADERS_AT..self.body_at());
        std::iter::from_fn(move || rest.has_remaining().then(|| get_header(&mut rest).expect(WAS_READ)))
    }

    /// As Postgres built it.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.0.slice(self.body_at()..)
    }

    /// Whether both say the same, whatever their headers.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.status() == other.status() && self.0[self.body_at()..] == other.0[other.body_at()..]
    }

    fn body_at(&self) -> usize {
        (&self.0[BODY_AT..]).get_u32_le() as usize
    }
}

/// Why what is stored can be read: it was written here, or read once when it came.
const WAS_READ: &str = "the head was written or read before";

fn validator(status: StatusCode, headers: &[(HeaderName, HeaderValue)], body: &[u8]) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&status.as_u16().to_le_bytes());
    for (name, value) in headers {
        hash.update(name.as_str().as_bytes());
        hash.update(value.as_bytes());
    }
    hash.update(body);
    hash.digest128()
}

impl Value for StoredResponse {
    fn weight(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_slice(&self.0);
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let broken = |_| CodecError::NotAnEntry;
        let mut head = &bytes[..];
        StatusCode::from_u16(head.try_get_u16_le().map_err(broken)?).map_err(|_| CodecError::NotAnEntry)?;
        let body_at = head.try_get_u32_le().map_err(broken)? as usize;
        if !(HEADERS_AT..=bytes.len()).contains(&body_at) {
            return Err(CodecError::NotAnEntry);
        }
        let mut headers = bytes.slice(HEADERS_AT..body_at);
        while headers.has_remaining() {
            get_header(&mut headers)?;
        }
        Ok(Self(bytes))
    }
}

fn put_header(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let is_it = |(usual, says): &(HeaderName, Option<&str>)| usual == name && says.is_none_or(|says| value == says);
    let place = USUAL.iter().position(is_it);
    out.put_u8(place.and_then(|place| u8::try_from(place).ok()).unwrap_or(UNUSUAL));
    if place.is_none() {
        put(out, name.as_str().as_bytes());
    }
    if place.is_none_or(|place| USUAL[place].1.is_none()) {
        put(out, value.as_bytes());
    }
}

fn get_header(bytes: &mut Bytes) -> Result<(HeaderName, HeaderValue), CodecError> {
    let place = bytes.try_get_u8().map_err(|_| CodecError::NotAnEntry)?;
    let (name, says) = match USUAL.get(usize::from(place)) {
        Some((name, says)) => (name.clone(), *says),
        None if place == UNUSUAL => (HeaderName::from_bytes(&get(bytes)?).map_err(|_| CodecError::NotAnEntry)?, None),
        None => return Err(CodecError::NotAnEntry),
    };
    let value = match says {
        Some(says) => HeaderValue::from_static(says),
        None => HeaderValue::from_maybe_shared(get(bytes)?).map_err(|_| CodecError::NotAnEntry)?,
    };
    Ok((name, value))
}

fn put(out: &mut Vec<u8>, text: &[u8]) {
    out.put_u32_le(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text);
}

fn get(bytes: &mut Bytes) -> Result<Bytes, CodecError> {
    let length = bytes.try_get_u32_le().map_err(|_| CodecError::NotAnEntry)? as usize;
    if bytes.len() < length { Err(CodecError::NotAnEntry) } else { Ok(bytes.split_to(length)) }
}

#[cfg(test)]
mod tests {
    use cache_core::entry::Entry;
    use http::header;

    use super::*;

    fn response() -> StoredResponse {
        StoredResponse::new(StatusCode::PARTIAL_CONTENT, &described(), b"[1]")
    }

    /// Usual, of a usual name, and neither.
    fn described() -> [(HeaderName, HeaderValue); 3] {
        [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
            (header::CONTENT_RANGE, HeaderValue::from_static("0-0/*")),
            (HeaderName::from_static("x-said"), HeaderValue::from_static("by the database")),
        ]
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
        for length in 0..response().body_at() {
            assert!(StoredResponse::decode(out[..length].to_vec().into()).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_header_that_this_release_does_not_know_is_no_entry() {
        let mut out = Vec::new();
        StoredResponse::new(StatusCode::OK, &described()[..1], b"").encode(&mut out);
        assert!(StoredResponse::decode(out.clone().into()).is_ok());
        *out.last_mut().unwrap() = 100;
        assert_eq!(StoredResponse::decode(out.into()), Err(CodecError::NotAnEntry));
    }

    #[test]
    fn an_entry_takes_two_cache_lines() {
        let counts = 2 * size_of::<usize>();
        assert!(counts + size_of::<Entry<StoredResponse>>() <= 128);
    }

    #[test]
    fn an_answer_is_named_by_its_digits() {
        let etag = response().etag();
        let digits = etag.to_str().unwrap().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
        let validator = validator(StatusCode::PARTIAL_CONTENT, &described(), b"[1]");
        assert_eq!(u128::from_str_radix(digits, 16), Ok(validator));
        assert_eq!(digits.len(), 32);
    }

    #[test]
    fn the_validator_covers_status_headers_and_body() {
        let plain = StoredResponse::new(StatusCode::OK, &[], b"[1]");
        assert_ne!(plain.etag(), response().etag());
        assert_ne!(plain.etag(), StoredResponse::new(StatusCode::OK, &[], b"[2]").etag());
    }
}
