//! Errors that a function words itself, status and headers included: `RAISE SQLSTATE 'PGRST'` with JSON as its message and
//! detail (<https://docs.postgrest.org/en/v12/references/errors.html#raise-errors-with-http-status-codes>).

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

use crate::error::Problem;

/// The state that marks such an error.
pub(super) const SQLSTATE: &str = "PGRST";

#[derive(Deserialize)]
struct Message {
    code: String,
    message: String,
    details: Option<String>,
    hint: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    status: u16,
    headers: BTreeMap<String, String>,
}

/// The error as the function words it; if its JSON cannot be read, an error that says so.
pub(super) fn problem(message: &str, detail: Option<&str>) -> Problem {
    worded(message, detail).unwrap_or(Problem {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: "PGRST121".into(),
        message: "The message and detail field of RAISE 'PGRST' error expects JSON".into(),
        details: None,
        hint: None,
        headers: Vec::new(),
    })
}

fn worded(message: &str, detail: Option<&str>) -> Option<Problem> {
    let message: Message = serde_json::from_str(message).ok()?;
    let detail: Detail = serde_json::from_str(detail?).ok()?;
    let header = |(name, value): (&String, &String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    Some(Problem {
        // An informational status cannot be a final answer.
        status: StatusCode::from_u16(detail.status).ok().filter(|status| !status.is_informational())?,
        code: message.code.into(),
        message: message.message.into(),
        details: message.details.map(Into::into),
        hint: message.hint.map(Into::into),
        headers: detail.headers.iter().filter_map(header).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_words_its_error() {
        let message = r#"{"code":"123","message":"Payment Required","details":"Quota exceeded"}"#;
        let problem = problem(message, Some(r#"{"status":402,"headers":{"X-Powered-By":"Nerd"}}"#));
        assert_eq!((problem.status.as_u16(), &*problem.code, &*problem.message), (402, "123", "Payment Required"));
        assert_eq!((problem.details, problem.hint), (Some("Quota exceeded".into()), None));
        assert_eq!(problem.headers, [("x-powered-by".parse().unwrap(), HeaderValue::from_static("Nerd"))]);
    }

    /// Each was asked of PostgREST 12.0.2.
    #[test]
    fn what_is_not_the_right_json_is_an_error_of_its_own() {
        let (message, detail) = (r#"{"code":"1","message":"m"}"#, r#"{"status":402,"headers":{}}"#);
        for (message, detail) in [
            ("INVALID", Some(detail)),
            (message, None),
            (message, Some(r#"{"headers":{}}"#)),
            (message, Some(r#"{"status":402}"#)),
            (r#"{"code":"1"}"#, Some(detail)),
        ] {
            assert_eq!(&*problem(message, detail).code, "PGRST121", "{message} {detail:?}");
        }
    }
}
