//! What functions in the database say of the answer: `response.headers` and `response.status`
//! (<https://docs.postgrest.org/en/v12/references/transactions.html#response-headers>).

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::Rendered;
use crate::rest::Error;

/// What the transaction says of the answer. Nearly always nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// a JSON array of objects with one key each
    pub headers: Option<String>,
    /// a status in digits
    pub status: Option<String>,
}

/// These frame the message on its connection, which is nothing that a database knows about.
const FRAMING: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

impl Said {
    /// Whether the transaction says nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.headers.is_none() && self.status.is_none()
    }

    /// Adds it to the answer. A header that is said takes the place of ours with that name.
    pub(super) fn add_to(&self, mut rendered: Rendered) -> Result<Rendered, Error> {
        if let Some(status) = &self.status {
            rendered.status = read_status(status).ok_or(Error::SaidStatus)?;
        }
        if let Some(headers) = &self.headers {
            let headers = read_headers(headers).ok_or(Error::SaidHeaders)?;
            rendered.headers.retain(|(name, _)| !headers.iter().any(|(said, _)| said == name));
            rendered.headers.extend(headers);
        }
        Ok(rendered)
    }
}

/// Below 200 a status would not end the exchange.
fn read_status(text: &str) -> Option<StatusCode> {
    let status = text.trim().parse().ok().filter(|status: &u16| *status >= 200)?;
    StatusCode::from_u16(status).ok()
}

fn read_headers(text: &str) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let list: Vec<Map<String, Value>> = serde_json::from_str(text).ok()?;
    let header = |object: &Map<String, Value>| {
        let mut members = object.iter();
        let (Some((name, Value::String(value))), None) = (members.next(), members.next()) else { return None };
        Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value.as_str()).ok()?))
    };
    let headers = list.iter().map(header).collect::<Option<Vec<_>>>()?;
    Some(headers.into_iter().filter(|(name, _)| !FRAMING.contains(name)).collect())
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, SET_COOKIE};

    use super::*;

    fn add(headers: Option<&str>, status: Option<&str>) -> Result<Rendered, Error> {
        let said = Said { headers: headers.map(str::to_owned), status: status.map(str::to_owned) };
        let ours = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let headers = std::iter::once(ours).collect();
        said.add_to(Rendered { status: StatusCode::OK, headers, body: bytes::Bytes::new() })
    }

    #[test]
    fn what_is_said_goes_before_what_is_ours() {
        let headers = r#"[{"Content-Type":"text/x"},{"Set-Cookie":"a"},{"Set-Cookie":"b"},{"Content-Length":"9"}]"#;
        let rendered = add(Some(headers), Some("418")).unwrap();
        assert_eq!(rendered.status.as_u16(), 418);
        let headers: Vec<_> = rendered.headers.iter().map(|(name, value)| (name, value.as_bytes())).collect();
        assert_eq!(headers, [(&CONTENT_TYPE, &b"text/x"[..]), (&SET_COOKIE, &b"a"[..]), (&SET_COOKIE, &b"b"[..])]);
    }

    /// Each was asked of PostgREST 12.0.2.
    #[test]
    fn nonsense_is_refused_as_in_postgrest() {
        for headers in ["bad", r#"[{"a":1}]"#, r#"[{"a":"b","c":"d"}]"#, r#"{"a":"b"}"#, r#"[{"a b":"c"}]"#] {
            assert_eq!(add(Some(headers), None), Err(Error::SaidHeaders), "{headers}");
        }
        for status in ["bad", "", "99", "100", "-200", "2000"] {
            assert_eq!(add(None, Some(status)), Err(Error::SaidStatus), "{status}");
        }
    }
}
