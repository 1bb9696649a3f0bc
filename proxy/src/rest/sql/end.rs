//! Where a page ends: what its last row has in the column that comes first in its order.

use super::body::{ROWS, SOURCE, write_rows};
use super::list::column_names;
use crate::rest::footprint::Page;
use crate::rest::request::Format;
use crate::rest::statement::SqlWriter;
use crate::rest::tree::{Node, Output};

/// What the column is called in the query of the page, if the answer does not show it.
const HIDDEN: &str = "_transom_end";
/// The rows of that query, beside those of the answer.
const PAGE: &str = "_transom_page";

/// How a statement finds the end of its page.
#[derive(Debug)]
pub(in crate::rest) struct End<'a> {
    furthest: &'static str,
    column: &'a str,
    place: Place<'a>,
}

#[derive(Debug)]
enum Place<'a> {
    /// in the answer, under this name
    Shown(&'a str),
    /// beside the columns of the answer, which have these names
    Hidden(Vec<String>),
}

impl<'a> End<'a> {
    /// `None` if no name for it is certain: two columns of an answer may be called alike.
    pub(in crate::rest) fn of(node: &'a Node<'a>, page: &'a Page, format: &Format) -> Option<Self> {
        if node.is_silent() || node.children.iter().any(Node::is_spread) {
            return None;
        }
        let column: &str = &page.facet.name;
        let names = column_names(node);
        let is_single = |name: &str| names.iter().filter(|other| *other == name).count() == 1;
        let place = match node.select.iter().find_map(|output| shown(output, column)) {
            Some(name) if is_single(name) => Place::Shown(name),
            // What else is in the query is in the header of a CSV, and in the row that a function is called with.
            _ if !matches!(format, Format::Array(_) | Format::Singular(_)) => return None,
            _ if node.select.iter().any(|output| matches!(output, Output::Star)) => return None,
            _ if names.iter().all(|name| is_single(name) && name != HIDDEN) => Place::Hidden(names),
            _ => return None,
        };
        Some(Self { furthest: page.furthest(), column, place })
    }

    /// The column that the query of the page has to have beside its own.
    pub(super) fn beside(&self) -> Option<(&'a str, &'static str)> {
        matches!(self.place, Place::Hidden(_)).then_some((self.column, HIDDEN))
    }

    /// Writes the column of the statement.
    pub(super) fn write(&self, sql: &mut SqlWriter) {
        let (rows, name) = match self.place {
            Place::Shown(name) => (ROWS, name),
            Place::Hidden(_) => (PAGE, HIDDEN),
        };
        sql.push("pg_catalog.").push(self.furthest).push("(").push(rows).push(".").ident(name);
        sql.push(")::bigint AS page_end");
    }

    /// Writes what stands behind `FROM`: the rows of the answer, and the end beside each. To read the query of the page once
    /// more would be simpler, and would make PostgreSQL keep its rows.
    pub(super) fn write_rows(&self, sql: &mut SqlWriter) {
        let Place::Hidden(names) = &self.place else { return write_rows(sql) };
        sql.push(SOURCE).push(" AS ").push(PAGE).push(", LATERAL (SELECT ").join(names, ", ", |sql, name| {
            sql.push(PAGE).push(".").ident(name);
        });
        sql.push(") ").push(ROWS);
    }
}

/// The name under which an output shows the column as it is.
fn shown<'a>(output: &Output<'a>, column: &'a str) -> Option<&'a str> {
    match *output {
        Output::Star => Some(column),
        Output::Column { field, alias, cast: None, aggregate: None } if field.path.is_empty() => {
            (field.column == column).then(|| alias.unwrap_or(column))
        }
        Output::Column { .. } | Output::Count { .. } => None,
    }
}
