//! A request for the root.

use super::target::{self, Kind, Method};
use super::{Body, Format, Nulls};
use crate::rest::{Error, Inbound, Settings};

/// A request for the description of the API, read.
#[derive(Debug)]
pub(in crate::rest) struct RootRequest {
    pub(in crate::rest) schema: String,
    /// the schema, if it is to be named in the answer
    pub(in crate::rest) profile: Option<String>,
    pub(in crate::rest) body: Body,
    pub(in crate::rest) format: Format,
}

impl RootRequest {
    pub(in crate::rest) fn read(inbound: &Inbound<'_>, settings: &Settings) -> Result<Self, Error> {
        let method = Method::read(inbound.method, Kind::Table)?;
        let body = match method {
            Method::Get => Body::Sent,
            Method::Head => Body::Omitted,
            Method::Post | Method::Patch | Method::Put | Method::Delete => {
                return Err(Error::UnsupportedMethod(inbound.method.to_string()));
            }
        };
        let (schema, profile) = target::schema(method, inbound.headers, &settings.schemas)?;
        check_accepted(inbound)?;
        Ok(Self { schema, profile, body, format: Format::Array(Nulls::Kept) })
    }
}

/// There is one media type, which also goes by the name of JSON.
fn check_accepted(inbound: &Inbound<'_>) -> Result<(), Error> {
    let values = inbound.headers.get_all(http::header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let asked: Vec<&str> = values
        .flat_map(|value| value.split(','))
        .filter_map(|item| item.split(';').next())
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let fits = |name: &&str| {
        ["*/*", "application/json", "application/openapi+json"].iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    if asked.is_empty() || asked.iter().any(fits) {
        return Ok(());
    }
    Err(Error::MediaType { asked: asked.join(", ") })
}
