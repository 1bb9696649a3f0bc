//! The arguments of a function call.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::Body;
use super::payload::{Payload, content_type, form_pairs};
use super::target::text;
use crate::rest::Error;

/// A call of a function.
#[derive(Debug)]
pub(in crate::rest) struct Call {
    pub(in crate::rest) arguments: Arguments,
    pub(in crate::rest) body: Body,
}

/// Where the arguments come from.
#[derive(Debug)]
pub(in crate::rest) enum Arguments {
    /// the query string of `GET` and `HEAD`
    Query(Vec<(String, String)>),
    /// the body of `POST`
    Body(Posted),
}

#[derive(Debug)]
pub(in crate::rest) enum Posted {
    Json(Payload),
    Form(Vec<(String, String)>),
    /// a body that is one value, of the type with that name
    Raw(&'static str, String),
}

impl Posted {
    pub(super) fn read(headers: &HeaderMap, body: &Bytes, listed: Option<&[String]>) -> Result<Self, Error> {
        match content_type(headers)?.as_str() {
            "text/plain" => Ok(Self::Raw("text", text(body.to_vec())?)),
            "text/xml" => Ok(Self::Raw("xml", text(body.to_vec())?)),
            "application/octet-stream" => Ok(Self::Raw("bytea", hex(body))),
            "application/x-www-form-urlencoded" => form_pairs(body).map(Self::Form),
            // No body means no arguments.
            _ if body.is_empty() && listed.is_none() => Ok(Self::Json(Payload::nothing())),
            _ => Payload::read(headers, body, listed).map(Self::Json),
        }
    }
}

/// How PostgreSQL reads bytes from text.
fn hex(body: &Bytes) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(body.len() * 2 + 2);
    text.push_str("\\x");
    for byte in body {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Arguments {
    /// The names that are given, each once, sorted.
    pub(in crate::rest) fn names(&self) -> impl Iterator<Item = &str> {
        let (pairs, columns): (&[(String, String)], &[String]) = match self {
            Self::Query(pairs) | Self::Body(Posted::Form(pairs)) => (pairs, &[]),
            Self::Body(Posted::Json(payload)) => (&[], &payload.columns),
            Self::Body(Posted::Raw(..)) => (&[], &[]),
        };
        let names = pairs.iter().map(|(name, _)| name.as_str()).chain(columns.iter().map(String::as_str));
        names.collect::<std::collections::BTreeSet<_>>().into_iter()
    }

    /// Whether the body is one value that has no name.
    pub(in crate::rest) fn is_raw(&self) -> bool {
        matches!(self, Self::Body(Posted::Raw(..)))
    }

    /// The types of a parameter that can take the whole body.
    pub(in crate::rest) fn whole_types(&self) -> &'static [&'static str] {
        match self {
            Self::Body(Posted::Json(_)) => &["json", "jsonb"],
            Self::Body(Posted::Raw("text", _)) => &["text"],
            Self::Body(Posted::Raw("xml", _)) => &["xml"],
            Self::Body(Posted::Raw(..)) => &["bytea"],
            Self::Query(_) | Self::Body(Posted::Form(_)) => &[],
        }
    }

    /// The whole body as one value.
    pub(in crate::rest) fn whole(&self) -> String {
        match self {
            Self::Body(Posted::Json(payload)) if payload.json.is_empty() => "{}".to_owned(),
            Self::Body(Posted::Json(payload)) => payload.json.clone(),
            Self::Body(Posted::Raw(_, value)) => value.clone(),
            Self::Query(_) | Self::Body(Posted::Form(_)) => self.json(|_| false),
        }
    }

    /// The values as JSON by name. Of values with one name the last counts, except for a variadic parameter, which takes
    /// them all.
    pub(in crate::rest) fn json(&self, is_variadic: impl Fn(&str) -> bool) -> String {
        let pairs = match self {
            Self::Body(Posted::Json(payload)) => return payload.json.clone(),
            Self::Body(Posted::Raw(..)) => return "{}".to_owned(),
            Self::Query(pairs) | Self::Body(Posted::Form(pairs)) => pairs,
        };
        let mut object = Map::new();
        for (name, value) in pairs {
            if is_variadic(name) {
                let values = object.entry(name.as_str()).or_insert_with(|| Value::Array(Vec::new()));
                values.as_array_mut().into_iter().for_each(|values| values.push(value.as_str().into()));
            } else {
                object.insert(name.clone(), value.as_str().into());
            }
        }
        Value::Object(object).to_string()
    }
}
