//! Columns of a relation, JSON paths into them, and lists of both.

use crate::rest::ast::{Arrow, Direction, Field, JsonOperand, Nulls, OrderTerm};
use crate::rest::schema::{Relation, TypeFamily};
use crate::rest::statement::SqlWriter;
use crate::rest::tree::{Node, Output, embed};

/// A relation as the expressions of one query level refer to it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// empty where the relation goes by an alias
    schema: &'a str,
    name: &'a str,
    known: Option<&'a Relation>,
    /// the embedded resources that stand beside it
    embeds: &'a [Node<'a>],
}

impl<'a> Source<'a> {
    /// The relation of a node of a read, with what is embedded in it.
    pub(super) fn of(node: &'a Node<'a>) -> Self {
        let (schema, name) = match &node.alias {
            Some(alias) => ("", alias.as_str()),
            None => (node.schema, node.name),
        };
        Self { schema, name, known: node.known, embeds: &node.children }
    }

    /// The relation alone, as a write changes it.
    pub(super) fn target(node: &'a Node<'a>) -> Self {
        Self { schema: node.schema, name: node.name, known: node.known, embeds: &[] }
    }

    /// Rows that already were computed, under the bare name of the relation that they are of.
    pub(super) fn computed(node: &'a Node<'a>) -> Self {
        Self { schema: "", name: node.name, known: node.known, embeds: &node.children }
    }

    /// The rows of a payload, which have the types of the relation's columns.
    pub(super) fn payload(node: &'a Node<'a>, name: &'a str) -> Self {
        Self { schema: "", name, known: node.known, embeds: &[] }
    }

    pub(super) fn embeds(self) -> &'a [Node<'a>] {
        self.embeds
    }

    /// Its name without the schema.
    pub(super) fn bare_name(self) -> &'a str {
        self.name
    }

    /// Writes the name of the relation.
    pub(super) fn write_name(self, sql: &mut SqlWriter) {
        if !self.schema.is_empty() {
            sql.ident(self.schema).push(".");
        }
        sql.ident(self.name);
    }

    pub(super) fn write_column(self, sql: &mut SqlWriter, column: &str) {
        self.write_name(sql);
        sql.push(".").ident(column);
    }

    /// Whether a field is JSON, as far as it is known.
    pub(super) fn is_json(self, field: &Field) -> bool {
        match field.path.last() {
            Some(step) => step.arrow == Arrow::Json,
            None => self
                .known
                .and_then(|relation| relation.column(&field.column))
                .is_some_and(|column| column.family == TypeFamily::Json),
        }
    }

    /// Writes a field. A path into a column that is not JSON goes through its JSON form.
    pub(super) fn write_field(self, sql: &mut SqlWriter, field: &Field) {
        let column = self.known.and_then(|relation| relation.column(&field.column));
        let convert = !field.path.is_empty() && column.is_some_and(|column| column.family != TypeFamily::Json);
        if convert {
            sql.push("to_jsonb(");
        }
        self.write_column(sql, &field.column);
        if convert {
            sql.push(")");
        }
        write_path(sql, field);
    }

    /// Writes the own columns of the list behind `SELECT`.
    pub(super) fn write_outputs(self, sql: &mut SqlWriter, outputs: &[Output<'_>]) {
        sql.join(outputs, ", ", |sql, output| match *output {
            Output::Star => self.write_star(sql),
            Output::Column { field, alias, cast, .. } => {
                self.write_cast(sql, field, cast);
                if let Some(name) = alias.or_else(|| implied_name(field, cast)) {
                    sql.push(" AS ").ident(name);
                }
            }
            // Whatever aggregates is written by `list`.
            Output::Count { .. } => {}
        });
    }

    pub(super) fn write_star(self, sql: &mut SqlWriter) {
        self.write_name(sql);
        sql.push(".*");
    }

    /// Writes a field as the type that is asked for.
    pub(super) fn write_cast(self, sql: &mut SqlWriter, field: &Field, cast: Option<&str>) {
        write_as(sql, cast, |sql| self.write_field(sql, field));
    }

    /// Writes ` ORDER BY ...`, or nothing.
    pub(super) fn write_order(self, sql: &mut SqlWriter, order: &[OrderTerm]) {
        if order.is_empty() {
            return;
        }
        sql.push(" ORDER BY ").join(order, ", ", |sql, term| {
            match term.relation.as_deref().and_then(|name| embed(self.embeds, name)) {
                Some(branch) => {
                    sql.ident(&branch.handle).push(".").ident(&term.field.column);
                    write_path(sql, &term.field);
                }
                None => self.write_field(sql, &term.field),
            }
            sql.push(match term.direction {
                None => "",
                Some(Direction::Ascending) => " ASC",
                Some(Direction::Descending) => " DESC",
            });
            sql.push(match term.nulls {
                None => "",
                Some(Nulls::First) => " NULLS FIRST",
                Some(Nulls::Last) => " NULLS LAST",
            });
        });
    }
}

/// Writes a value, cast if a type is asked for.
pub(super) fn write_as(sql: &mut SqlWriter, cast: Option<&str>, write: impl FnOnce(&mut SqlWriter)) {
    let Some(cast) = cast else { return write(sql) };
    sql.push("CAST(");
    write(sql);
    sql.push(" AS ");
    // A type may be several words, so it cannot be quoted; the grammar lets only letters, digits, `_`, `$` and
    // spaces through, and this repeats it, because it is the one place where such text enters the SQL.
    sql.join(cast.split_whitespace(), " ", |sql, word| {
        let safe: String = word.chars().filter(|found| found.is_alphanumeric() || matches!(found, '_' | '$')).collect();
        sql.push(&safe);
    });
    sql.push(")");
}

fn write_path(sql: &mut SqlWriter, field: &Field) {
    for step in &field.path {
        sql.push(match step.arrow {
            Arrow::Json => "->",
            Arrow::Text => "->>",
        });
        match &step.operand {
            JsonOperand::Key(key) => sql.bind(key.clone()),
            JsonOperand::Index(index) => sql.bind(index.clone()).push("::int"),
        };
    }
}

/// The name that PostgREST gives a column without an alias: the last key of its JSON path; if the path has none, that of
/// the column.
pub(super) fn implied_name<'a>(field: &'a Field, cast: Option<&str>) -> Option<&'a str> {
    if field.path.is_empty() && cast.is_none() {
        return None;
    }
    let last_key = field.path.iter().rev().find_map(|step| match &step.operand {
        JsonOperand::Key(key) => Some(key.as_str()),
        JsonOperand::Index(_) => None,
    });
    Some(last_key.unwrap_or(&field.column))
}
