//! Why a request was refused, and how PostgREST words it.

mod raised;

use http::StatusCode;
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

use super::relation_hint::Candidate;
use crate::error::Problem;

/// A refusal that needs no database to be known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// the query string does not follow the grammar (PGRST100)
    #[error("{message}")]
    Grammar { message: String, details: String },
    /// text that PostgreSQL cannot hold: a NUL character, or bytes that are not UTF-8 (22021)
    #[error("invalid byte sequence for encoding \"UTF8\": {0}")]
    Text(&'static str),
    /// the request is larger than what Transom plans (TRANSOM400)
    #[error("{what} exceeds the limit of {limit}")]
    Limit { what: &'static str, limit: usize },
    #[error("{0}")]
    InvalidBody(String),
    #[error("requested range not satisfiable: {0}")]
    InvalidRange(&'static str),
    #[error("unknown schema, exposed are {exposed}")]
    UnacceptableSchema { exposed: String },
    #[error("no acceptable media type among {asked}")]
    MediaType { asked: String },
    #[error("{0} is not embedded")]
    NotEmbedded(String),
    #[error("no relationship between {parent} and {child}")]
    NoRelationship { parent: String, child: String, hint: Option<String>, schema: String, suggestion: Option<String> },
    #[error("several relationships between {parent} and {child}")]
    AmbiguousRelationship { parent: String, child: String, candidates: Vec<Candidate> },
    #[error("no order of {origin} by {target}")]
    RelatedOrderNotToOne { origin: String, target: String },
    #[error("no spread of {target} in {origin}")]
    SpreadNotToOne { origin: String, target: String },
    #[error("no function {function}")]
    FunctionNotFound {
        function: String,
        /// the names that were given
        arguments: Vec<String>,
        /// the type of a parameter that could have taken the whole body
        whole: Option<&'static str>,
        suggestion: Option<String>,
    },
    #[error("several functions fit")]
    AmbiguousFunction { candidates: Vec<String> },
    #[error("method {0} on a function")]
    FunctionMethod(String),
    #[error("filters of PUT")]
    InvalidFilters,
    #[error("range of PUT")]
    PutRange,
    /// the row that was put is not the one that the URL names: roll back
    #[error("payload and URL differ")]
    PutMismatch,
    #[error("limit without order")]
    LimitNoOrder,
    /// other than exactly one row where one object was asked for; after a write the transaction must be rolled back
    #[error("{rows} rows for a singular answer")]
    Singularity { rows: i64 },
    /// a write changed more rows than the request allows: roll back
    #[error("{rows} rows affected")]
    MaxAffected { rows: i64 },
    /// what a function said in `response.headers` is no list of headers
    #[error("response.headers")]
    SaidHeaders,
    /// what a function said in `response.status` is no status
    #[error("response.status")]
    SaidStatus,
    /// the root describes nothing, by a setting
    #[error("no description")]
    NotDescribed,
    /// the catalogs hold what no version of PostgreSQL puts there: a fault of this program
    #[error("the catalogs cannot be read")]
    Catalog,
    #[error("unsupported method {0}")]
    UnsupportedMethod(String),
    #[error("invalid preferences {0}")]
    InvalidPreferences(String),
    #[error("aggregate functions are off")]
    AggregatesNotAllowed,
    #[error("no column {column} in {relation}")]
    ColumnNotFound { relation: String, column: String },
    #[error("no table {schema}.{table}")]
    TableNotFound { schema: String, table: String },
    #[error("invalid path")]
    InvalidPath,
}

impl Error {
    /// The refusal in PostgREST's shape: status, code and words as 12.0.2 has them, or as a later version has them where
    /// 12.0.2 answers with an empty object.
    pub fn problem(&self) -> Problem {
        let (status, code) = self.status_and_code();
        Problem {
            status,
            code: code.into(),
            message: self.message().into(),
            details: self.details(),
            hint: self.hint().map(Into::into),
            headers: Vec::new(),
        }
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Grammar { .. } => (StatusCode::BAD_REQUEST, "PGRST100"),
            Self::Text(_) => (StatusCode::BAD_REQUEST, "22021"),
            Self::Limit { .. } => (StatusCode::BAD_REQUEST, "TRANSOM400"),
            Self::InvalidBody(_) => (StatusCode::BAD_REQUEST, "PGRST102"),
            Self::InvalidRange(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "PGRST103"),
            Self::UnacceptableSchema { .. } => (StatusCode::NOT_ACCEPTABLE, "PGRST106"),
            Self::MediaType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "PGRST107"),
            Self::NotEmbedded(_) => (StatusCode::BAD_REQUEST, "PGRST108"),
            Self::NoRelationship { .. } => (StatusCode::BAD_REQUEST, "PGRST200"),
            Self::AmbiguousRelationship { .. } => (StatusCode::MULTIPLE_CHOICES, "PGRST201"),
            Self::RelatedOrderNotToOne { .. } => (StatusCode::BAD_REQUEST, "PGRST118"),
            Self::SpreadNotToOne { .. } => (StatusCode::BAD_REQUEST, "PGRST119"),
            Self::FunctionMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, "PGRST101"),
            Self::FunctionNotFound { .. } => (StatusCode::NOT_FOUND, "PGRST202"),
            Self::AmbiguousFunction { .. } => (StatusCode::MULTIPLE_CHOICES, "PGRST203"),
            Self::InvalidFilters => (StatusCode::METHOD_NOT_ALLOWED, "PGRST105"),
            Self::PutRange => (StatusCode::BAD_REQUEST, "PGRST114"),
            Self::PutMismatch => (StatusCode::BAD_REQUEST, "PGRST115"),
            Self::LimitNoOrder => (StatusCode::BAD_REQUEST, "PGRST109"),
            Self::Singularity { .. } => (StatusCode::NOT_ACCEPTABLE, "PGRST116"),
            Self::MaxAffected { .. } => (StatusCode::BAD_REQUEST, "PGRST124"),
            Self::SaidHeaders => (StatusCode::INTERNAL_SERVER_ERROR, "PGRST111"),
            Self::SaidStatus => (StatusCode::INTERNAL_SERVER_ERROR, "PGRST112"),
            Self::NotDescribed => (StatusCode::NOT_FOUND, "PGRST126"),
            Self::Catalog => (StatusCode::INTERNAL_SERVER_ERROR, "TRANSOM11"),
            Self::UnsupportedMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, "PGRST117"),
            Self::InvalidPreferences(_) => (StatusCode::BAD_REQUEST, "PGRST122"),
            Self::AggregatesNotAllowed => (StatusCode::BAD_REQUEST, "PGRST123"),
            Self::ColumnNotFound { .. } => (StatusCode::BAD_REQUEST, "PGRST204"),
            Self::TableNotFound { .. } => (StatusCode::NOT_FOUND, "PGRST205"),
            Self::InvalidPath => (StatusCode::NOT_FOUND, "PGRST125"),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Grammar { message, .. } | Self::InvalidBody(message) => message.clone(),
            Self::Text(_) | Self::Limit { .. } => self.to_string(),
            Self::InvalidRange(_) => "Requested range not satisfiable".to_owned(),
            Self::UnacceptableSchema { exposed } => format!("The schema must be one of the following: {exposed}"),
            Self::MediaType { asked } => format!("None of these media types are available: {asked}"),
            Self::NotEmbedded(name) => format!("'{name}' is not an embedded resource in this request"),
            Self::NoRelationship { parent, child, .. } => {
                format!("Could not find a relationship between '{parent}' and '{child}' in the schema cache")
            }
            Self::AmbiguousRelationship { parent, child, .. } => {
                format!("Could not embed because more than one relationship was found for '{parent}' and '{child}'")
            }
            Self::RelatedOrderNotToOne { target, .. } => format!("A related order on '{target}' is not possible"),
            Self::SpreadNotToOne { target, .. } => format!("A spread operation on '{target}' is not possible"),
            Self::FunctionMethod(method) => format!("Cannot use the {method} method on RPC"),
            Self::FunctionNotFound { function, arguments, whole, .. } => {
                let with = match (arguments.as_slice(), whole) {
                    (_, Some(whole)) if *whole != "json" => String::new(),
                    ([], _) => " without parameters".to_owned(),
                    (names, _) => format!("({})", names.join(", ")),
                };
                format!("Could not find the function {function}{with} in the schema cache")
            }
            Self::AmbiguousFunction { candidates } => {
                format!("Could not choose the best candidate function between: {}", candidates.join(", "))
            }
            Self::InvalidFilters => {
                "Filters must include all and only primary key columns with 'eq' operators".to_owned()
            }
            Self::PutRange => "limit/offset querystring parameters are not allowed for PUT".to_owned(),
            Self::PutMismatch => "Payload values do not match URL in primary key column(s)".to_owned(),
            Self::LimitNoOrder => "A 'limit' was applied without an explicit 'order'".to_owned(),
            Self::Singularity { .. } => "JSON object requested, multiple (or no) rows returned".to_owned(),
            Self::MaxAffected { .. } => "Query result exceeds max-affected preference constraint".to_owned(),
            Self::SaidHeaders => {
                "response.headers guc must be a JSON array composed of objects with a single key and a \
                 string value"
                    .to_owned()
            }
            Self::SaidStatus => "response.status guc must be a valid status code".to_owned(),
            Self::NotDescribed => "Root endpoint metadata is disabled".to_owned(),
            Self::Catalog => "The description of the API failed inside the proxy".to_owned(),
            Self::UnsupportedMethod(method) => format!("Unsupported HTTP method: {method}"),
            Self::InvalidPreferences(_) => "Invalid preferences given with handling=strict".to_owned(),
            Self::AggregatesNotAllowed => "Use of aggregate functions is not allowed".to_owned(),
            Self::ColumnNotFound { relation, column } => {
                format!("Column '{column}' of relation '{relation}' does not exist")
            }
            Self::TableNotFound { schema, table } => {
                format!("Could not find the table '{schema}.{table}' in the schema cache")
            }
            Self::InvalidPath => "Invalid path specified in request URL".to_owned(),
        }
    }

    fn details(&self) -> Option<Value> {
        let text = match self {
            Self::Grammar { details, .. } => details.clone(),
            Self::InvalidRange(why) => (*why).to_owned(),
            Self::Singularity { rows } => format!("The result contains {rows} rows"),
            Self::MaxAffected { rows } => format!("The query affects {rows} rows"),
            Self::InvalidPreferences(which) => format!("Invalid preferences: {which}"),
            Self::NoRelationship { parent, child, hint, schema, .. } => {
                let hint = hint.as_ref().map(|hint| format!(" using the hint '{hint}'")).unwrap_or_default();
                format!(
                    "Searched for a foreign key relationship between '{parent}' and '{child}'{hint} in the schema \
                     '{schema}', but no matches were found."
                )
            }
            Self::AmbiguousRelationship { candidates, .. } => {
                let details = candidates.iter().map(|Candidate { embedding, cardinality, relationship, .. }| {
                    json!({"cardinality": cardinality, "embedding": embedding, "relationship": relationship})
                });
                return Some(details.collect());
            }
            Self::FunctionNotFound { function, arguments, whole, .. } => {
                let named = match arguments.as_slice() {
                    [] => " without parameters".to_owned(),
                    [only] => format!(" with parameter {only}"),
                    names => format!(" with parameters {}", names.join(", ")),
                };
                let searched = match whole {
                    None => named,
                    Some("json") => format!("{named} or with a single unnamed json/jsonb parameter"),
                    Some("json/jsonb") => " with a single json/jsonb parameter".to_owned(),
                    Some(whole) => format!(" with a single unnamed {whole} parameter"),
                };
                format!(
                    "Searched for the function {function}{searched}, but no matches were found in the schema cache."
                )
            }
            Self::RelatedOrderNotToOne { origin, target } | Self::SpreadNotToOne { origin, target } => {
                format!("'{origin}' and '{target}' do not form a many-to-one or one-to-one relationship")
            }
            _ => return None,
        };
        Some(text.into())
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotEmbedded(name) => {
                Some(format!("Verify that '{name}' is included in the 'select' query parameter."))
            }
            Self::NoRelationship { suggestion, .. } | Self::FunctionNotFound { suggestion, .. } => suggestion.clone(),
            Self::AmbiguousFunction { .. } => Some(
                "Try renaming the parameters or the function itself in the database so function overloading can be \
                 resolved"
                    .to_owned(),
            ),
            Self::AmbiguousRelationship { child, candidates, .. } => {
                let hints: Vec<String> = candidates.iter().map(|candidate| format!("'{}'", candidate.hint)).collect();
                Some(format!(
                    "Try changing '{child}' to one of the following: {}. Find the desired relationship in the 'details' \
                     key.",
                    hints.join(", ")
                ))
            }
            Self::LimitNoOrder => Some("Apply an 'order' using unique column(s)".to_owned()),
            _ => None,
        }
    }
}

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> Self {
        Self::Refused(Box::new(error.problem()))
    }
}

