//! Columns of a relation, JSON paths into them, and lists of both.

use crate::rest::ast::{Arrow, Direction, Field, JsonOperand, Nulls, OrderTerm};
use crate::rest::schema::{Relation, TypeFamily};
use crate::rest::statement::SqlWriter;
use crate::rest::tree::{Node, Output};

/// A relation as the expressions of one query level refer to it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// empty where the relation goes by an alias
    schema: &'a str,
    name: &'a str,
    known: Option<&'a Relation>,
}

impl<'a> Source<'a> {
    pub(super) fn of(node: &Node<'a>) -> Self {
        Self { schema: node.schema, name: node.name, known: node.known }
    }

    /// The same relation where it is known by its bare name.
    pub(super) fn unqualified(self) -> Self {
        Self { schema: "", ..self }
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

    /// Writes the list behind `SELECT`.
    pub(super) fn write_outputs(self, sql: &mut SqlWriter, outputs: &[Output<'_>]) {
        sql.join(outputs, ", ", |sql, output| match *output {
            Output::Star => {
                self.write_name(sql);
                sql.push(".*");
            }
            Output::Column { field, alias, cast } => {
                self.write_cast(sql, field, cast);
                if let Some(name) = alias.or_else(|| implied_name(field, cast)) {
                    sql.push(" AS ").ident(name);
                }
            }
        });
    }

    fn write_cast(self, sql: &mut SqlWriter, field: &Field, cast: Option<&str>) {
        let Some(cast) = cast else { return self.write_field(sql, field) };
        sql.push("CAST(");
        self.write_field(sql, field);
        sql.push(" AS ");
        // A type may be several words, so it cannot be quoted; the grammar lets only letters, digits, `_`, `$` and
        // spaces through, and this repeats it, because it is the one place where such text enters the SQL.
        sql.join(cast.split_whitespace(), " ", |sql, word| {
            let safe: String =
                word.chars().filter(|found| found.is_alphanumeric() || matches!(found, '_' | '$')).collect();
            sql.push(&safe);
        });
        sql.push(")");
    }

    /// Writes ` ORDER BY ...`, or nothing.
    pub(super) fn write_order(self, sql: &mut SqlWriter, order: &[OrderTerm]) {
        if order.is_empty() {
            return;
        }
        sql.push(" ORDER BY ").join(order, ", ", |sql, term| {
            self.write_field(sql, &term.field);
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

/// The name that PostgREST gives a column without an alias: the last key of its JSON path; if the path has none, that of
/// the column.
fn implied_name<'a>(field: &'a Field, cast: Option<&str>) -> Option<&'a str> {
    if field.path.is_empty() && cast.is_none() {
        return None;
    }
    let last_key = field.path.iter().rev().find_map(|step| match &step.operand {
        JsonOperand::Key(key) => Some(key.as_str()),
        JsonOperand::Index(_) => None,
    });
    Some(last_key.unwrap_or(&field.column))
}
