//! The list behind `SELECT`, and the `GROUP BY` that aggregates in it call for.

use super::source::{Source, implied_name, write_as};
use crate::rest::ast::{AggregateFunction, EmbedForm, Field};
use crate::rest::statement::SqlWriter;
use crate::rest::tree::{Branch, Node, Output};

/// The positions in the list that rows are grouped by. Positions rather than expressions: an expression with a parameter
/// in it is another one each time it is written.
#[derive(Debug, Default)]
pub(super) struct Groups(Vec<usize>);

impl Groups {
    /// Writes ` GROUP BY ...`, or nothing.
    pub(super) fn write(&self, sql: &mut SqlWriter) {
        if !self.0.is_empty() {
            sql.push(" GROUP BY ").join(&self.0, ", ", |sql, position| {
                sql.push(&position.to_string());
            });
        }
    }
}

/// Writes the list behind `SELECT`: the columns, then what is embedded.
pub(super) fn write_list(sql: &mut SqlWriter, source: Source<'_>, node: &Node<'_>) -> Groups {
    if node.is_silent() {
        source.write_star(sql);
        return Groups::default();
    }
    match (node.aggregates(), node.is_spread()) {
        (true, false) => write_grouped(sql, source, node),
        (true, true) => {
            write_to_be_grouped(sql, source, node);
            Groups::default()
        }
        (false, _) => {
            write_plain(sql, source, node);
            Groups::default()
        }
    }
}

/// The names of the columns of a node that does not aggregate.
pub(super) fn column_names(node: &Node<'_>) -> Vec<String> {
    cells(node).into_iter().filter_map(|cell| cell.name.map(str::to_owned)).collect()
}

fn shown<'n, 'a>(node: &'n Node<'a>) -> impl Iterator<Item = (&'n Node<'a>, &'n Branch<'a>)> {
    let shown = node.children.iter().filter(|child| !child.is_silent());
    shown.filter_map(|child| Some((child, child.branch.as_ref()?)))
}

fn write_plain(sql: &mut SqlWriter, source: Source<'_>, node: &Node<'_>) {
    source.write_outputs(sql, &node.select);
    let shown: Vec<_> = shown(node).collect();
    if !node.select.is_empty() && !shown.is_empty() {
        sql.push(", ");
    }
    sql.join(shown, ", ", |sql, (child, branch)| match branch.form {
        EmbedForm::Spread => {
            sql.ident(&branch.handle).push(".*");
        }
        EmbedForm::Nested => {
            write_embed(sql, child, branch);
            sql.push(" AS ").ident(branch.label);
        }
    });
}

/// Writes an embedded resource as one JSON value.
fn write_embed(sql: &mut SqlWriter, child: &Node<'_>, branch: &Branch<'_>) {
    if child.is_to_one() {
        sql.push("row_to_json(").ident(&branch.handle).push(".*)");
    } else {
        sql.push("COALESCE(").ident(&branch.handle).push(".").ident(&branch.handle).push(", '[]')");
    }
}

fn write_grouped(sql: &mut SqlWriter, source: Source<'_>, node: &Node<'_>) -> Groups {
    let mut groups = Groups::default();
    let cells = cells(node);
    sql.join(cells.iter().zip(1..), ", ", |sql, (cell, position)| {
        match cell.fold {
            None => {
                cell.value.write(sql, source);
                groups.0.extend((!matches!(cell.value, Value::Everything)).then_some(position));
            }
            Some(Fold { function, cast }) => write_as(sql, cast, |sql| {
                sql.push(function_sql(function)).push("(");
                match cell.value {
                    Value::Row => drop(sql.push("*")),
                    _ => cell.value.write(sql, source),
                }
                sql.push(")");
            }),
        }
        if let Some(name) = cell.name {
            sql.push(" AS ").ident(name);
        }
    });
    groups
}

/// Writes the list of a resource that is spread into one whose rows are grouped: the values, for the parent to aggregate.
fn write_to_be_grouped(sql: &mut SqlWriter, source: Source<'_>, node: &Node<'_>) {
    let cells = cells(node);
    sql.join(cells.iter().enumerate(), ", ", |sql, (position, cell)| {
        cell.value.write(sql, source);
        if let Some(name) = cell.inner_name(position) {
            sql.push(" AS ").ident(&name);
        }
    });
}

