//! Columns whose equality can be told from the text of a value: the same text if and only if the same value.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// How the values of a column compare, for those types where PostgreSQL prints equal values alike and no others.
///
/// Not so for numbers with a scale (`1.0` and `1.00` are equal), for `bpchar` (which ignores spaces at the end), or for text
/// whose collation finds different texts equal. Not for dates and times either, whose text depends on the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Equality {
    /// `smallint`
    SmallInteger,
    /// `integer`
    Integer,
    /// `bigint`
    BigInteger,
    /// `boolean`
    Boolean,
    /// `uuid`
    Uuid,
    /// `text`, with a deterministic collation
    Text,
    /// `character varying`, with a deterministic collation; its bound does not matter to a comparison
    Varchar,
    /// an enumeration, by the id of its type
    Enumeration(u32),
}

/// Text with these around it is the same value to PostgreSQL's input of booleans.
const TRUE: [&str; 6] = ["true", "t", "yes", "y", "on", "1"];
const FALSE: [&str; 6] = ["false", "f", "no", "n", "off", "0"];

impl Equality {
    /// By the id of the type in `pg_type`; the built-in ones never change.
    pub(super) fn of(type_id: u32, kind: TypeKind, collation: Collation) -> Option<Self> {
        match (type_id, kind, collation) {
            (16, ..) => Some(Self::Boolean),
            (20, ..) => Some(Self::BigInteger),
            (21, ..) => Some(Self::SmallInteger),
            (23, ..) => Some(Self::Integer),
            (25, _, Collation::Deterministic) => Some(Self::Text),
            (1043, _, Collation::Deterministic) => Some(Self::Varchar),
            (2950, ..) => Some(Self::Uuid),
            (_, TypeKind::Enumeration, _) => Some(Self::Enumeration(type_id)),
            _ => None,
        }
    }

    /// The id of the type, by which the change stream calls it.
    pub fn type_id(self) -> u32 {
        match self {
            Self::Boolean => 16,
            Self::BigInteger => 20,
            Self::SmallInteger => 21,
            Self::Integer => 23,
            Self::Text => 25,
            Self::Varchar => 1043,
            Self::Uuid => 2950,
            Self::Enumeration(id) => id,
        }
    }

    /// Whether values of both are equal if and only if their texts are.
    pub(in crate::rest) fn joins(self, other: Self) -> bool {
        self.family() == other.family()
    }

    /// Whether its values are integers, which are in an order that their texts tell.
    pub(in crate::rest) fn is_integer(self) -> bool {
        self.family() == Self::BigInteger
    }

    fn family(self) -> Self {
        match self {
            Self::SmallInteger | Self::Integer | Self::BigInteger => Self::BigInteger,
            Self::Text | Self::Varchar => Self::Text,
            other => other,
        }
    }

    /// The text that PostgreSQL prints for the value that it reads from `text`. `None` if that is not certain, or if it
    /// reads none: the spellings that clients use are known here, PostgreSQL knows more.
    pub fn canonical(self, text: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::SmallInteger => integer(text, i64::from(i16::MIN)..=i64::from(i16::MAX)),
            Self::Integer => integer(text, i64::from(i32::MIN)..=i64::from(i32::MAX)),
            Self::BigInteger => integer(text, i64::MIN..=i64::MAX),
            Self::Boolean => {
                let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
                if is(&TRUE) { Some("t".into()) } else { is(&FALSE).then_some("f".into()) }
            }
            Self::Uuid => uuid(text),
            Self::Text | Self::Varchar | Self::Enumeration(_) => Some(text.into()),
        }
    }
}

/// Whether a type is an enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeKind {
    Enumeration,
    Other,
}

/// Whether only equal texts are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collation {
    Deterministic,
    Other,
}

/// Digits with an optional sign, as every version of PostgreSQL reads them.
fn integer(text: &str, range: RangeInclusive<i64>) -> Option<Cow<'_, str>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = text.parse().ok().filter(|number| range.contains(number))?;
    let canonical = digits == text && (digits.len() == 1 || !digits.starts_with('0'));
    Some(if canonical { text.into() } else { number.to_string().into() })
}

/// The usual spelling, in either case.
fn uuid(text: &str) -> Option<Cow<'_, str>> {
    let is_right = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    (text.len() == 36 && text.bytes().enumerate().all(is_right)).then(|| text.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(equality: Equality, text: &str) -> Option<String> {
        equality.canonical(text).map(Cow::into_owned)
    }

    #[test]
    fn a_number_has_one_text() {
        for (text, number) in [("7", "7"), ("007", "7"), ("-0", "0"), ("+12", "12"), ("-012", "-12"), ("0", "0")] {
            assert_eq!(canonical(Equality::Integer, text).as_deref(), Some(number), "{text}");
        }
        for text in ["", "-", " 7", "7 ", "1e3", "0x10", "1_000", "--1", "2147483648", "\u{664}"] {
            assert_eq!(canonical(Equality::Integer, text), None, "{text}");
        }
        assert_eq!(canonical(Equality::SmallInteger, "32768"), None);
        assert_eq!(canonical(Equality::BigInteger, "9223372036854775808"), None);
        assert_eq!(canonical(Equality::BigInteger, "-9223372036854775808").as_deref(), Some("-9223372036854775808"));
    }

    #[test]
    fn booleans_and_ids_are_printed_one_way() {
        assert_eq!(canonical(Equality::Boolean, "TRUE").as_deref(), Some("t"));
        assert_eq!(canonical(Equality::Boolean, "off").as_deref(), Some("f"));
        assert_eq!(canonical(Equality::Boolean, "tru"), None, "a spelling that nobody uses");
        let id = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
        assert_eq!(canonical(Equality::Uuid, id), Some(id.to_ascii_lowercase()));
        assert_eq!(canonical(Equality::Uuid, "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"), None);
    }

    #[test]
    fn only_types_whose_text_tells_serve() {
        let other = |type_id| Equality::of(type_id, TypeKind::Other, Collation::Deterministic);
        assert!([1042, 1700, 701, 1082, 1184, 3802].into_iter().all(|type_id| other(type_id).is_none()));
        assert_eq!(Equality::of(25, TypeKind::Other, Collation::Other), None, "it may ignore case");
        let mood = Equality::of(20_000, TypeKind::Enumeration, Collation::Other);
        assert_eq!(mood, Some(Equality::Enumeration(20_000)));
        assert_eq!(mood.map(Equality::type_id), Some(20_000));
        assert!(Equality::Integer.joins(Equality::BigInteger) && Equality::Text.joins(Equality::Varchar));
        assert!(!Equality::Text.joins(Equality::Uuid));
        assert!(!Equality::Enumeration(20_000).joins(Equality::Enumeration(20_001)));
    }
}
