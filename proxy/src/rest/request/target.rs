//! Which table of which schema a request is about.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::rest::Error;

/// The methods that the API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Patch,
    Put,
    Delete,
}

impl Method {
    /// Judged before everything else that the request says, as in PostgREST.
    pub(super) fn read(method: &http::Method, kind: Kind) -> Result<Self, Error> {
        match method.as_str() {
            "GET" => Ok(Self::Get),
            "HEAD" => Ok(Self::Head),
            "POST" => Ok(Self::Post),
            _ if kind == Kind::Function => Err(Error::FunctionMethod(method.to_string())),
            "PATCH" => Ok(Self::Patch),
            "DELETE" => Ok(Self::Delete),
            "PUT" => Ok(Self::Put),
            other => Err(Error::UnsupportedMethod(other.to_owned())),
        }
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Function,
}

/// The table or function that `path` names: its last segment, percent-decoded.
pub(super) fn named(path: &str) -> Result<(Kind, String), Error> {
    let path = path.trim_start_matches('/');
    let (kind, name) = match path.strip_prefix("rpc/") {
        Some(name) => (Kind::Function, name),
        None => (Kind::Table, path),
    };
    if path.is_empty() || name.contains('/') {
        return Err(Error::InvalidPath);
    }
    Ok((kind, text(percent_decode_str(name).collect())?))
}

/// The schema that the profile headers choose, and its name again if the answer is to repeat it.
///
/// With one exposed schema there is nothing to choose, and the headers mean nothing.
pub(super) fn schema(
    method: Method,
    headers: &HeaderMap,
    exposed: &[String],
) -> Result<(String, Option<String>), Error> {
    let default = exposed.first().cloned().unwrap_or_default();
    if exposed.len() < 2 {
        return Ok((default, None));
    }
    let header = match method {
        Method::Get | Method::Head => "accept-profile",
        Method::Post | Method::Patch | Method::Put | Method::Delete => "content-profile",
    };
    let chosen = match headers.get(header) {
        None => default,
        Some(value) => exposed
            .iter()
            .find(|name| name.as_bytes() == value.as_bytes())
            .cloned()
            .ok_or_else(|| Error::UnacceptableSchema { exposed: exposed.join(", ") })?,
    };
    Ok((chosen.clone(), Some(chosen)))
}

/// Text as PostgreSQL can hold it.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, Error> {
    let text = String::from_utf8(bytes).map_err(|_| Error::Text("not UTF-8"))?;
    if text.contains('\0') { Err(Error::Text("0x00")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_refuses_methods_in_its_own_words() {
        assert_eq!(Method::read(&http::Method::TRACE, Kind::Function), Err(Error::FunctionMethod("TRACE".to_owned())));
        let refused = Method::read(&http::Method::TRACE, Kind::Table);
        assert_eq!(refused, Err(Error::UnsupportedMethod("TRACE".to_owned())));
        assert_eq!(Method::read(&http::Method::POST, Kind::Function), Ok(Method::Post));
    }
}
