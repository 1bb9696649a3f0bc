//! The plan of a read as a tree: one node per relation, its embedded resources below it.

use std::borrow::Cow;

use super::Error;
use super::ast::{Condition, Field, Filter, Operation, OrderTerm, SelectItem};
use super::request::Range;
use super::schema::{Dependencies, Opaque, Relation, TypeFamily};

/// A relation with what is wanted of it.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
    /// what the schema cache knows of the relation; PostgreSQL judges what it does not know
    pub(super) known: Option<&'a Relation>,
    pub(super) select: Vec<Output<'a>>,
    pub(super) conditions: &'a [Condition],
    pub(super) order: &'a [OrderTerm],
    pub(super) range: Range,
    /// related resources: none yet, embedding comes with its own issue
    pub(super) children: Vec<Node<'a>>,
}

/// One column of the result.
#[derive(Debug, Clone, Copy)]
pub(super) enum Output<'a> {
    Star,
    Column { field: &'a Field, alias: Option<&'a str>, cast: Option<&'a str> },
}

impl Node<'_> {
    /// What an answer built from this tree depends on.
    pub(super) fn dependencies(&self) -> Dependencies {
        let mut all = match self.known {
            Some(relation) => relation.reads.clone(),
            None => Dependencies { tables: Vec::new(), opaque: Some(Opaque::UnknownRelation) },
        };
        if let Some(relation) = self.known {
            all.opaque = all.opaque.or_else(|| self.opacity(relation));
        }
        for child in &self.children {
            let Dependencies { tables, opaque } = child.dependencies();
            all.tables.extend(tables);
            all.opaque = all.opaque.or(opaque);
        }
        all.tables.sort();
        all.tables.dedup();
        all
    }

    /// Why this use of the relation depends on more than its rows.
    fn opacity(&self, relation: &Relation) -> Option<Opaque> {
        let selected = self.select.iter().find_map(|output| match output {
            Output::Star => None,
            Output::Column { field, cast, .. } => {
                unknown(relation, field).or_else(|| cast.and_then(|cast| opacity_of_cast(relation, field, cast)))
            }
        });
        let ordered = || self.order.iter().find_map(|term| unknown(relation, &term.field));
        selected
            .or_else(ordered)
            .or_else(|| self.conditions.iter().find_map(|tree| opacity_of_condition(relation, tree)))
    }
}

/// Turns the parsed `select` into columns, or says which part of it is not served.
pub(super) fn outputs(select: &[SelectItem]) -> Result<Vec<Output<'_>>, Error> {
    select
        .iter()
        .map(|item| match item {
            SelectItem::Star => Ok(Output::Star),
            SelectItem::Column { field, alias, cast } => {
                Ok(Output::Column { field, alias: alias.as_deref(), cast: cast.as_deref() })
            }
            SelectItem::Aggregate => Err(Error::AggregatesNotAllowed),
            SelectItem::Embed(_) => Err(Error::NotImplemented("embedding related resources is not supported yet")),
        })
        .collect()
}

/// A name that is no column may still be a function of the row, which PostgreSQL calls as if it were one.
fn unknown(relation: &Relation, field: &Field) -> Option<Opaque> {
    relation.column(&field.column).is_none().then_some(Opaque::UnknownColumn)
}

fn opacity_of_condition(relation: &Relation, condition: &Condition) -> Option<Opaque> {
    match condition {
        Condition::Group { children, .. } => children.iter().find_map(|child| opacity_of_condition(relation, child)),
        Condition::Filter(filter) => unknown(relation, &filter.field).or_else(|| opacity_of_filter(relation, filter)),
    }
}

/// A date column reads `now` and `today` as the moment of the query.
fn opacity_of_filter(relation: &Relation, filter: &Filter) -> Option<Opaque> {
    let is_time = relation.column(&filter.field.column).is_some_and(|column| column.family == TypeFamily::Time);
    (is_time && filter.field.path.is_empty() && values(&filter.operation).any(|value| names_a_moment(&value)))
        .then_some(Opaque::CurrentTime)
}

fn values(operation: &Operation) -> impl Iterator<Item = Cow<'_, str>> {
    let (one, many): (Option<&String>, &[String]) = match operation {
        Operation::Compare { value, .. } | Operation::IsDistinct(value) | Operation::FullText { value, .. } => {
            (Some(value), &[])
        }
        Operation::In(values) => (None, values),
        Operation::Is(_) => (None, &[]),
    };
    one.into_iter().chain(many).map(|value| Cow::Owned(value.to_ascii_lowercase()))
}

fn names_a_moment(value: &str) -> bool {
    ["now", "today", "tomorrow", "yesterday"].iter().any(|word| value.contains(word))
}

/// Casts whose result follows from the value alone. Any other may run a function of the user's, or read the clock.
fn opacity_of_cast(relation: &Relation, field: &Field, cast: &str) -> Option<Opaque> {
    const PURE: [&str; 24] = [
        "int",
        "int2",
        "int4",
        "int8",
        "integer",
        "smallint",
        "bigint",
        "numeric",
        "decimal",
        "real",
        "float4",
        "float8",
        "double precision",
        "text",
        "varchar",
        "character varying",
        "char",
        "bpchar",
        "bool",
        "boolean",
        "uuid",
        "json",
        "jsonb",
        "bytea",
    ];
    const TIMES: [&str; 8] = [
        "date",
        "time",
        "timetz",
        "timestamp",
        "timestamptz",
        "timestamp with time zone",
        "timestamp without time zone",
        "interval",
    ];
    let cast = cast.to_ascii_lowercase();
    let is_time = || {
        field.path.is_empty() && relation.column(&field.column).is_some_and(|column| column.family == TypeFamily::Time)
    };
    let pure = PURE.contains(&cast.as_str()) || TIMES.contains(&cast.as_str()) && is_time();
    (!pure).then_some(Opaque::Cast)
}