/// Whether the request carried credentials: the difference between "log in" (401) and "you may not" (403).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    Anonymous,
    Authenticated,
}

/// An error that PostgreSQL raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `ERROR`, `FATAL` or `PANIC`, perhaps in the language of the server
    pub severity: String,
    /// the SQLSTATE
    pub state: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

/// An error that PostgreSQL raised, as PostgREST passes it on: its code, message, details and hint unchanged.
///
/// A 401 goes out with `WWW-Authenticate: Bearer`; the caller adds that header.
pub fn problem_of_refusal(refusal: &Refusal, caller: Caller) -> Problem {
    let code = refusal.state.code();
    if code == raised::SQLSTATE {
        return raised::problem(&refusal.message, refusal.detail.as_deref());
    }
    Problem {
        status: status_of_sqlstate(code, &refusal.message, caller),
        code: code.to_owned().into(),
        message: refusal.message.clone().into(),
        details: refusal.detail.clone().map(Into::into),
        hint: refusal.hint.clone().map(Into::into),
        headers: Vec::new(),
    }
}

/// PostgREST's table of HTTP statuses
/// (<https://docs.postgrest.org/en/v12/references/errors.html#errors-from-postgresql>).
fn status_of_sqlstate(code: &str, message: &str, caller: Caller) -> StatusCode {
    match code {
        "23503" | "23505" => StatusCode::CONFLICT,
        "25006" => StatusCode::METHOD_NOT_ALLOWED,
        "57P01" => StatusCode::SERVICE_UNAVAILABLE,
        "P0001" => StatusCode::BAD_REQUEST,
        "42883" if message.starts_with("function xmlagg(") => StatusCode::NOT_ACCEPTABLE,
        "42883" | "42P01" => StatusCode::NOT_FOUND,
        "42501" => match caller {
            Caller::Authenticated => StatusCode::FORBIDDEN,
            Caller::Anonymous => StatusCode::UNAUTHORIZED,
        },
        _ => status_of_class(code),
    }
}

