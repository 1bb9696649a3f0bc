//! Names of columns and relations, JSON paths, and what is built of them.

use super::cursor::{Cursor, Failed, Parsed, Spacing};
use crate::rest::ast::{Arrow, Field, JsonOperand, JsonStep};

const NAME: &str = "field name (* or [a..z0..9_$])";
const JSON_KEY: &str = "any non reserved character different from: .,>()";

/// `embed.embed.column->path`: where a filter applies.
pub(super) fn tree_path(cursor: &mut Cursor<'_>) -> Parsed<(Vec<String>, Field)> {
    let mut names = dotted(cursor)?;
    let column = names.pop().unwrap_or_default();
    Ok((names, Field { column, path: json_path(cursor)? }))
}

/// Names with dots between them, at least one.
pub(super) fn dotted(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let mut names = vec![name(cursor)?];
    while cursor.optional(delimiter)?.is_some() {
        names.push(name(cursor)?);
    }
    Ok(names)
}

/// Names with commas between them, at least one.
pub(super) fn columns(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    cursor.comma_separated(Spacing::Free, name)
}

/// A column with its JSON path, spaces allowed around it.
pub(super) fn field(cursor: &mut Cursor<'_>) -> Parsed<Field> {
    cursor.spaces();
    let column = name(cursor)?;
    let path = json_path(cursor)?;
    cursor.spaces();
    Ok(Field { column, path })
}

/// A name: quoted, or identifiers with dashes between them.
pub(super) fn name(cursor: &mut Cursor<'_>) -> Parsed<String> {
    if cursor.peek() == Some('"') {
        return quoted(cursor);
    }
    dashed(cursor, |cursor| identifier_as(cursor, NAME))
}

/// Letters, digits, `_`, `$` and inner spaces.
pub(super) fn identifier(cursor: &mut Cursor<'_>) -> Parsed<String> {
    identifier_as(cursor, "letter or digit")
}

/// `"..."` where a backslash makes the next character plain.
pub(super) fn quoted(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.literal("\"", "\"\\\"\"")?;
    let mut text = String::new();
    loop {
        text.push_str(cursor.many(|found| found != '"' && found != '\\'));
        match cursor.one(|_| true, "\"\\\"\"")? {
            '"' => return Ok(text),
            _ => text.push(cursor.one(|_| true, "any character")?),
        }
    }
}

pub(super) fn delimiter(cursor: &mut Cursor<'_>) -> Parsed<()> {
    cursor.literal(".", "delimiter (.)")
}

fn identifier_as(cursor: &mut Cursor<'_>, expected: &'static str) -> Parsed<String> {
    let found = cursor.many(is_identifier);
    if found.is_empty() {
        return cursor.fail(expected);
    }
    Ok(found.trim().to_owned())
}

fn is_identifier(found: char) -> bool {
    found.is_alphabetic() || found.is_ascii_digit() || matches!(found, '_' | '$' | ' ')
}

/// Parts with dashes between them; the dash of an arrow `->` is not one of those.
fn dashed(cursor: &mut Cursor<'_>, mut part: impl FnMut(&mut Cursor<'_>) -> Parsed<String>) -> Parsed<String> {
    let mut text = part(cursor)?;
    while cursor.rest().starts_with('-') && !cursor.rest().starts_with("->") {
        cursor.literal("-", "\"-\"")?;
        text.push('-');
        text.push_str(&part(cursor)?);
    }
    Ok(text)
}

fn json_path(cursor: &mut Cursor<'_>) -> Parsed<Vec<JsonStep>> {
    let mut path = Vec::new();
    loop {
        let arrow = if cursor.literal("->>", "\"->>\"").is_ok() {
            Arrow::Text
        } else if cursor.literal("->", "\"->\"").is_ok() {
            Arrow::Json
        } else {
            return Ok(path);
        };
        path.push(JsonStep { arrow, operand: json_operand(cursor)? });
    }
}

fn json_operand(cursor: &mut Cursor<'_>) -> Parsed<JsonOperand> {
    match cursor.attempt(json_index) {
        Ok(index) => Ok(JsonOperand::Index(index)),
        Err(Failed::Mismatch) => json_key(cursor).map(JsonOperand::Key),
        Err(Failed::TooDeep) => Err(Failed::TooDeep),
    }
}

/// A number is an index only if the operand ends with it: `0x` is a key.
fn json_index(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let sign = if cursor.literal("-", "\"-\"").is_ok() { "-" } else { "" };
    let digits = cursor.many(|found| found.is_ascii_digit());
    if digits.is_empty() {
        return cursor.fail("digit");
    }
    let rest = cursor.rest();
    if rest.is_empty() || ["->", "::", ".", ","].iter().any(|end| rest.starts_with(end)) {
        Ok(format!("{sign}{digits}"))
    } else {
        cursor.fail("digit")
    }
}

fn json_key(cursor: &mut Cursor<'_>) -> Parsed<String> {
    if cursor.peek() == Some('"') {
        return quoted(cursor);
    }
    dashed(cursor, |cursor| {
        let found = cursor.many(|found| !matches!(found, '(' | '-' | ':' | '.' | ',' | '>' | ')'));
        if found.is_empty() { cursor.fail(JSON_KEY) } else { Ok(found.trim().to_owned()) }
    })
}
