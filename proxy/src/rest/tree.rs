//! The plan of a read as a tree: one node per relation, its embedded resources below it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::ast::{Aggregate, Condition, EmbedForm, Field, Filter, Join, Operation, OrderTerm, Truth};
use super::request::Range;
use super::schema::{ComputedColumn, Dependencies, Link, Opaque, Relation, Relationship, TypeFamily};

/// A relation with what is wanted of it.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
    /// what the SQL calls it, if not by its name
    pub(super) alias: Option<String>,
    /// what the schema cache knows of the relation; PostgreSQL judges what it does not know
    pub(super) known: Option<&'a Relation>,
    pub(super) select: Vec<Output<'a>>,
    pub(super) conditions: Vec<&'a Condition>,
    pub(super) order: &'a [OrderTerm],
    pub(super) range: Range,
    /// how it hangs on its parent; the root hangs on none
    pub(super) branch: Option<Branch<'a>>,
    pub(super) children: Vec<Node<'a>>,
}

/// What makes a node an embedded resource.
#[derive(Debug)]
pub(super) struct Branch<'a> {
    /// its key in the parent's object
    pub(super) label: &'a str,
    /// what the parent's SQL calls it
    pub(super) handle: String,
    pub(super) relationship: &'a Relationship,
    /// the relation in the middle of a many-to-many relationship
    pub(super) junction: Option<&'a Relation>,
    pub(super) join: Join,
    pub(super) form: EmbedForm,
}

/// One column of the result.
#[derive(Debug, Clone, Copy)]
pub(super) enum Output<'a> {
    Star,
    Column {
        field: &'a Field,
        alias: Option<&'a str>,
        cast: Option<&'a str>,
        aggregate: Option<&'a Aggregate>,
    },
    /// how many rows there are
    Count {
        alias: Option<&'a str>,
        cast: Option<&'a str>,
    },
}

impl<'a> Node<'a> {
    /// The embedded resource with that key in the object.
    pub(super) fn child(&self, label: &str) -> Option<&Node<'a>> {
        child(&self.children, label)
    }

    /// Whether its parent has at most one of it.
    pub(super) fn is_to_one(&self) -> bool {
        self.branch.as_ref().is_some_and(|branch| branch.relationship.is_to_one())
    }

    /// Whether its columns stand beside its parent's.
    pub(super) fn is_spread(&self) -> bool {
        self.branch.as_ref().is_some_and(|branch| branch.form == EmbedForm::Spread)
    }

    /// Whether it selects nothing: then it only restricts its parent, and has no key in it.
    pub(super) fn is_silent(&self) -> bool {
        self.select.is_empty() && self.children.is_empty()
    }

    /// Whether a column of it is a list in its parent: there may be many of it.
    pub(super) fn is_spread_as_lists(&self) -> bool {
        self.is_spread() && !self.is_to_one() && !self.is_silent()
    }

    /// Whether it, or what is spread into it, aggregates. Of a spread resource it is the parent's rows that are grouped.
    pub(super) fn aggregates(&self) -> bool {
        let own =
            |output: &Output<'_>| matches!(output, Output::Count { .. } | Output::Column { aggregate: Some(_), .. });
        self.select.iter().any(own) || self.children.iter().any(|child| child.is_spread() && child.aggregates())
    }

    /// Keeps it and everything below it to `rows_max` rows each.
    pub(super) fn limit_rows(&mut self, rows_max: Option<u64>) {
        self.range = self.range.at_most(rows_max);
        self.children.iter_mut().for_each(|child| child.limit_rows(rows_max));
    }

    /// What an answer built from this tree depends on.
    pub(super) fn dependencies(&self) -> Dependencies {
        let mut all = match self.known {
            Some(relation) => relation.reads.clone(),
            None => Dependencies::opaque(Opaque::UnknownRelation),
        };
        if let Some(relation) = self.known {
            all.opaque = all.opaque.or_else(|| self.opacity(relation));
            self.computed(relation).for_each(|computed| all.add(computed.reads.clone()));
        }
        self.children.iter().for_each(|child| all.add(child.dependencies_of_branch()));
        all
    }

    pub(super) fn dependencies_of_branch(&self) -> Dependencies {
        let mut all = self.dependencies();
        let Some(branch) = &self.branch else { return all };
        match &branch.relationship.link {
            Link::OneToMany(_) | Link::ManyToOne(_) | Link::OneToOne(_) => {}
            Link::ManyToMany(_) => all.add(match branch.junction {
                Some(relation) => relation.reads.clone(),
                None => Dependencies::opaque(Opaque::UnknownRelation),
            }),
            Link::Computed(function) => all.add(function.reads.clone()),
        }
        all
    }

    /// The columns of the relation that are needed to build the node, embedded resources included; `None` if it may be
    /// any.
    pub(super) fn needed_columns(&self) -> Option<BTreeSet<&str>> {
        let mut columns = BTreeSet::new();
        for output in &self.select {
            match output {
                Output::Star => return None,
                Output::Column { field, .. } => drop(columns.insert(field.column.as_str())),
                Output::Count { .. } => {}
            }
        }
        for branch in self.children.iter().filter_map(|child| child.branch.as_ref()) {
            columns.extend(branch.relationship.own_columns()?);
        }
        Some(columns)
    }

    /// The computed columns that it asks for: selects, filters or orders by.
    pub(super) fn computed<'r>(&self, relation: &'r Relation) -> impl Iterator<Item = &'r ComputedColumn> {
        self.fields().into_iter().filter_map(|field| relation.computed_column(&field.column))
    }

    /// Why this use of the relation depends on more than its rows, and on more than what computed columns say themselves.
    fn opacity(&self, relation: &Relation) -> Option<Opaque> {
        let selected = || {
            self.select.iter().find_map(|output| match output {
                Output::Star => None,
                Output::Column { field, cast, aggregate, .. } => {
                    cast.and_then(|cast| opacity_of_cast(relation, field, cast)).or_else(|| {
                        aggregate.and_then(|aggregate| opacity_of_aggregate(relation, field, *cast, aggregate))
                    })
                }
                Output::Count { cast, .. } => cast.and_then(opacity_of_pure_cast),
            })
        };
        let unknown = self.fields().into_iter().find_map(|field| unknown(relation, field));
        unknown
            .or_else(selected)
            .or_else(|| self.filters().into_iter().find_map(|filter| opacity_of_filter(relation, filter)))
    }

    /// What it names of its own rows.
    fn fields(&self) -> Vec<&Field> {
        let selected = self.select.iter().filter_map(|output| match output {
            Output::Column { field, .. } => Some(*field),
            Output::Star | Output::Count { .. } => None,
        });
        // A term about an embedded resource can only name what that one selects.
        let ordered = self.order.iter().filter(|term| term.relation.is_none()).map(|term| &term.field);
        selected.chain(ordered).chain(self.filters().into_iter().map(|filter| &filter.field)).collect()
    }

    /// The filters on its own rows.
    fn filters(&self) -> Vec<&Filter> {
        let mut filters = Vec::new();
        let mut open = self.conditions.clone();
        while let Some(condition) = open.pop() {
            match condition {
                Condition::Group { children, .. } => open.extend(children),
                Condition::Filter(filter) if tested_embed(&self.children, filter).is_some() => {}
                Condition::Filter(filter) => filters.push(filter),
            }
        }
        filters
    }
}

