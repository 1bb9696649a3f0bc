//! `select=alias:column->path::cast,relation!hint!inner(...),...relation(...)`.

use super::NESTING_MAX;
use super::cursor::{Cursor, Failed, Parsed, Spacing};
use super::name;
use crate::rest::ast::{Aggregate, AggregateFunction, Embed, EmbedForm, Field, Join, SelectItem};

/// Items with commas between them; none at all if the text does not begin with one.
pub(super) fn forest(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<Vec<SelectItem>> {
    if depth >= NESTING_MAX {
        return Err(Failed::TooDeep);
    }
    let start = cursor.position();
    match cursor.comma_separated(Spacing::Free, |cursor| item(cursor, depth)) {
        Err(Failed::Mismatch) if cursor.position() == start => Ok(Vec::new()),
        parsed => parsed,
    }
}

fn item(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<SelectItem> {
    cursor.spaces();
    let item = cursor.either(|cursor| embed_head(cursor).map(SelectItem::Embed), column)?;
    let item = match item {
        // Past the parenthesis there is no way back to a column.
        SelectItem::Embed(head) => SelectItem::Embed(Embed { select: embed_body(cursor, depth)?, ..head }),
        column => column,
    };
    cursor.spaces();
    Ok(item)
}

/// What stands before the parenthesis of an embed. `count()` is not one.
fn embed_head(cursor: &mut Cursor<'_>) -> Parsed<Embed> {
    let spread = cursor.literal("...", "\"...\"").is_ok();
    let alias = if spread { None } else { alias(cursor)? };
    let relation = name::name(cursor)?;
    if relation == "count" && !spread {
        return Err(Failed::Mismatch);
    }
    let (mut hint, mut join) = (None, None);
    for _ in 0..2 {
        if cursor.literal("!", "\"!\"").is_err() {
            break;
        }
        if cursor.literal("left", "\"left\"").is_ok() {
            join = join.or(Some(Join::Left));
        } else if cursor.literal("inner", "\"inner\"").is_ok() {
            join = join.or(Some(Join::Inner));
        } else {
            let named = name::name(cursor)?;
            hint = hint.or(Some(named));
        }
    }
    cursor.literal("(", "\"(\"")?;
    let form = if spread { EmbedForm::Spread } else { EmbedForm::Nested };
    Ok(Embed { relation, alias, hint, join, form, select: Vec::new() })
}

fn embed_body(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<Vec<SelectItem>> {
    let select = forest(cursor, depth + 1)?;
    cursor.literal(")", "\")\"")?;
    Ok(select)
}

fn column(cursor: &mut Cursor<'_>) -> Parsed<SelectItem> {
    let star = cursor.optional(|cursor| {
        cursor.literal("*", "\"*\"")?;
        end(cursor)
    })?;
    if star.is_some() {
        return Ok(SelectItem::Star);
    }
    let count = cursor.optional(|cursor| {
        let alias = alias(cursor)?;
        cursor.literal("count()", "\"count()\"")?;
        let cast = cast(cursor)?;
        end(cursor)?;
        Ok(SelectItem::Count { alias, cast })
    })?;
    if let Some(count) = count {
        return Ok(count);
    }
    let alias = alias(cursor)?;
    let field: Field = name::field(cursor)?;
    let field_cast = cast(cursor)?;
    let function = aggregate(cursor)?;
    let aggregate_cast = cast(cursor)?;
    end(cursor)?;
    let aggregate = function.map(|function| Aggregate { function, cast: aggregate_cast });
    Ok(SelectItem::Column { field, alias, cast: field_cast, aggregate })
}

/// `alias:`, where a second colon would make it a cast.
fn alias(cursor: &mut Cursor<'_>) -> Parsed<Option<String>> {
    cursor.optional(|cursor| {
        let alias = name::name(cursor)?;
        cursor.literal(":", "\":\"")?;
        if cursor.peek() == Some(':') { Err(Failed::Mismatch) } else { Ok(alias) }
    })
}

fn cast(cursor: &mut Cursor<'_>) -> Parsed<Option<String>> {
    if cursor.literal("::", "\"::\"").is_err() {
        return Ok(None);
    }
    name::identifier(cursor).map(Some)
}

fn aggregate(cursor: &mut Cursor<'_>) -> Parsed<Option<AggregateFunction>> {
    const KNOWN: [(&str, &str, AggregateFunction); 5] = [
        ("sum", "\"sum\"", AggregateFunction::Sum),
        ("avg", "\"avg\"", AggregateFunction::Avg),
        ("count", "\"count\"", AggregateFunction::Count),
        ("max", "\"max\"", AggregateFunction::Max),
        ("min", "\"min\"", AggregateFunction::Min),
    ];
    cursor.optional(|cursor| {
        cursor.literal(".", "\".\"")?;
        let mut found = KNOWN.iter().filter(|(word, expected, _)| cursor.literal(word, expected).is_ok());
        let Some((.., function)) = found.next() else { return Err(Failed::Mismatch) };
        cursor.literal("()", "\"()\"")?;
        Ok(*function)
    })
}

fn end(cursor: &mut Cursor<'_>) -> Parsed<()> {
    match cursor.peek() {
        None | Some(',' | ')') => Ok(()),
        Some(_) => cursor.fail("\")\", \",\" or end of input"),
    }
}
