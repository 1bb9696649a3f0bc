//! The shape in which every refusal reaches a client.

use std::borrow::Cow;

use http::StatusCode;

/// An error as PostgREST words it: the JSON object `{code, message, details, hint}` under an HTTP status
/// (<https://docs.postgrest.org/en/v12/references/errors.html>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// the HTTP status of the response
    pub status: StatusCode,
    /// a `PGRST...` code, an SQLSTATE, or one of Transom's own (`TRANSOM...`)
    pub code: Cow<'static, str>,
    /// one sentence for people
    pub message: Cow<'static, str>,
    /// what exactly was wrong, if more is known; `null` in the JSON if not
    pub details: Option<Cow<'static, str>>,
    /// how to put it right, if that is known; `null` in the JSON if not
    pub hint: Option<Cow<'static, str>>,
}
