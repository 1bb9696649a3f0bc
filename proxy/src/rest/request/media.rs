//! The media type of the answer (<https://docs.postgrest.org/en/v12/references/api/resource_representation.html>).

mod execution;

pub(in crate::rest) use execution::Execution;

use http::HeaderMap;

use crate::config::{Api, Permission};
use crate::rest::Error;
use crate::rest::schema::{Handler, SchemaCache, TableId};

/// How the rows are written down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Format {
    /// an array of objects
    Array(Nulls),
    /// one object: an error unless there is exactly one row
    Singular(Nulls),
    Csv,
    /// a collection of features, written by PostGIS
    GeoJson,
    /// what something in the database makes of them
    Custom(Handler),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Nulls {
    Kept,
    Stripped,
}

impl Format {
    pub(in crate::rest) fn content_type(&self) -> String {
        let text = match self {
            Self::Array(Nulls::Kept) => "application/json; charset=utf-8",
            Self::Array(Nulls::Stripped) => "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8",
            Self::Singular(Nulls::Kept) => "application/vnd.pgrst.object+json; charset=utf-8",
            Self::Singular(Nulls::Stripped) => "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::GeoJson => "application/geo+json; charset=utf-8",
            Self::Custom(handler) => {
                // Of other types PostgREST does not know that they are text.
                const TEXTS: [&str; 5] =
                    ["application/json", "application/geo+json", "text/csv", "text/plain", "text/xml"];
                let charset = if TEXTS.contains(&&*handler.media) { "; charset=utf-8" } else { "" };
                return format!("{}{charset}", handler.media);
            }
        };
        text.to_owned()
    }
}

/// What the answer is to look like: the rows in a format, or how PostgreSQL would come by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rest) struct Negotiated {
    pub(in crate::rest) format: Format,
    pub(in crate::rest) execution: Option<Execution>,
}

/// Who answers, as far as the media types depend on it.
#[derive(Debug, Clone, Copy)]
pub(in crate::rest) struct Producer<'s> {
    pub(in crate::rest) schema: &'s SchemaCache,
    pub(in crate::rest) relation: &'s TableId,
    /// whether its rows are whole, as what makes media types of them expects
    pub(in crate::rest) selection: Selection,
    pub(in crate::rest) api: Api,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Selection {
    Everything,
    Parts,
}

/// What `Accept` lists: by quality, then by how specific it is, then by order (RFC 9110, 12.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rest) struct Accepts(Vec<Accepted>);

impl Accepts {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all(http::header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let mut accepted: Vec<Accepted> =
            values.flat_map(|value| value.split(',')).filter_map(Accepted::read).collect();
        if accepted.is_empty() {
            accepted.extend(Accepted::read("*/*"));
        }
        accepted.sort_by_key(|accepted| std::cmp::Reverse((accepted.quality, accepted.specificity())));
        Self(accepted)
    }

    /// The best that there is.
    pub(in crate::rest) fn negotiate(&self, producer: Producer<'_>) -> Result<Negotiated, Error> {
        self.0.iter().find_map(|accepted| accepted.find(producer)).ok_or_else(|| {
            let asked: Vec<String> = self.0.iter().map(Accepted::shown).collect();
            Error::MediaType { asked: asked.join(", ") }
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Accepted {
    name: String,
    nulls: Nulls,
    /// in thousandths
    quality: u16,
    execution: Option<Execution>,
}

impl Accepted {
    fn read(item: &str) -> Option<Self> {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let parameters: Vec<&str> = parts.collect();
        let mut accepted = Self { name: name.to_owned(), nulls: Nulls::Kept, quality: 1000, execution: None };
        for parameter in &parameters {
            if let Some(quality) = parameter.strip_prefix("q=") {
                accepted.quality = parse_quality(quality);
            } else if *parameter == "nulls=stripped" {
                accepted.nulls = Nulls::Stripped;
            }
        }
        accepted.execution = Execution::read(&name.to_ascii_lowercase(), &parameters);
        Some(accepted)
    }

    fn specificity(&self) -> u8 {
        match self.name.as_str() {
            "*/*" => 0,
            name if name.ends_with("/*") => 1,
            _ => 2,
        }
    }

    /// As it is called in a refusal.
    fn shown(&self) -> String {
        self.execution.as_ref().map_or_else(|| self.name.clone(), ToString::to_string)
    }

    fn find(&self, producer: Producer<'_>) -> Option<Negotiated> {
        let Some(execution) = &self.execution else {
            let format = format(&self.name.to_ascii_lowercase(), self.nulls, producer)?;
            return Some(Negotiated { format, execution: None });
        };
        let format = format(&execution.subject, Nulls::Kept, producer)?;
        (producer.api.plans == Permission::Granted).then(|| Negotiated { format, execution: Some(execution.clone()) })
    }
}

/// What makes the media type `name`. What the database has goes before what is built in, except for PostgREST's own types.
fn format(name: &str, nulls: Nulls, producer: Producer<'_>) -> Option<Format> {
    match name {
        "application/vnd.pgrst.array" | "application/vnd.pgrst.array+json" => return Some(Format::Array(nulls)),
        "application/vnd.pgrst.object" | "application/vnd.pgrst.object+json" => return Some(Format::Singular(nulls)),
        _ => {}
    }
    let of_relation = |media| match producer.selection {
        Selection::Everything => producer.schema.handler(Some(producer.relation), media),
        Selection::Parts => None,
    };
    let custom = of_relation("*/*").or_else(|| of_relation(name)).or_else(|| producer.schema.handler(None, name));
    if let Some(handler) = custom {
        return Some(Format::Custom(handler.clone()));
    }
    match name {
        "*/*" | "application/json" => Some(Format::Array(Nulls::Kept)),
        "text/csv" => Some(Format::Csv),
        "application/geo+json" => Some(Format::GeoJson),
        _ => None,
    }
}

/// A quality between 0 and 1; nonsense counts as 1, the default.
fn parse_quality(text: &str) -> u16 {
    let Some((whole, fraction)) = text.split_once('.').or(Some((text, ""))) else { return 1000 };
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    match (whole, digits.parse::<u16>()) {
        ("0", Ok(thousandths)) => thousandths,
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each was asked of PostgREST 12.0.2.
    #[test]
    fn accept_is_negotiated_as_in_postgrest() {
        let relation = TableId { schema: "api".into(), name: "t".into() };
        let schema = SchemaCache::default();
        let producer =
            Producer { schema: &schema, relation: &relation, selection: Selection::Everything, api: Api::default() };
        for (accept, expected) in [
            ("", Some(Format::Array(Nulls::Kept))),
            ("*/*", Some(Format::Array(Nulls::Kept))),
            ("text/csv, */*", Some(Format::Csv)),
            ("*/*, text/csv", Some(Format::Csv)),
            ("text/csv;q=0.5, application/json", Some(Format::Array(Nulls::Kept))),
            ("text/html,application/json;q=0.1", Some(Format::Array(Nulls::Kept))),
            ("application/vnd.pgrst.object+json;nulls=stripped", Some(Format::Singular(Nulls::Stripped))),
            ("application/json;nulls=stripped", Some(Format::Array(Nulls::Kept))),
            ("application/geo+json", Some(Format::GeoJson)),
            ("application/vnd.pgrst.plan", None),
            ("text/html", None),
            ("application/*", None),
            ("garbage", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept", accept.parse().unwrap());
            let found = Accepts::read(&headers).negotiate(producer).ok();
            assert_eq!(found.map(|found| found.format), expected, "{accept}");
        }
    }
}
