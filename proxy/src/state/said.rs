//! What a request for shared state says in its body.

use std::time::Duration;

use cache_core::{error::RedisError, state::Name};
use serde::de::DeserializeOwned;

use crate::error::{Error, StateRefusal};

/// The body as JSON; nothing at all counts as an empty object.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    // An array would do as well otherwise: its values in the order of the fields.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(invalid("a JSON object is expected"));
    }
    serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))
}

/// A time in milliseconds, within bounds.
pub(super) fn millis(name: &str, millis: u64, [min, max]: [Duration; 2]) -> Result<Duration, Error> {
    let duration = Duration::from_millis(millis);
    if (min..=max).contains(&duration) {
        return Ok(duration);
    }
    Err(invalid(format!("{name} is {millis}, but must be from {} to {}", min.as_millis(), max.as_millis())))
}

/// A time as it is answered.
pub(super) fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn invalid(details: impl Into<String>) -> Error {
    StateRefusal::Invalid { details: details.into() }.into()
}

/// Redis did not do what was asked.
#[expect(clippy::needless_pass_by_value, reason = "it is what errors are mapped with")]
pub(super) fn away(error: RedisError) -> Error {
    StateRefusal::RedisAway { reason: error.to_string() }.into()
}

/// How long something may live.
const LIFETIMES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(366 * 24 * 3600)];

/// For how long, if that is said.
pub(super) fn lifetime(ttl_ms: Option<u64>) -> Result<Option<Duration>, Error> {
    ttl_ms.map(|ttl| millis("ttl_ms", ttl, LIFETIMES)).transpose()
}

/// Items of a list: any texts, of which there must be one.
pub(super) fn items(items: &[String]) -> Result<&[String], Error> {
    if items.is_empty() { Err(invalid("items is empty")) } else { Ok(items) }
}

/// Names in a list.
pub(super) fn named(names: &[String]) -> Result<Vec<Name>, Error> {
    names.iter().map(|name| Name::new(name).map_err(|error| invalid(format!("{error}: {name:?}")))).collect()
}
