//! Why Postgres did not answer.

use std::fmt;

use postgres_protocol::message::backend::ErrorResponseBody;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::fallible_iterator::FallibleIterator;

use super::describe;
use crate::rest::Refusal;

/// Why Postgres did not answer.
#[derive(Debug)]
pub enum Failure {
    /// it refused
    Refused(Box<Refusal>),
    /// there is no connection, or not any more
    Broken(String),
    /// the question cannot be written, or the answer not be read
    Unreadable(String),
}

impl Failure {
    /// There is no connection, for this reason.
    pub(super) fn connecting(reason: impl fmt::Display) -> Self {
        Self::Broken(format!("error connecting to server: {reason}"))
    }

    /// The answer cannot be read, for this reason.
    pub(super) fn unreadable(reason: impl fmt::Display) -> Self {
        Self::Unreadable(format!("unreadable answer of the server: {reason}"))
    }

    /// What it says, if it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Broken(_) | Self::Unreadable(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "db error: {}: {}", refusal.severity, refusal.message),
            Self::Broken(reason) | Self::Unreadable(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failure {}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) => Self::Refused(Box::new(of_db_error(refusal))),
            None => Self::Broken(describe(&error)),
        }
    }
}

fn of_db_error(error: &DbError) -> Refusal {
    Refusal {
        severity: error.severity().to_owned(),
        state: error.code().clone(),
        message: error.message().to_owned(),
        detail: error.detail().map(str::to_owned),
        hint: error.hint().map(str::to_owned),
    }
}

/// What an error message of the protocol says
/// (<https://www.postgresql.org/docs/current/protocol-error-fields.html>).
pub(super) fn of_message(body: &ErrorResponseBody) -> Refusal {
    let mut refusal = Refusal {
        severity: String::new(),
        state: SqlState::INTERNAL_ERROR,
        message: String::new(),
        detail: None,
        hint: None,
    };
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'S' => refusal.severity = text(),
            b'C' => refusal.state = SqlState::from_code(&text()),
            b'M' => refusal.message = text(),
            b'D' => refusal.detail = Some(text()),
            b'H' => refusal.hint = Some(text()),
            _ => {}
        }
    }
    refusal
}
