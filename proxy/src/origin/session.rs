//! As whom a statement runs, and what it may know of the request.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, header, request::Parts};

use crate::rest::Caller;

/// As whom a statement runs, where it looks names up, and what it may know of the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session {
    /// `None`: the role of the connection
    pub role: Option<Arc<str>>,
    /// whether that is the anonymous role
    pub caller: Caller,
    /// the value of `search_path`
    pub search_path: Arc<str>,
    /// the time zone, if not the usual; one of the names that the database of IANA has
    pub zone: Option<&'static str>,
    /// what the database may know of the request
    pub told: Told,
}

/// What the database may know of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Told {
    /// Nothing, for an answer that is stored and that no claim is part of: if something did read them after all, it would
    /// find nobody's claims rather than those of whoever came first (C6).
    Nothing,
    /// Those claims that are part of the key of an answer that is stored: JSON.
    Claims(Arc<str>),
    /// everything, for an answer that is not stored
    Request(RequestSettings),
}

/// The settings `request.*` of PostgREST
/// (<https://docs.postgrest.org/en/v12/references/transactions.html#request-headers-cookies-and-jwt-claims>).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestSettings {
    /// `request.jwt.claims`: JSON
    pub claims: Arc<str>,
    /// `request.method`
    pub method: String,
    /// `request.path`: as it was written, without `rest_path`
    pub path: String,
    /// `request.headers`: JSON; names in lower case, without cookies
    pub headers: String,
    /// `request.cookies`: JSON
    pub cookies: String,
}

impl Session {
    /// A session of this role, which finds names in `schema` first and then in `extra`.
    #[must_use]
    pub fn new(role: Option<Arc<str>>, caller: Caller, schema: &str, extra: &[String]) -> Self {
        let schemas: Vec<String> =
            std::iter::once(schema).chain(extra.iter().map(String::as_str)).map(quoted).collect();
        Self { role, caller, search_path: schemas.join(", ").into(), zone: None, told: Told::Nothing }
    }

    /// The same in this time zone.
    #[must_use]
    pub fn in_zone(self, zone: Option<&'static str>) -> Self {
        Self { zone, ..self }
    }

    /// The same for one request alone.
    #[must_use]
    pub fn of_request(&self, request: RequestSettings) -> Self {
        Self { told: Told::Request(request), ..self.clone() }
    }

    /// The same for everybody with these claims.
    #[must_use]
    pub fn of_claims(self, claims: Arc<str>) -> Self {
        Self { told: Told::Claims(claims), ..self }
    }
}

impl RequestSettings {
    /// What is told of a request with these parts, and this path below `rest_path`, by whoever claims this.
    #[must_use]
    pub fn new(parts: &Parts, path: &str, claims: Arc<str>) -> Self {
        Self {
            claims,
            method: parts.method.as_str().to_owned(),
            path: path.to_owned(),
            headers: headers_json(&parts.headers),
            cookies: cookies_json(&parts.headers),
        }
    }
}

/// A name in double quotes.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Of several headers with one name the last counts, as in PostgREST.
fn headers_json(headers: &HeaderMap) -> String {
    let named = headers.iter().filter(|(name, _)| *name != header::COOKIE);
    let texts: BTreeMap<&str, _> =
        named.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))).collect();
    json(&texts)
}

fn cookies_json(headers: &HeaderMap) -> String {
    let mut cookies = BTreeMap::new();
    // HTTP/2 may split the header (RFC 9113, section 8.2.3).
    for value in headers.get_all(header::COOKIE) {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        for pair in text.split(';').map(str::trim_start).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }
    json(&cookies)
}

fn json(texts: &impl serde::Serialize) -> String {
    serde_json::to_string(texts).expect("texts can be written as JSON")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_request_is_told_as_postgrest_tells_it() {
        let request = Request::get("/g%75cs?select=x")
            .header("X-Y", "1")
            .header("x-y", "2")
            .header("Cookie", "a=b;a=c; d; e=f=g;")
            .body(())
            .unwrap();
        let told = RequestSettings::new(&request.into_parts().0, "/g%75cs", "{}".into());
        assert_eq!((&*told.method, &*told.path), ("GET", "/g%75cs"));
        assert_eq!(told.headers, r#"{"x-y":"2"}"#);
        assert_eq!(told.cookies, r#"{"a":"c","d":"","e":"f=g"}"#);
    }
}
