//! The grammar of PostgREST's query parameters, by recursive descent.
//!
//! Each function reads one parameter as PostgREST 12.0.2 does, including where that is lenient: what follows a complete
//! value is ignored. A failure names the furthest position that any alternative reached, as Parsec's messages do, so that
//! clients see the column they are used to.

mod order;
mod select;
mod logic;
mod operation;
mod name;
mod cursor;

use cursor::{Cursor, Parsed};

use super::ast::{Condition, Filter, OrderTerm, SelectItem};
use super::error::Error;

/// How deep logic trees and embeds may nest: bounds the recursion of everything that walks them.
pub(super) const NESTING_MAX: usize = 32;

/// The path of embedded resources in front of a parameter's name: `actors.order` has `["actors"]`.
pub(super) type EmbedPath = Vec<String>;

/// Reads `select=`. Nothing readable at all means `*`.
pub(super) fn parse_select(value: &str) -> Result<Vec<SelectItem>, Error> {
    let items = read("select parameter", value, |cursor| select::forest(cursor, 0))?;
    Ok(if items.is_empty() { vec![SelectItem::Star] } else { items })
}

/// Reads a horizontal filter from a parameter's name and value.
pub(super) fn parse_filter(key: &str, value: &str) -> Result<(EmbedPath, Filter), Error> {
    let (path, field) = read("tree path", key, name::tree_path)?;
    let (polarity, operation) =
        read("filter", value, |cursor| operation::operation(cursor, operation::Place::Parameter))?;
    Ok((path, Filter { field, polarity, operation }))
}

/// Whether a parameter's value begins as a filter does, rather than being the argument of a function.
pub(super) fn is_filter(value: &str) -> bool {
    operation::begins(value)
}

/// Reads `and=(...)`, `or=(...)` and their `not.` forms.
pub(super) fn parse_logic(key: &str, value: &str) -> Result<(EmbedPath, Condition), Error> {
    let mut names = read("logic path", key, name::dotted)?;
    let operator = names.pop().unwrap_or_default();
    let negated = operator == "not" || names.iter().any(|name| name == "not");
    names.retain(|name| name != "not");
    // PostgREST puts name and value together again and reads the whole; the columns of its messages count from there.
    let whole = format!("{}{operator}{value}", if negated { "not." } else { "" });
    let mut cursor = Cursor::new(&whole);
    let condition = logic::tree(&mut cursor, 0).map_err(|failed| cursor.explain(failed, "logic tree", value))?;
    Ok((names, condition))
}

/// Reads `order=`.
pub(super) fn parse_order(key: &str, value: &str) -> Result<(EmbedPath, Vec<OrderTerm>), Error> {
    Ok((parse_embed_path(key)?, read("order", value, order::terms)?))
}

/// Reads the embed path of a parameter whose last name is a reserved word.
pub(super) fn parse_embed_path(key: &str) -> Result<EmbedPath, Error> {
    read("tree path", key, name::tree_path).map(|(path, _)| path)
}

/// Reads `columns=`.
pub(super) fn parse_columns(value: &str) -> Result<Vec<String>, Error> {
    read("columns parameter", value, name::columns)
}

/// Reads `on_conflict=`.
pub(super) fn parse_on_conflict(value: &str) -> Result<Vec<String>, Error> {
    read("on_conflict parameter", value, name::columns)
}

fn read<T>(what: &str, text: &str, parser: impl FnOnce(&mut Cursor<'_>) -> Parsed<T>) -> Result<T, Error> {
    let mut cursor = Cursor::new(text);
    parser(&mut cursor).map_err(|failed| cursor.explain(failed, what, text))
}

#[cfg(test)]
mod tests;
