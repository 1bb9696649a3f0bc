//! From the one row that a statement returns to status, headers and body, as PostgREST 12.0.2 answers.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

mod allowed;
mod said;

pub(super) use allowed::Allowed;
pub use said::Said;

use super::Error;
use super::openapi::Description;
use super::request::{Body, Count, Format, Return, encode};

/// The row that a statement returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `total_result_set`: of a read how many rows there are, of a write how many of them are new
    pub total: Option<i64>,
    /// `page_total`
    pub page: i64,
    /// `body`
    pub body: Bytes,
    /// `response_headers` and `response_status`
    pub said: Said,
    /// `location`, which only writes have; an element is null where the key column is
    pub location: Option<Vec<Option<String>>>,
    /// `page_end`, which only pages have
    pub end: Option<i64>,
}

/// An answer, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub status: StatusCode,
    pub headers: Headers,
    pub body: Bytes,
}

pub type Headers = SmallVec<[(HeaderName, HeaderValue); 6]>;

const CONTENT_PROFILE: HeaderName = HeaderName::from_static("content-profile");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const OPENAPI: &str = "application/openapi+json; charset=utf-8";

/// What the answer to a read depends on beside the statement: part of its cache key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReadShape {
    pub(super) format: Format,
    pub(super) body: Body,
    pub(super) content: Content,
    pub(super) offset: i128,
    pub(super) profile: Option<String>,
    pub(super) applied: String,
}

/// Whether there is anything to send.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Content {
    Rows,
    /// the function returns nothing
    Nothing,
    /// the row holds what the catalogs say, to be described
    Description(Arc<Description>),
    /// as much, and only the headers are wanted
    Undescribed,
    /// nothing but which methods there are
    Allowed(Allowed),
    /// how PostgreSQL would find the rows, under this media type
    Plan(String),
}

impl ReadShape {
    /// That of an execution plan of this media type.
    pub(super) fn of_plan(format: Format, content_type: String) -> Self {
        let content = Content::Plan(content_type);
        Self { format, body: Body::Sent, content, offset: 0, profile: None, applied: String::new() }
    }

    /// Renders the answer to a read. `Content-Location` is the reply's to add: it is the request's, not the answer's.
    ///
    /// # Errors
    /// [`Error::Singularity`] if one object was asked for and there is another number of rows, [`Error::SaidHeaders`] and
    /// [`Error::SaidStatus`] if the database says of the answer what cannot be said.
    pub fn answer(&self, row: Answer) -> Result<Rendered, Error> {
        match &self.content {
            Content::Description(description) => return Ok(self.described(description.write(&row.body)?)),
            Content::Undescribed => return Ok(self.described(Bytes::new())),
            Content::Allowed(allowed) => return Ok(alone(ALLOW, &allowed.header(&row), Bytes::new())),
            Content::Plan(content_type) => {
                let body = if self.body == Body::Sent { row.body } else { Bytes::new() };
                return Ok(alone(CONTENT_TYPE, content_type, body));
            }
            Content::Rows | Content::Nothing => check_singular(&self.format, row.page)?,
        }
        let last = self.offset.saturating_add(i128::from(row.page)).saturating_sub(1);
        let status = range_status(self.offset, last, row.total);
        let mut headers = Headers::new();
        push(&mut headers, CONTENT_RANGE, &content_range(self.offset, last, row.total));
        if self.content == Content::Nothing {
            push_some(&mut headers, PREFERENCE_APPLIED, Some(&self.applied));
            return row.said.add_to(Rendered { status: StatusCode::NO_CONTENT, headers, body: Bytes::new() });
        }
        let unsatisfiable = status == StatusCode::RANGE_NOT_SATISFIABLE;
        // As in PostgREST, also for the error that stands in for rows beyond the end.
        push(&mut headers, CONTENT_TYPE, &self.format.content_type());
        push_some(&mut headers, CONTENT_PROFILE, self.profile.as_deref());
        push_some(&mut headers, PREFERENCE_APPLIED, Some(&self.applied));
        let body = match (self.body, row.total) {
            (Body::Omitted, _) => Bytes::new(),
            (Body::Sent, Some(total)) if unsatisfiable => out_of_bounds(self.offset, total),
            (Body::Sent, _) => row.body,
        };
        row.said.add_to(Rendered { status, headers, body })
    }

    fn described(&self, body: Bytes) -> Rendered {
        let mut headers = Headers::new();
        push(&mut headers, CONTENT_TYPE, OPENAPI);
        push_some(&mut headers, CONTENT_PROFILE, self.profile.as_deref());
        Rendered { status: StatusCode::OK, headers, body }
    }
}

/// What the answer to a request that may write depends on beside the statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WriteShape {
    Rows(RowsShape),
    /// the result of a function
    Call(ReadShape),
}

impl WriteShape {
    /// Renders the answer.
    ///
    /// # Errors
    /// [`Error::Singularity`] if one object was asked for and there is another number of rows: roll back.
    pub fn answer(&self, row: Answer) -> Result<Rendered, Error> {
        match self {
            Self::Rows(shape) => shape.answer(row),
            Self::Call(shape) => shape.answer(row),
        }
    }
}

