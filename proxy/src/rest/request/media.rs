//! The media type of the answer (<https://docs.postgrest.org/en/v12/references/api/resource_representation.html>).

use http::HeaderMap;

use crate::rest::Error;

/// How the rows are written down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Format {
    /// an array of objects
    Array(Nulls),
    /// one object: an error unless there is exactly one row
    Singular(Nulls),
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Nulls {
    Kept,
    Stripped,
}

impl Format {
    pub(in crate::rest) fn content_type(&self) -> &str {
        match self {
            Self::Array(Nulls::Kept) => "application/json; charset=utf-8",
            Self::Array(Nulls::Stripped) => "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8",
            Self::Singular(Nulls::Kept) => "application/vnd.pgrst.object+json; charset=utf-8",
            Self::Singular(Nulls::Stripped) => "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// The best of the accepted types: by quality, then by how specific it is, then by order (RFC 9110, 12.5.1).
pub(super) fn negotiate(headers: &HeaderMap) -> Result<Format, Error> {
    let values = headers.get_all(http::header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut accepted: Vec<Accepted<'_>> =
        values.flat_map(|value| value.split(',')).filter_map(Accepted::read).collect();
    if accepted.is_empty() {
        return Ok(Format::Array(Nulls::Kept));
    }
    accepted.sort_by_key(|accepted| std::cmp::Reverse((accepted.quality, accepted.specificity())));
    accepted.iter().find_map(Accepted::format).ok_or_else(|| {
        let asked: Vec<&str> = accepted.iter().map(|accepted| accepted.name).collect();
        Error::MediaType { asked: asked.join(", ") }
    })
}

struct Accepted<'a> {
    name: &'a str,
    nulls: Nulls,
    /// in thousandths
    quality: u16,
}

impl<'a> Accepted<'a> {
    fn read(item: &'a str) -> Option<Self> {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let mut accepted = Self { name, nulls: Nulls::Kept, quality: 1000 };
        for parameter in parts {
            if let Some(quality) = parameter.strip_prefix("q=") {
                accepted.quality = parse_quality(quality);
            } else if parameter == "nulls=stripped" {
                accepted.nulls = Nulls::Stripped;
            }
        }
        Some(accepted)
    }

    fn specificity(&self) -> u8 {
        match self.name {
            "*/*" => 0,
            name if name.ends_with("/*") => 1,
            _ => 2,
        }
    }

    fn format(&self) -> Option<Format> {
        match self.name.to_ascii_lowercase().as_str() {
            "*/*" | "application/json" => Some(Format::Array(Nulls::Kept)),
            "application/vnd.pgrst.array" | "application/vnd.pgrst.array+json" => Some(Format::Array(self.nulls)),
            "application/vnd.pgrst.object" | "application/vnd.pgrst.object+json" => Some(Format::Singular(self.nulls)),
            "text/csv" => Some(Format::Csv),
            _ => None,
        }
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
        for (accept, expected) in [
            ("", Some(Format::Array(Nulls::Kept))),
            ("*/*", Some(Format::Array(Nulls::Kept))),
            ("text/csv, */*", Some(Format::Csv)),
            ("*/*, text/csv", Some(Format::Csv)),
            ("text/csv;q=0.5, application/json", Some(Format::Array(Nulls::Kept))),
            ("text/html,application/json;q=0.1", Some(Format::Array(Nulls::Kept))),
            ("application/vnd.pgrst.object+json;nulls=stripped", Some(Format::Singular(Nulls::Stripped))),
            ("application/json;nulls=stripped", Some(Format::Array(Nulls::Kept))),
            ("text/html", None),
            ("application/*", None),
            ("garbage", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept", accept.parse().unwrap());
            assert_eq!(negotiate(&headers).ok(), expected, "{accept}");
        }
    }
}
