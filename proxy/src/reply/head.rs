//! The head of an answer to a hit, kept ready for as long as nothing in it changes: a second, because of `Age`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cache_core::{clock::Moment, entry::Entry, outcome::Tier};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::{Asked, Body, CacheStatus, SERVER_TIMING, StoredResponse, timing, to_read};
use crate::telemetry::{REQUEST_ID, RequestId, RequestOutcome};

/// Status and headers of a fresh hit, in memory that no other copy shares.
#[derive(Debug)]
pub struct Head {
    age: u64,
    ttl: u64,
    status: StatusCode,
    headers: HeaderMap,
}

impl Head {
    /// The head of the answer to this request.
    #[must_use]
    pub fn new(asked: Asked<'_>, entry: &Entry<StoredResponse>, ttl: Duration, now: Moment) -> Self {
        let reply = to_read(asked, entry, CacheStatus::Hit { tier: Tier::L1, ttl }, now);
        let made = reply.response.headers();
        // In one piece, so that an answer touches few cache lines, and counts its references in one place.
        let mut texts = BytesMut::with_capacity(made.values().map(HeaderValue::len).sum());
        made.values().for_each(|value| texts.extend_from_slice(value.as_bytes()));
        let mut texts = texts.freeze();
        let mut headers = HeaderMap::with_capacity(made.len() + 2);
        for (name, value) in made {
            let own = HeaderValue::from_maybe_shared(texts.split_to(value.len()));
            headers.append(name.clone(), own.expect("the bytes of a value make a value"));
        }
        // Places for what each answer fills in: to add a header to a copy of the map would be to grow it.
        headers.insert(SERVER_TIMING, HeaderValue::from_static(""));
        headers.insert(REQUEST_ID, HeaderValue::from_static(""));
        Self { age: entry.age(now).as_secs(), ttl: ttl.as_secs(), status: reply.response.status(), headers }
    }

    /// Whether a head that was made now would be the same.
    #[must_use]
    pub fn holds(&self, age: Duration, ttl: Duration) -> bool {
        self.age == age.as_secs() && self.ttl == ttl.as_secs()
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// An answer with this head.
    #[must_use]
    pub fn answer(&self, body: Bytes, id: &RequestId, elapsed: Duration) -> Response<Body> {
        let mut headers = self.headers.clone();
        headers.insert(SERVER_TIMING, timing(RequestOutcome::HitL1, elapsed));
        headers.insert(REQUEST_ID, id.header());
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}
