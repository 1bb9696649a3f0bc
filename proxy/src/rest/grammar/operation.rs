//! `not.operator(modifier).value`: the right side of a filter.

use super::cursor::{Cursor, Failed, Parsed, Spacing};
use super::name;
use crate::rest::ast::{Operation, Operator, Polarity, Quantifier, TextQuery, Truth};

const OPERATOR: &str = "operator (eq, gt, ...)";

/// Where a filter stands, which decides where its value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// a parameter of its own: the value is everything that follows
    Parameter,
    /// inside a logic tree: the value ends at `,` or `)` unless it is quoted or an array literal
    Tree,
}

/// Whether `value` begins as a filter does: with a negation, or with an operator, its modifier and the dot.
pub(super) fn begins(value: &str) -> bool {
    let mut cursor = Cursor::new(value);
    ["not.", "in.", "is.", "isdistinct."].iter().any(|word| value.starts_with(word))
        || matches!(cursor.optional(full_text), Ok(Some(_)))
        || comparison(&mut cursor).is_ok()
}

pub(super) fn operation(cursor: &mut Cursor<'_>, place: Place) -> Parsed<(Polarity, Operation)> {
    let negated = cursor.optional(|cursor| {
        cursor.literal("not", "\"not\"")?;
        name::delimiter(cursor)
    })?;
    if is_not_null(cursor) {
        let polarity = if negated.is_some() { Polarity::Plain } else { Polarity::Negated };
        return Ok((polarity, Operation::Is(Truth::Null)));
    }
    let polarity = if negated.is_some() { Polarity::Negated } else { Polarity::Plain };
    Ok((polarity, positive(cursor, place)?))
}

/// Reads `is.not_null`, which later versions have for `not.is.null`. Whole or not at all: it must not move the position at
/// which 12.0.2 complains about another word.
fn is_not_null(cursor: &mut Cursor<'_>) -> bool {
    const WORDS: &str = "is.not_null";
    let found = cursor.rest().get(..WORDS.len()).is_some_and(|text| text.eq_ignore_ascii_case(WORDS));
    found && cursor.keyword(WORDS, OPERATOR).is_ok()
}

fn positive(cursor: &mut Cursor<'_>, place: Place) -> Parsed<Operation> {
    if word(cursor, "in")?.is_some() {
        return list(cursor).map(Operation::In);
    }
    if word(cursor, "is")?.is_some() {
        return truth(cursor).map(Operation::Is);
    }
    if word(cursor, "isdistinct")?.is_some() {
        return value(cursor, place).map(Operation::IsDistinct);
    }
    if let Some((query, language)) = cursor.optional(full_text)? {
        return Ok(Operation::FullText { query, language, value: value(cursor, place)? });
    }
    let (operator, quantifier) = comparison(cursor)?;
    Ok(Operation::Compare { operator, quantifier, value: value(cursor, place)? })
}

/// `text` and the dot behind it.
fn word(cursor: &mut Cursor<'_>, text: &str) -> Parsed<Option<()>> {
    cursor.optional(|cursor| {
        cursor.literal(text, OPERATOR)?;
        cursor.literal(".", OPERATOR)
    })
}

fn full_text(cursor: &mut Cursor<'_>) -> Parsed<(TextQuery, Option<String>)> {
    let query = one_of(
        cursor,
        &[
            ("fts", TextQuery::Boolean),
            ("plfts", TextQuery::Plain),
            ("phfts", TextQuery::Phrase),
            ("wfts", TextQuery::Websearch),
        ],
    )?;
    let language = cursor.optional(|cursor| {
        cursor.literal("(", OPERATOR)?;
        let language = name::identifier(cursor)?;
        cursor.literal(")", OPERATOR)?;
        Ok(language)
    })?;
    cursor.literal(".", OPERATOR)?;
    Ok((query, language))
}