fn child<'n, 'a>(children: &'n [Node<'a>], label: &str) -> Option<&'n Node<'a>> {
    children.iter().find(|child| child.branch.as_ref().is_some_and(|branch| branch.label == label))
}

/// How the embedded resource with that key hangs on its parent.
pub(super) fn embed<'n, 'a>(children: &'n [Node<'a>], label: &str) -> Option<&'n Branch<'a>> {
    child(children, label)?.branch.as_ref()
}

/// The embedded resource that `filter` asks to be there or not: `films=not.is.null`.
pub(super) fn tested_embed<'n, 'a>(
    children: &'n [Node<'a>],
    filter: &Filter,
) -> Option<(&'n Node<'a>, &'n Branch<'a>)> {
    if !filter.field.path.is_empty() || filter.operation != Operation::Is(Truth::Null) {
        return None;
    }
    let child = child(children, &filter.field.column)?;
    Some((child, child.branch.as_ref()?))
}

/// A name that is not known may still be a function of the row, which PostgreSQL calls as if it were a column.
fn unknown(relation: &Relation, field: &Field) -> Option<Opaque> {
    relation.family(&field.column).is_none().then_some(Opaque::UnknownColumn)
}

/// A date column reads `now` and `today` as the moment of the query.
fn opacity_of_filter(relation: &Relation, filter: &Filter) -> Option<Opaque> {
    let is_time = relation.family(&filter.field.column) == Some(TypeFamily::Time);
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

pub(super) fn names_a_moment(value: &str) -> bool {
    ["now", "today", "tomorrow", "yesterday"].iter().any(|word| value.contains(word))
}

/// Types that PostgreSQL reads from text by the text alone.
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
/// Types that can be read from a text that names a moment.
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

/// Whether values of the type, or arrays of it, mean the same whenever and by whomever they are read, unless the text names
/// a moment.
pub(super) fn is_pure_type(sql_type: &str) -> bool {
    let element = sql_type.trim_end_matches("[]").trim_start_matches('_');
    PURE.contains(&element) || TIMES.contains(&element)
}

/// Casts whose result follows from the value alone. Any other may run a function of the user's, or read the clock.
fn opacity_of_cast(relation: &Relation, field: &Field, cast: &str) -> Option<Opaque> {
    let cast = cast.to_ascii_lowercase();
    let is_time = || field.path.is_empty() && relation.family(&field.column) == Some(TypeFamily::Time);
    let pure = PURE.contains(&cast.as_str()) || TIMES.contains(&cast.as_str()) && is_time();
    (!pure).then_some(Opaque::Cast)
}

/// As `opacity_of_cast`, of a value that is no date.
fn opacity_of_pure_cast(cast: &str) -> Option<Opaque> {
    (!PURE.contains(&cast.to_ascii_lowercase().as_str())).then_some(Opaque::Cast)
}

/// Aggregates of built-in types are PostgreSQL's own. For a type of the user's there may be one of the user's, which reads
/// what it likes.
fn opacity_of_aggregate(
    relation: &Relation,
    field: &Field,
    cast: Option<&str>,
    aggregate: &Aggregate,
) -> Option<Opaque> {
    let own_type = relation.column(&field.column).is_some_and(|column| column.sql_type.contains('.'));
    if own_type && field.path.is_empty() && cast.is_none() {
        return Some(Opaque::Function("aggregate".into()));
    }
    aggregate.cast.as_deref().and_then(opacity_of_pure_cast)
}
