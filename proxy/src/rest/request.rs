//! A request in PostgREST's terms: everything that its line, headers and body say, read but not yet looked up.

mod payload;
mod media;
mod prefer;
mod query;
mod range;
mod target;

pub(super) use media::{Format, Nulls};
pub(super) use payload::Payload;
pub(super) use prefer::{Count, Kinds, Missing, Preferences, Return};
pub(super) use query::{Conflict, Query, Scope, encode};
pub(super) use range::Range;

use super::{Error, Inbound, Settings};
use target::Method;

/// A request, read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) schema: String,
    /// the schema, if it is to be named in the answer
    pub(super) profile: Option<String>,
    pub(super) table: String,
    pub(super) query: Query,
    pub(super) range: Range,
    pub(super) preferences: Preferences,
    pub(super) format: Format,
    pub(super) action: Action,
}

/// What the request does to the table.
#[derive(Debug)]
pub(super) enum Action {
    Read(Body),
    Insert(Payload),
    Update(Payload),
    Delete,
}

/// Whether the answer has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Body {
    Sent,
    /// `HEAD`
    Omitted,
}

impl Request {
    /// Reads a request. Of several things wrong with it, the first in PostgREST's order is reported.
    pub(super) fn read(inbound: &Inbound<'_>, settings: &Settings) -> Result<Self, Error> {
        let method = Method::read(inbound.method)?;
        let table = target::table(inbound.path)?;
        let query = Query::read(inbound.query.unwrap_or_default())?;
        let (schema, profile) = target::schema(method, inbound.headers, &settings.schemas)?;
        // PostgREST reads the Range header of GET only, not even of HEAD.
        let header_range = match method {
            Method::Get => range::header_range(inbound.headers),
            _ => range::Span::ALL,
        };
        let range = Range::of(query.root().span(), header_range)?;
        let payload = |query: &Query| Payload::read(inbound.headers, inbound.body, query.columns.as_deref());
        let action = match method {
            Method::Get => Action::Read(Body::Sent),
            Method::Head => Action::Read(Body::Omitted),
            Method::Post => Action::Insert(payload(&query)?),
            Method::Patch => Action::Update(payload(&query)?),
            Method::Delete => Action::Delete,
        };
        let preferences = Preferences::read(inbound.headers)?;
        let format = media::negotiate(inbound.headers)?;
        Ok(Self { schema, profile, table, query, range, preferences, format, action })
    }
}