fn comparison(cursor: &mut Cursor<'_>) -> Parsed<(Operator, Option<Quantifier>)> {
    // A name that begins another (`gt`, `gte`) stands behind it.
    let operator = one_of(
        cursor,
        &[
            ("eq", Operator::Eq),
            ("neq", Operator::Neq),
            ("gte", Operator::Gte),
            ("gt", Operator::Gt),
            ("lte", Operator::Lte),
            ("lt", Operator::Lt),
            ("like", Operator::Like),
            ("ilike", Operator::Ilike),
            ("match", Operator::Match),
            ("imatch", Operator::Imatch),
            ("cs", Operator::Contains),
            ("cd", Operator::Contained),
            ("ov", Operator::Overlaps),
            ("sl", Operator::StrictlyLeft),
            ("sr", Operator::StrictlyRight),
            ("nxr", Operator::NotExtendsRight),
            ("nxl", Operator::NotExtendsLeft),
            ("adj", Operator::Adjacent),
        ],
    )?;
    let quantifier = if takes_quantifier(operator) { cursor.optional(quantifier)? } else { None };
    cursor.literal(".", OPERATOR)?;
    Ok((operator, quantifier))
}

fn takes_quantifier(operator: Operator) -> bool {
    use Operator::{Eq, Gt, Gte, Ilike, Imatch, Like, Lt, Lte, Match};
    matches!(operator, Eq | Gte | Gt | Lte | Lt | Like | Ilike | Match | Imatch)
}

fn quantifier(cursor: &mut Cursor<'_>) -> Parsed<Quantifier> {
    cursor.literal("(", OPERATOR)?;
    let quantifier = one_of(cursor, &[("any", Quantifier::Any), ("all", Quantifier::All)])?;
    cursor.literal(")", OPERATOR)?;
    Ok(quantifier)
}

fn one_of<T: Copy>(cursor: &mut Cursor<'_>, words: &[(&str, T)]) -> Parsed<T> {
    for (text, meaning) in words {
        if cursor.literal(text, OPERATOR).is_ok() {
            return Ok(*meaning);
        }
    }
    Err(Failed::Mismatch)
}

fn truth(cursor: &mut Cursor<'_>) -> Parsed<Truth> {
    const WORDS: [(&str, Truth); 4] =
        [("null", Truth::Null), ("unknown", Truth::Unknown), ("true", Truth::True), ("false", Truth::False)];
    for (text, meaning) in WORDS {
        let read = |cursor: &mut Cursor<'_>| cursor.keyword(text, "null or trilean value (unknown, true, false)");
        if cursor.optional(read)?.is_some() {
            return Ok(meaning);
        }
    }
    Err(Failed::Mismatch)
}

fn list(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    cursor.spaces();
    cursor.literal("(", "\"(\"")?;
    cursor.spaces();
    let elements = cursor.comma_separated(Spacing::Strict, bounded)?;
    cursor.spaces();
    cursor.literal(")", "\")\"")?;
    cursor.spaces();
    Ok(elements)
}

fn value(cursor: &mut Cursor<'_>, place: Place) -> Parsed<String> {
    match place {
        Place::Parameter => Ok(cursor.many(|_| true).to_owned()),
        Place::Tree => match cursor.optional(array_literal)? {
            Some(literal) => Ok(literal),
            None => bounded(cursor),
        },
    }
}

/// A value that ends at `,` or `)`, or at the closing quote if one of those follows it.
fn bounded(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let quoted = cursor.optional(|cursor| {
        let text = name::quoted(cursor)?;
        match cursor.peek() {
            None | Some(',' | ')') => Ok(text),
            Some(_) => cursor.fail("\",\" or \")\""),
        }
    })?;
    Ok(quoted.unwrap_or_else(|| cursor.many(|found| found != ',' && found != ')').to_owned()))
}

/// `{...}` without braces inside.
fn array_literal(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.literal("{", "\"{\"")?;
    let inner = cursor.many(|found| found != '{' && found != '}');
    cursor.literal("}", "\"}\"")?;
    Ok(format!("{{{inner}}}"))
}
