//! The body of a write, as JSON that PostgreSQL unfolds into rows.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode;
use serde_json::value::RawValue;

use super::csv;
use super::target::text;
use crate::rest::Error;

/// The rows of a write. The values stay text: only the names of the columns are read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rest) struct Payload {
    /// a JSON object, or an array of them
    pub(in crate::rest) json: String,
    /// the columns that are written, sorted: what `columns=` lists, else the keys that all objects share
    pub(in crate::rest) columns: Vec<String>,
}

impl Payload {
    pub(super) fn read(headers: &HeaderMap, body: &Bytes, listed: Option<&[String]>) -> Result<Self, Error> {
        match content_type(headers)?.as_str() {
            "application/json" => Self::of_json(body, listed),
            "application/x-www-form-urlencoded" => Self::of_form(body),
            "text/csv" => Self::of_csv(body),
            other => Err(Error::InvalidBody(format!("Content-Type not acceptable: {other}"))),
        }
    }

    /// With `columns=` the objects may differ, and PostgreSQL is left to judge the JSON.
    fn of_json(body: &Bytes, listed: Option<&[String]>) -> Result<Self, Error> {
        let json = text(body.to_vec())?;
        match listed {
            Some(columns) => Ok(Self::new(json, columns.iter().cloned().collect())),
            None => Self::of_uniform_json(json),
        }
    }

    fn of_uniform_json(json: String) -> Result<Self, Error> {
        let whole: &RawValue = serde_json::from_str(&json).map_err(|_| invalid_json())?;
        let columns = match whole.get().as_bytes().first() {
            Some(b'{') => keys(whole)?,
            Some(b'[') => shared_keys(whole)?,
            // PostgREST takes a lone number, text or null for no rows at all.
            _ => return Ok(Self::new("[]".to_owned(), BTreeSet::new())),
        };
        Ok(Self::new(json, columns))
    }

    /// The first line says what the columns are, whatever `columns=` lists.
    fn of_csv(body: &Bytes) -> Result<Self, Error> {
        let (header, rows) = csv::objects(&text(body.to_vec())?)?;
        Ok(Self::new(rows.to_string(), header.into_iter().collect()))
    }

    /// Its keys are the columns, whatever `columns=` lists.
    fn of_form(body: &Bytes) -> Result<Self, Error> {
        let object: serde_json::Map<_, _> =
            form_pairs(body)?.into_iter().map(|(key, value)| (key, value.into())).collect();
        let columns = object.keys().cloned().collect();
        Ok(Self::new(serde_json::Value::Object(object).to_string(), columns))
    }

    /// An empty body.
    pub(super) fn nothing() -> Self {
        Self::new(String::new(), BTreeSet::new())
    }

    fn new(json: String, columns: BTreeSet<String>) -> Self {
        Self { json, columns: columns.into_iter().collect() }
    }
}

/// The media type of the body in small letters; without one it is JSON.
pub(super) fn content_type(headers: &HeaderMap) -> Result<String, Error> {
    let content_type = headers.get(http::header::CONTENT_TYPE).map_or(Ok(""), |value| {
        value.to_str().map_err(|_| Error::InvalidBody("Content-Type not acceptable".to_owned()))
    })?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    Ok(if media_type.is_empty() { "application/json".to_owned() } else { media_type.to_ascii_lowercase() })
}

/// The pairs of a form, in its order.
pub(super) fn form_pairs(body: &Bytes) -> Result<Vec<(String, String)>, Error> {
    let pieces = body.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let mut sides = piece.splitn(2, |byte| *byte == b'=');
            let mut side = || decode_form(sides.next().unwrap_or_default());
            Ok((side()?, side()?))
        })
        .collect()
}

/// The keys of an object, whatever its values.
fn keys(object: &RawValue) -> Result<BTreeSet<String>, Error> {
    let object: std::collections::BTreeMap<String, serde::de::IgnoredAny> =
        serde_json::from_str(object.get()).map_err(|_| mismatch())?;
    if object.keys().any(|key| key.contains('\0')) {
        return Err(Error::Text("0x00"));
    }
    Ok(object.into_keys().collect())
}

/// The keys that all objects of an array have. It is an error if one has others: a value would be lost.
fn shared_keys(array: &RawValue) -> Result<BTreeSet<String>, Error> {
    let rows: Vec<&RawValue> = serde_json::from_str(array.get()).map_err(|_| invalid_json())?;
    let mut rows = rows.into_iter();
    let Some(first) = rows.next() else { return Ok(BTreeSet::new()) };
    let shared = keys(first)?;
    for row in rows {
        if keys(row)? != shared {
            return Err(mismatch());
        }
    }
    Ok(shared)
}

fn decode_form(raw: &[u8]) -> Result<String, Error> {
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    text(percent_decode(&spaced).collect())
}

fn invalid_json() -> Error {
    Error::InvalidBody("Empty or invalid json".to_owned())
}

fn mismatch() -> Error {
    Error::InvalidBody("All object keys must match".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Payload, Error> {
        Payload::read(&HeaderMap::new(), &Bytes::copy_from_slice(body.as_bytes()), None)
    }

    #[test]
    fn columns_are_the_keys_that_all_rows_share() {
        assert_eq!(read(r#"[{"b":1,"a":{"x":[2]}},{"a":1,"b":2}]"#).unwrap().columns, ["a", "b"]);
        assert_eq!(read(r#"{"a":1,"a":2}"#).unwrap().columns, ["a"]);
        assert_eq!(read("3").unwrap().json, "[]");
        assert!(read("[]").unwrap().columns.is_empty());
    }

    #[test]
    fn what_is_not_uniform_json_is_refused_in_the_words_of_postgrest() {
        for body in ["", " ", "{bad", "[1,]", "{\"a\":1}x"] {
            assert_eq!(read(body), Err(invalid_json()), "{body}");
        }
        for body in ["[1]", r#"[{"a":1},{"b":1}]"#, r#"[{"a":1},{}]"#, "[[]]"] {
            assert_eq!(read(body), Err(mismatch()), "{body}");
        }
        assert!(read(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn a_form_is_one_row_of_texts() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let payload = Payload::read(&headers, &Bytes::from_static(b"name=a+b%26&qty=2"), None).unwrap();
        assert_eq!(payload.json, r#"{"name":"a b&","qty":"2"}"#);
        assert_eq!(payload.columns, ["name", "qty"]);
        let listed = Payload::read(&headers, &Bytes::from_static(b"qty=2"), Some(&["name".to_owned()]));
        assert_eq!(listed.unwrap().columns, ["qty"]);
    }
}