fn status_of_class(code: &str) -> StatusCode {
    let (class, rest) = code.split_at_checked(2).unwrap_or((code, ""));
    match class {
        "PT" => raised_status(rest),
        "08" | "53" => StatusCode::SERVICE_UNAVAILABLE,
        "0L" | "0P" | "28" => StatusCode::FORBIDDEN,
        "54" => StatusCode::PAYLOAD_TOO_LARGE,
        "09" | "25" | "2D" | "38" | "39" | "3B" | "40" | "55" | "57" | "58" | "F0" | "HV" | "P0" | "XX" => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::BAD_REQUEST,
    }
}

/// `RAISE SQLSTATE 'PT402'` answers 402. An informational status cannot be a final answer, so it counts as nonsense.
fn raised_status(digits: &str) -> StatusCode {
    digits
        .parse::<u16>()
        .ok()
        .filter(|status| (200..1000).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_map_as_in_postgrest() {
        let status = |code, caller| status_of_sqlstate(code, "", caller).as_u16();
        for (code, expected) in [
            ("42P01", 404),
            ("42703", 400),
            ("22P02", 400),
            ("23505", 409),
            ("23502", 400),
            ("42883", 404),
            ("08006", 503),
            ("21000", 400),
            ("54000", 413),
            ("42P17", 400),
            ("53400", 503),
            ("40001", 500),
            ("54001", 413),
            ("PT402", 402),
            ("PT1", 500),
            ("PTabc", 500),
            ("PT099", 500),
            ("", 400),
            ("P0001", 400),
            ("P0002", 500),
            ("25006", 405),
            ("\u{e9}x", 400),
        ] {
            assert_eq!(status(code, Caller::Anonymous), expected, "{code}");
        }
        assert_eq!(status("42501", Caller::Anonymous), 401);
        assert_eq!(status("42501", Caller::Authenticated), 403);
    }
}
