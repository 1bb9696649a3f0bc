//! What goes back: a stored answer dressed for this request.

mod body;
mod cache_status;
mod head;
mod stored;

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use cache_core::{clock::Moment, entry::Entry};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use smallvec::SmallVec;

pub use self::{
    body::Body,
    cache_status::{CacheStatus, Forward},
    head::Head,
    stored::StoredResponse,
};
use crate::{
    error::Error,
    telemetry::{RequestOutcome, Route},
};

/// `Cache-Status` (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Proof of a write: a read that sends it back never gets a state from before it (C5).
pub const TRANSOM_TOKEN: HeaderName = HeaderName::from_static("transom-token");
/// What a read must not be older than.
pub const TRANSOM_MIN_TOKEN: HeaderName = HeaderName::from_static("transom-min-token");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// The request headers that select among the answers of one URL.
const VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Profile, Authorization, Prefer, Range");

/// A response, and what it is called in metrics and logs.
pub struct Reply {
    /// as it is sent
    pub response: Response<Body>,
    /// which part of the proxy made it
    pub route: Route,
    /// how
    pub outcome: RequestOutcome,
}

/// The parts of a request that matter to its answer's form.
#[derive(Clone, Copy)]
pub struct Asked<'r> {
    /// GET or HEAD
    pub method: &'r Method,
    /// for `If-None-Match`
    pub headers: &'r HeaderMap,
    /// `Content-Location`: the canonical spelling of what was asked; the call of a function has none
    pub location: Option<&'r HeaderValue>,
}

/// An answer to a read, from an entry of either tier or fresh from Postgres.
#[must_use]
pub fn to_read(asked: Asked<'_>, entry: &Entry<StoredResponse>, status: CacheStatus, now: Moment) -> Reply {
    let stored = &entry.value;
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in stored.headers() {
        headers.append(name, value);
    }
    if let Some(location) = asked.location {
        headers.insert(header::CONTENT_LOCATION, location.clone());
    }
    // Postgres builds no body for HEAD. What only the body could tell stays out (RFC 9110, section 9.3.2): the validator
    // of nothing would be taken for that of the answer to GET.
    if asked.method != Method::HEAD {
        headers.insert(header::ETAG, stored.etag());
    }
    headers.insert(header::VARY, VARY);
    headers.insert(header::AGE, HeaderValue::from(entry.age(now).as_secs()));
    headers.insert(CACHE_STATUS, status.header());
    let unchanged = is_unchanged(asked.headers, stored);
    let mut response = Response::new(Body::default());
    if unchanged {
        // RFC 9110, section 15.4.5: what describes the representation stays out, what selects and dates it stays in.
        headers.remove(header::CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.status_mut() = stored.status();
        // The body of a HEAD was never built (its plan leaves it out), so its length is not known either.
        if asked.method != Method::HEAD {
            *response.body_mut() = stored.body().into();
        }
    }
    *response.headers_mut() = headers;
    Reply { response, route: Route::Rest, outcome: status.outcome() }
}

/// An answer to a write.
#[must_use]
pub fn to_write(
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    body: Bytes,
) -> Reply {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response.headers_mut().insert(CACHE_STATUS, HeaderValue::from_static("transom; fwd=method"));
    Reply { response, route: Route::Rest, outcome: RequestOutcome::Write }
}

/// An answer of shared state: JSON that nobody may store.
#[must_use]
pub fn to_state(json: String) -> Reply {
    let mut response = Response::new(Body::from(Bytes::from(json)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Reply { response, route: Route::State, outcome: RequestOutcome::State }
}

/// An answer of shared state that goes on, as server-sent events.
#[must_use]
pub fn to_stream(body: Body) -> Reply {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What nginx wants to be told, lest it collects them.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Reply { response, route: Route::State, outcome: RequestOutcome::State }
}

/// Agrees to speak WebSocket from here on (RFC 6455, section 4.2.2).
#[must_use]
pub fn to_websocket(accept: HeaderValue) -> Reply {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Reply { response, route: Route::State, outcome: RequestOutcome::State }
}

/// The answer to a browser that asks what its pages may send; the caller says it.
#[must_use]
pub fn to_preflight() -> Reply {
    Reply { response: Response::new(Body::default()), route: Route::Rest, outcome: RequestOutcome::Preflight }
}

/// An error in PostgREST's shape.
#[must_use]
pub fn to_error(error: &Error) -> Reply {
    let problem = error.problem();
    let body = serde_json::json!({
        "code": problem.code, "message": problem.message, "details": problem.details, "hint": problem.hint,
    });
    let mut response = Response::new(Body::from(Bytes::from(body.to_string())));
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    headers.extend(problem.headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_STATUS, cache_status::of_error(error));
    if problem.status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::try_from(&*error.challenge());
        headers.insert(header::WWW_AUTHENTICATE, challenge.unwrap_or(HeaderValue::from_static("Bearer")));
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    let route = match error {
        Error::NoSuchPath => Route::Other,
        Error::State(_) => Route::State,
        _ => Route::Rest,
    };
    Reply { response, route, outcome: RequestOutcome::Error }
}

/// Adds `Server-Timing` (W3C): how long the proxy took, in milliseconds.
pub fn add_timing(headers: &mut HeaderMap, outcome: RequestOutcome, elapsed: Duration) {
    headers.insert(SERVER_TIMING, timing(outcome, elapsed));
}

/// See [`add_timing`]. Every answer carries one, so it is written digit by digit.
fn timing(outcome: RequestOutcome, elapsed: Duration) -> HeaderValue {
    let mut text: SmallVec<[u8; 64]> = SmallVec::new();
    text.extend_from_slice(b"transom;desc=");
    text.extend_from_slice(outcome.as_str().as_bytes());
    text.extend_from_slice(b";dur=");
    let micros = elapsed.as_micros();
    match micros / 1_000 {
        0 => text.push(b'0'),
        millis => text.extend_from_slice(millis.to_string().as_bytes()),
    }
    let digit = |number: u128| b'0' + u8::try_from(number % 10).expect("one digit");
    text.extend_from_slice(&[b'.', digit(micros / 100), digit(micros / 10), digit(micros)]);
    HeaderValue::from_bytes(&text).expect("our own words are visible ASCII")
}

/// A header value of our own making: visible ASCII only.
fn format_value(text: fmt::Arguments<'_>) -> HeaderValue {
    let mut value = BytesMut::with_capacity(80);
    fmt::Write::write_fmt(&mut value, text).expect("writing to memory does not fail");
    HeaderValue::from_maybe_shared(value.freeze()).expect("our own words are visible ASCII")
}

/// Whether the client has this answer already. `If-None-Match` (RFC 9110, section 13.1.2): weak comparison, a list, or `*`.
#[must_use]
pub fn is_unchanged(headers: &HeaderMap, stored: &StoredResponse) -> bool {
    // RFC 9110, section 13.2.1: a condition counts only if the answer would be a success without it.
    if !headers.contains_key(header::IF_NONE_MATCH) || !stored.status().is_success() {
        return false;
    }
    let etag = stored.etag_text();
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|candidate| candidate == b"*" || candidate.strip_prefix(b"W/").unwrap_or(candidate) == etag)
    })
}