/// What the answer to a write depends on beside the statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowsShape {
    pub(super) kind: WriteKind,
    pub(super) format: Format,
    pub(super) returns: Option<Return>,
    pub(super) count: Option<Count>,
    /// whether rows that are there already are updated
    pub(super) merges: bool,
    /// the most rows that may have changed
    pub(super) max_affected: Option<i64>,
    pub(super) profile: Option<String>,
    pub(super) applied: String,
    pub(super) table: String,
    /// the key columns whose values the row's `location` has
    pub(super) location: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum WriteKind {
    Insert,
    Update,
    /// `PUT`
    Put,
    Delete,
}

impl RowsShape {
    /// Renders the answer to a write.
    ///
    /// # Errors
    /// [`Error::Singularity`] if one object was asked for and another number of rows changed, [`Error::PutMismatch`] if the
    /// row is not the one that was named, [`Error::MaxAffected`] if there are too many: roll back.
    pub fn answer(&self, row: Answer) -> Result<Rendered, Error> {
        if self.kind == WriteKind::Put && row.page != 1 {
            return Err(Error::PutMismatch);
        }
        if let Some(max) = self.max_affected
            && row.page > max
        {
            return Err(Error::MaxAffected { rows: row.page });
        }
        check_singular(&self.format, row.page)?;
        let represented = self.returns == Some(Return::Representation);
        let mut headers = Headers::new();
        push_some(&mut headers, LOCATION, self.location_of(&row).as_deref());
        let total = self.count.map(|_| row.page);
        let last = match self.kind {
            WriteKind::Update => i128::from(row.page) - 1,
            WriteKind::Insert | WriteKind::Put | WriteKind::Delete => -1,
        };
        if self.kind != WriteKind::Put {
            push(&mut headers, CONTENT_RANGE, &content_range(0, last, total));
        }
        push_some(&mut headers, PREFERENCE_APPLIED, Some(&self.applied));
        if represented {
            push(&mut headers, CONTENT_TYPE, &self.format.content_type());
            push_some(&mut headers, CONTENT_PROFILE, self.profile.as_deref());
        }
        // Of a write that resolves conflicts, the statement counts the rows that are new; without a key all of them are.
        let nothing_new = row.total.unwrap_or(row.page) <= 0;
        let status = match (self.kind, represented) {
            (WriteKind::Insert, _) if self.merges && nothing_new => StatusCode::OK,
            (WriteKind::Insert, _) => StatusCode::CREATED,
            (WriteKind::Put, true) if !nothing_new => StatusCode::CREATED,
            (_, true) => StatusCode::OK,
            (_, false) => StatusCode::NO_CONTENT,
        };
        row.said.add_to(Rendered { status, headers, body: if represented { row.body } else { Bytes::new() } })
    }

    /// Where the one inserted row can be read: a filter on its key.
    fn location_of(&self, row: &Answer) -> Option<String> {
        let values =
            row.location.as_ref().filter(|values| !values.is_empty() && values.len() == self.location.len())?;
        let filters: Vec<String> = self
            .location
            .iter()
            .zip(values)
            .map(|(column, value)| match value {
                Some(value) => format!("{}=eq.{}", encode(column), encode(value)),
                None => format!("{}=is.null", encode(column)),
            })
            .collect();
        Some(format!("/{}?{}", encode(&self.table), filters.join("&")))
    }
}

/// An answer with one header.
fn alone(name: HeaderName, value: &str, body: Bytes) -> Rendered {
    let mut headers = Headers::new();
    push(&mut headers, name, value);
    Rendered { status: StatusCode::OK, headers, body }
}

fn check_singular(format: &Format, rows: i64) -> Result<(), Error> {
    match format {
        Format::Singular(_) if rows != 1 => Err(Error::Singularity { rows }),
        _ => Ok(()),
    }
}

/// The status that a range deserves; only a counted total can tell that it is partial or beyond the end.
fn range_status(first: i128, last: i128, total: Option<i64>) -> StatusCode {
    let Some(total) = total.map(i128::from) else { return StatusCode::OK };
    if first > total {
        StatusCode::RANGE_NOT_SATISFIABLE
    } else if last.saturating_sub(first).saturating_add(1) < total {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    }
}

fn content_range(first: i128, last: i128, total: Option<i64>) -> String {
    let total_text = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    if total != Some(0) && first <= last { format!("{first}-{last}/{total_text}") } else { format!("*/{total_text}") }
}

fn out_of_bounds(offset: i128, total: i64) -> Bytes {
    let details = format!("An offset of {offset} was requested, but there are only {total} rows.");
    let problem = serde_json::json!({
        "code": "PGRST103",
        "details": details,
        "hint": null,
        "message": "Requested range not satisfiable",
    });
    problem.to_string().into()
}

fn push_some(headers: &mut Headers, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        push(headers, name, value);
    }
}

/// A value that cannot stand in a header is left out: it could only be a schema's name with a control character.
fn push(headers: &mut Headers, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.push((name, value));
    }
}

#[cfg(test)]
mod tests;
