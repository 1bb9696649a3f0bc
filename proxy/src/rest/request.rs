//! A request in PostgREST's terms: everything that its line, headers and body say, read but not yet looked up.

mod root;
mod resource;
mod call;
mod payload;
mod csv;
mod media;
mod prefer;
mod query;
mod range;
mod target;

pub(super) use call::{Arguments, Call};
pub(super) use media::{Accepts, Execution, Format, Negotiated, Nulls, Producer, Selection};
pub(super) use payload::Payload;
pub(super) use prefer::{Count, Kinds, Missing, Parameters, Preferences, Resolution, Return};
pub(super) use query::{Query, Scope, encode};
pub(super) use range::Range;
pub(super) use resource::ResourceRequest;
pub(super) use root::RootRequest;

use super::{Error, Inbound, Settings};
use call::Posted;
use query::Gives;
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
    pub(super) accepts: Accepts,
    pub(super) action: Action,
}

/// What the request does to the table, or to the function of that name.
#[derive(Debug)]
pub(super) enum Action {
    Read(Body),
    Insert(Payload),
    Update(Payload),
    /// `PUT`: inserts or updates the one row that the filters name
    Upsert(Payload),
    Delete,
    Call(Call),
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
        let (kind, table) = target::named(inbound.path)?;
        let method = Method::read(inbound.method, kind)?;
        let gives = match (kind, method) {
            (target::Kind::Function, Method::Get | Method::Head) => Gives::Arguments,
            _ => Gives::Filters,
        };
        let (query, arguments) = Query::read(inbound.query.unwrap_or_default(), gives)?;
        let (schema, profile) = target::schema(method, inbound.headers, &settings.schemas)?;
        // PostgREST reads the Range header of GET only, not even of HEAD.
        let header_range = match method {
            Method::Get => range::header_range(inbound.headers),
            _ => range::Span::ALL,
        };
        let range = Range::of(query.root().span(), header_range)?;
        let action = match kind {
            target::Kind::Table => Self::action(method, inbound, &query)?,
            target::Kind::Function => Action::Call(Self::call(method, inbound, &query, arguments)?),
        };
        let preferences = Preferences::read(inbound.headers, settings.api)?;
        let accepts = Accepts::read(inbound.headers);
        Ok(Self { schema, profile, table, query, range, preferences, accepts, action })
    }

    fn action(method: Method, inbound: &Inbound<'_>, query: &Query) -> Result<Action, Error> {
        // As in PostgREST, `columns` means nothing to `PUT`.
        let listed = query.columns.as_deref().filter(|_| method != Method::Put);
        let payload = || Payload::read(inbound.headers, inbound.body, listed);
        Ok(match method {
            Method::Get => Action::Read(Body::Sent),
            Method::Head => Action::Read(Body::Omitted),
            Method::Post => Action::Insert(payload()?),
            Method::Patch => Action::Update(payload()?),
            Method::Put => Action::Upsert(payload()?),
            Method::Delete => Action::Delete,
        })
    }

    fn call(
        method: Method,
        inbound: &Inbound<'_>,
        query: &Query,
        arguments: Vec<(String, String)>,
    ) -> Result<Call, Error> {
        let posted = || Posted::read(inbound.headers, inbound.body, query.columns.as_deref());
        match method {
            Method::Get => Ok(Call { arguments: Arguments::Query(arguments), body: Body::Sent }),
            Method::Head => Ok(Call { arguments: Arguments::Query(arguments), body: Body::Omitted }),
            Method::Post => Ok(Call { arguments: Arguments::Body(posted()?), body: Body::Sent }),
            Method::Patch | Method::Put | Method::Delete => Err(Error::FunctionMethod(inbound.method.to_string())),
        }
    }
}
