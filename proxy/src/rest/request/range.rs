//! Which rows of the result are wanted: `limit`, `offset` and the `Range` header together.

use http::HeaderMap;

use crate::rest::Error;

/// The wanted rows, ready for SQL. The numbers may be beyond PostgreSQL's `bigint`: it says so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) struct Range {
    pub(in crate::rest) offset: i128,
    pub(in crate::rest) limit: Option<i128>,
}

/// Positions from `first` to `last`, both included. It is empty if `last` comes before `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    first: i128,
    last: Option<i128>,
}

impl Span {
    pub(super) const ALL: Self = Self { first: 0, last: None };
    /// `limit=0`: PostgREST lets this one empty span pass
    const ZERO: Self = Self { first: 0, last: Some(-1) };

    pub(super) fn of_limit_and_offset(limit: Option<i128>, offset: Option<i128>) -> Self {
        let first = offset.unwrap_or(0).max(0);
        let last = limit.map(|limit| first.saturating_add(limit.max(-1)).saturating_sub(1));
        Self { first, last }
    }

    fn is_empty(self) -> bool {
        self.last.is_some_and(|last| last < self.first)
    }

    fn intersect(self, other: Self) -> Self {
        let last = match (self.last, other.last) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { first: self.first.max(other.first), last }
    }
}

impl From<Span> for Range {
    fn from(span: Span) -> Self {
        let limit = span.last.map(|last| last.saturating_sub(span.first).saturating_add(1));
        Self { offset: span.first, limit }
    }
}

impl Range {
    /// Everything.
    pub(in crate::rest) const ALL: Self = Self { offset: 0, limit: None };

    /// Combines what the query string and the header ask for.
    pub(super) fn of(query: Span, header: Span) -> Result<Self, Error> {
        // As in PostgREST, whatever the header says.
        if query == Span::ZERO {
            return Ok(Self { offset: 0, limit: Some(0) });
        }
        if header.is_empty() {
            return Err(Error::InvalidRange(
                "The lower boundary must be lower than or equal to the upper boundary in the Range header.",
            ));
        }
        let both = query.intersect(header);
        if both.is_empty() {
            return Err(Error::InvalidRange("Limit should be greater than or equal to zero."));
        }
        Ok(both.into())
    }

    /// At most `rows_max` rows of it.
    pub(in crate::rest) fn at_most(self, rows_max: Option<u64>) -> Self {
        let limit = match (self.limit, rows_max.map(i128::from)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { limit, ..self }
    }
}

/// The span of `Range: 0-9` or `Range: 10-`. Anything else, also another unit, asks for everything.
pub(super) fn header_range(headers: &HeaderMap) -> Span {
    let parse = |text: &str| {
        let (first, last) = text.trim().split_once('-')?;
        let first = parse_digits(first)?;
        let last = if last.is_empty() { None } else { Some(parse_digits(last)?) };
        Some(Span { first, last })
    };
    headers.get(http::header::RANGE).and_then(|value| value.to_str().ok()).and_then(parse).unwrap_or(Span::ALL)
}

/// A decimal number with an optional minus sign and spaces around it.
pub(super) fn parse_number(text: &str) -> Option<i128> {
    let text = text.trim();
    match text.strip_prefix('-') {
        Some(digits) => parse_digits(digits).map(|number| -number),
        None => parse_digits(text),
    }
}

/// Stands for every number that is larger: far beyond `bigint`, and yet sums of it do not overflow.
const NUMBER_MAX: i128 = 10_i128.pow(36);

/// Digits only.
fn parse_digits(text: &str) -> Option<i128> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(NUMBER_MAX).min(NUMBER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(limit: Option<&str>, offset: Option<&str>, header: Option<&str>) -> Result<(i128, Option<i128>), Error> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("range", header.parse().unwrap());
        }
        let query = Span::of_limit_and_offset(limit.and_then(parse_number), offset.and_then(parse_number));
        Range::of(query, header_range(&headers)).map(|range| (range.offset, range.limit))
    }

    /// Each was asked of PostgREST 12.0.2.
    #[test]
    fn ranges_combine_as_in_postgrest() {
        assert_eq!(range(None, None, None), Ok((0, None)));
        assert_eq!(range(Some("3"), None, Some("1-1")), Ok((1, Some(1))));
        assert_eq!(range(Some("x"), Some("-1"), Some("bogus")), Ok((0, None)));
        assert_eq!(range(Some(" 2"), Some("1"), Some("-3")), Ok((1, Some(2))));
        assert_eq!(range(None, None, Some("01-02")), Ok((1, Some(2))));
        assert_eq!(range(Some("0"), None, None), Ok((0, Some(0))));
        assert_eq!(range(Some("0"), None, Some("2-1")), Ok((0, Some(0))));
        for (limit, offset, header) in [
            (Some("-1"), None, None),
            (Some("0"), Some("2"), None),
            (None, None, Some("2-1")),
            (None, Some("5"), Some("0-1")),
        ] {
            assert!(matches!(range(limit, offset, header), Err(Error::InvalidRange(_))));
        }
    }

    #[test]
    fn huge_numbers_do_not_overflow() {
        let huge = "9".repeat(60);
        let huge = huge.as_str();
        assert_eq!(range(Some(huge), None, None).unwrap().1, Some(NUMBER_MAX));
        assert!(range(Some(huge), Some(huge), Some(&format!("{huge}-{huge}"))).is_ok());
        assert!(range(Some(&format!("-{huge}")), Some(huge), None).is_err());
    }
}
