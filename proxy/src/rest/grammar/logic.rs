//! Trees of `and` and `or`.

use super::NESTING_MAX;
use super::cursor::{Cursor, Failed, Parsed, Spacing};
use super::{name, operation};
use crate::rest::ast::{Condition, Filter, Logic, Polarity};

/// `column.operator.value`, or `not.and(tree,tree)`.
pub(super) fn tree(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<Condition> {
    if depth >= NESTING_MAX {
        return Err(Failed::TooDeep);
    }
    cursor.either(|cursor| filter(cursor).map(Condition::Filter), |cursor| group(cursor, depth))
}

fn group(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<Condition> {
    let polarity = polarity(cursor)?;
    let logic = logic(cursor)?;
    cursor.spaces();
    cursor.literal("(", "\"(\"")?;
    cursor.spaces();
    let children = cursor.comma_separated(Spacing::Free, |cursor| tree(cursor, depth + 1))?;
    cursor.spaces();
    cursor.literal(")", "\")\"")?;
    cursor.spaces();
    Ok(Condition::Group { polarity, logic, children })
}

fn filter(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    let field = name::field(cursor)?;
    name::delimiter(cursor)?;
    let (polarity, operation) = operation::operation(cursor, operation::Place::Tree)?;
    Ok(Filter { field, polarity, operation })
}

fn polarity(cursor: &mut Cursor<'_>) -> Parsed<Polarity> {
    let negated = cursor.optional(|cursor| {
        cursor.literal("not", "negation operator (not)")?;
        name::delimiter(cursor)
    })?;
    Ok(if negated.is_some() { Polarity::Negated } else { Polarity::Plain })
}

fn logic(cursor: &mut Cursor<'_>) -> Parsed<Logic> {
    if cursor.literal("and", "logic operator (and, or)").is_ok() {
        return Ok(Logic::And);
    }
    cursor.literal("or", "logic operator (and, or)").map(|()| Logic::Or)
}