/// One column of a query whose rows are grouped, by it or by the query around it.
struct Cell<'n> {
    value: Value<'n>,
    /// what is made of the values of a group; without it, rows are grouped by the value
    fold: Option<Fold<'n>>,
    /// what the column is called; without it PostgreSQL decides
    name: Option<&'n str>,
}

enum Value<'n> {
    Field(&'n Field, Option<&'n str>),
    Column(&'n str),
    /// that there is a row
    Row,
    /// all columns of a relation that the schema cache does not know
    Everything,
    Embed(&'n Node<'n>, &'n Branch<'n>),
    /// a column of a resource that is spread here
    Spread(&'n Branch<'n>, String, Kind),
}

/// Rows cannot be grouped by JSON as it is written, only by its binary form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Json,
}

#[derive(Clone, Copy)]
struct Fold<'n> {
    function: AggregateFunction,
    cast: Option<&'n str>,
}

impl Cell<'_> {
    /// The name under which the query around it finds the value.
    fn inner_name(&self, position: usize) -> Option<String> {
        match self.fold {
            Some(_) => Some(format!("_transom_{position}")),
            None => self.name.map(str::to_owned),
        }
    }
}

impl Value<'_> {
    fn write(&self, sql: &mut SqlWriter, source: Source<'_>) {
        match self {
            Self::Field(field, cast) => source.write_cast(sql, field, *cast),
            Self::Column(column) => source.write_column(sql, column),
            Self::Row => drop(sql.push("1")),
            Self::Everything => source.write_star(sql),
            Self::Embed(child, branch) => {
                write_embed(sql, child, branch);
                sql.push("::jsonb");
            }
            Self::Spread(branch, column, kind) => {
                sql.ident(&branch.handle).push(".").ident(column);
                sql.push(if *kind == Kind::Json { "::jsonb" } else { "" });
            }
        }
    }
}

/// The columns of a node, those of what is spread into it among them.
fn cells<'n>(node: &'n Node<'n>) -> Vec<Cell<'n>> {
    let mut cells = Vec::new();
    for output in &node.select {
        match *output {
            Output::Star => match node.known {
                None => cells.push(Cell { value: Value::Everything, fold: None, name: None }),
                Some(relation) => cells.extend(relation.columns.iter().map(|column| Cell {
                    value: Value::Column(&column.name),
                    fold: None,
                    name: Some(&column.name),
                })),
            },
            Output::Column { field, alias, cast, aggregate: None } => {
                let name = alias.or_else(|| implied_name(field, cast)).unwrap_or(&field.column);
                cells.push(Cell { value: Value::Field(field, cast), fold: None, name: Some(name) });
            }
            Output::Column { field, alias, cast, aggregate: Some(aggregate) } => {
                let fold = Fold { function: aggregate.function, cast: aggregate.cast.as_deref() };
                cells.push(Cell { value: Value::Field(field, cast), fold: Some(fold), name: alias });
            }
            Output::Count { alias, cast } => {
                let fold = Fold { function: AggregateFunction::Count, cast };
                cells.push(Cell { value: Value::Row, fold: Some(fold), name: alias });
            }
        }
    }
    for (child, branch) in shown(node) {
        match branch.form {
            EmbedForm::Nested => {
                cells.push(Cell { value: Value::Embed(child, branch), fold: None, name: Some(branch.label) });
            }
            EmbedForm::Spread => cells.extend(self::cells(child).into_iter().enumerate().map(|(position, cell)| {
                let kind = match cell.value {
                    _ if child.is_spread_as_lists() => Kind::Json,
                    Value::Embed(..) | Value::Spread(.., Kind::Json) => Kind::Json,
                    _ => Kind::Plain,
                };
                // Without a name it is `*`, of which PostgreSQL says that it cannot be grouped by.
                let column = cell.inner_name(position).unwrap_or_else(|| "*".to_owned());
                Cell { value: Value::Spread(branch, column, kind), fold: cell.fold, name: cell.name }
            })),
        }
    }
    cells
}

fn function_sql(function: AggregateFunction) -> &'static str {
    match function {
        AggregateFunction::Sum => "SUM",
        AggregateFunction::Avg => "AVG",
        AggregateFunction::Count => "COUNT",
        AggregateFunction::Max => "MAX",
        AggregateFunction::Min => "MIN",
    }
}
