//! `order=column.desc.nullslast,relation(column)`.

use super::cursor::{Cursor, Parsed, Spacing};
use super::name;
use crate::rest::ast::{Direction, Nulls, OrderTerm};

pub(super) fn terms(cursor: &mut Cursor<'_>) -> Parsed<Vec<OrderTerm>> {
    cursor.comma_separated(Spacing::Strict, |cursor| {
        cursor.spaces();
        let term = term(cursor)?;
        cursor.spaces();
        Ok(term)
    })
}

fn term(cursor: &mut Cursor<'_>) -> Parsed<OrderTerm> {
    let (relation, field) = cursor.either(
        |cursor| {
            let relation = name::name(cursor)?;
            cursor.literal("(", "\"(\"")?;
            let field = name::field(cursor)?;
            cursor.literal(")", "\")\"")?;
            Ok((Some(relation), field))
        },
        |cursor| Ok((None, name::field(cursor)?)),
    )?;
    let direction = direction(cursor)?;
    let nulls = nulls(cursor)?;
    match cursor.peek() {
        None | Some(',') => Ok(OrderTerm { relation, field, direction, nulls }),
        Some(_) => cursor.fail("delimiter (.), \",\" or end of input"),
    }
}

fn direction(cursor: &mut Cursor<'_>) -> Parsed<Option<Direction>> {
    cursor.optional(|cursor| {
        name::delimiter(cursor)?;
        if cursor.literal("asc", "\"asc\"").is_ok() {
            return Ok(Direction::Ascending);
        }
        cursor.literal("desc", "\"desc\"").map(|()| Direction::Descending)
    })
}

fn nulls(cursor: &mut Cursor<'_>) -> Parsed<Option<Nulls>> {
    cursor.optional(|cursor| {
        name::delimiter(cursor)?;
        if cursor.literal("nullsfirst", "\"nullsfirst\"").is_ok() {
            return Ok(Nulls::First);
        }
        cursor.literal("nullslast", "\"nullslast\"").map(|()| Nulls::Last)
    })
}
