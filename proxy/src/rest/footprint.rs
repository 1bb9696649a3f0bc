//! The footprint of an answer: which rows of each table it depends on, where filters by equality tell.
//!
//! An answer to `id=eq.42` can change only if a row changes whose `id` is 42 before or after. Whatever else restricts the
//! answer makes the footprint smaller and not wrong: so any one of the top-level filters may be taken, and any may be left
//! out. The values of a filter go on along the foreign keys: what is embedded in the row 42 has 42 in the column that refers
//! to it. A table of which one use is not restricted so is not in the footprint: any row of it matters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ast::{Condition, Filter, Logic, Operation, Operator, Polarity, Truth};
use super::schema::{Equality, Link, Pairs, Relation, TableId, Traced};
use super::tree::{Node, tested_embed};

/// Sets of values in a whole footprint at most: each is a tag that the entry carries.
const TUPLES_MAX: usize = 64;
/// Columns of a set at most: each template costs the leader of the feed a little for each changed row.
const COLUMNS_MAX: usize = 4;

/// Which rows of which tables an answer depends on. Of a table that is not in it, any row matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint(BTreeMap<TableId, Vec<RowSet>>);

/// The rows of a table that have one of these tuples of values in these columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowSet {
    /// name and type of each column, sorted by name
    pub columns: Vec<(Arc<str>, Equality)>,
    /// the values, as PostgreSQL prints them; `None` is NULL
    pub tuples: Vec<Vec<Value>>,
}

/// A value as PostgreSQL prints it, or NULL.
type Value = Option<Arc<str>>;

impl Footprint {
    /// What an answer built from this tree depends on.
    pub(super) fn of(root: &Node<'_>) -> Self {
        let mut survey = Survey::default();
        survey.visit(root, Fixed::default());
        let Survey { any, mut rows, .. } = survey;
        rows.retain(|table, _| !any.contains(table));
        Self(rows)
    }

    /// The rows of this table that matter; `None` if any row does. None at all of a partition, whose changes are announced
    /// under the name of the table that was read.
    pub fn rows_of(&self, table: &TableId) -> Option<&[RowSet]> {
        self.0.get(table).map(Vec::as_slice)
    }

    /// The tables of which not any row matters.
    pub fn tables(&self) -> impl Iterator<Item = (&TableId, &[RowSet])> {
        self.0.iter().map(|(table, rows)| (table, rows.as_slice()))
    }

    /// The same without what is known of the tables that do not fulfill this.
    #[must_use]
    pub fn keeping(mut self, keeps: impl Fn(&TableId, &[RowSet]) -> bool) -> Self {
        self.0.retain(|table, rows| keeps(table, rows));
        self
    }
}

impl FromIterator<(TableId, Vec<RowSet>)> for Footprint {
    fn from_iter<I: IntoIterator<Item = (TableId, Vec<RowSet>)>>(tables: I) -> Self {
        Self(tables.into_iter().collect())
    }
}

/// What was found so far.
#[derive(Default)]
struct Survey {
    /// tables of which any row matters to some part of the answer
    any: BTreeSet<TableId>,
    rows: BTreeMap<TableId, Vec<RowSet>>,
    tuples: usize,
}

impl Survey {
    fn visit(&mut self, node: &Node<'_>, mut fixed: Fixed) {
        // What the schema cache does not know makes the answer opaque.
        let Some(relation) = node.known else { return };
        node.conditions.iter().for_each(|condition| fixed.restrict(node, relation, condition));
        self.add(relation, &fixed);
        node.computed(relation).for_each(|computed| self.any.extend(computed.reads.tables.iter().cloned()));
        for child in &node.children {
            let (Some(branch), Some(known)) = (&child.branch, child.known) else { continue };
            let of_child = match &branch.relationship.link {
                Link::OneToMany(key) | Link::ManyToOne(key) | Link::OneToOne(key) => {
                    fixed.across(own_first(&key.columns), known)
                }
                Link::ManyToMany(junction) => match branch.junction {
                    Some(middle) => {
                        let of_middle = fixed.across(own_first(&junction.source), middle);
                        self.add(middle, &of_middle);
                        of_middle.across(junction.target.iter().map(|(end, middle)| (middle, end)), known)
                    }
                    None => Fixed::default(),
                },
                Link::Computed(function) => {
                    self.any.extend(function.reads.tables.iter().cloned());
                    Fixed::default()
                }
            };
            self.visit(child, of_child);
        }
    }

    /// One use of a relation.
    fn add(&mut self, relation: &Relation, fixed: &Fixed) {
        let rows = relation.traced.as_ref().and_then(|traced| Some((traced, self.row_set(relation, traced, fixed)?)));
        let Some((traced, rows)) = rows else {
            self.any.extend(relation.reads.tables.iter().cloned());
            return;
        };
        self.tuples += rows.tuples.len();
        self.any.extend(traced.guards.iter().cloned());
        for partition in &traced.partitions {
            self.rows.entry(partition.clone()).or_default();
        }
        let known = self.rows.entry(relation.id.clone()).or_default();
        if !known.contains(&rows) {
            known.push(rows);
        }
    }

    /// The rows of one use, by as many columns as help.
    fn row_set(&self, relation: &Relation, traced: &Traced, fixed: &Fixed) -> Option<RowSet> {
        let room = TUPLES_MAX.saturating_sub(self.tuples);
        let mut columns: Vec<(&Arc<str>, &Values)> =
            fixed.0.iter().filter(|(name, _)| traced.columns.binary_search(name).is_ok()).collect();
        let product = |columns: &[(&Arc<str>, &Values)]| {
            columns.iter().try_fold(1_usize, |product, (_, values)| product.checked_mul(values.all.len()))
        };
        while product(&columns).is_none_or(|product| product > room) {
            let largest = columns.iter().enumerate().max_by_key(|(_, (_, values))| values.all.len())?.0;
            columns.remove(largest);
        }
        // The key tells one row: more columns would only make more templates.
        let key = &relation.primary_key;
        let is_key = |name: &Arc<str>| key.contains(name);
        if !key.is_empty()
            && key.len() <= COLUMNS_MAX
            && key.iter().all(|name| columns.iter().any(|(column, _)| *column == name))
        {
            columns.retain(|(name, _)| is_key(name));
        }
        columns.truncate(COLUMNS_MAX);
        if columns.is_empty() {
            return None;
        }
        let mut tuples: Vec<Vec<Value>> = vec![Vec::new()];
        for (_, values) in &columns {
            let longer = |tuple: &Vec<Value>| {
                let tuple = tuple.clone();
                values.all.iter().map(move |value| [tuple.as_slice(), std::slice::from_ref(value)].concat())
            };
            tuples = tuples.iter().flat_map(longer).collect();
        }
        let columns = columns.into_iter().map(|(name, values)| (Arc::clone(name), values.equality)).collect();
        Some(RowSet { columns, tuples })
    }
}

fn own_first(pairs: &Pairs) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
    pairs.iter().map(|(own, foreign)| (own, foreign))
}

/// The columns of one use of a relation that can have certain values only.
#[derive(Debug, Clone, Default)]
struct Fixed(BTreeMap<Arc<str>, Values>);

#[derive(Debug, Clone)]
struct Values {
    equality: Equality,
    all: BTreeSet<Value>,
}

impl Fixed {
    /// Takes in one of the conditions that all hold.
    fn restrict(&mut self, node: &Node<'_>, relation: &Relation, condition: &Condition) {
        match condition {
            Condition::Group { polarity: Polarity::Plain, logic: Logic::And, children } => {
                children.iter().for_each(|child| self.restrict(node, relation, child));
            }
            Condition::Filter(filter) if tested_embed(&node.children, filter).is_none() => {
                let column = relation.column(&filter.field.column);
                let Some((column, equality)) = column.and_then(|column| Some((column, column.equality?))) else {
                    return;
                };
                if let Some(all) = values(filter, equality) {
                    self.fix(&column.name, Values { equality, all });
                }
            }
            Condition::Filter(_) | Condition::Group { .. } => {}
        }
    }

    /// Both what was known of a column and what is learned holds; the smaller set tells more.
    fn fix(&mut self, column: &Arc<str>, values: Values) {
        match self.0.get(column) {
            Some(known) if known.all.len() <= values.all.len() => {}
            Some(_) | None => drop(self.0.insert(Arc::clone(column), values)),
        }
    }

    /// What is known of the rows of `other` that join these, by pairs of an own column and one of `other`. NULL joins
    /// nothing.
    fn across<'p>(&self, pairs: impl Iterator<Item = (&'p Arc<str>, &'p Arc<str>)>, other: &Relation) -> Self {
        let mut across = Self::default();
        for (own, foreign) in pairs {
            let equality = other.column(foreign).and_then(|column| column.equality);
            let (Some(values), Some(equality)) = (self.0.get(own), equality) else { continue };
            let all: BTreeSet<Value> = values.all.iter().filter(|value| value.is_some()).cloned().collect();
            if values.equality.joins(equality) && !all.is_empty() {
                across.fix(foreign, Values { equality, all });
            }
        }
        across
    }
}

/// The values that a filter lets through, if that is certain.
fn values(filter: &Filter, equality: Equality) -> Option<BTreeSet<Value>> {
    if filter.polarity != Polarity::Plain || !filter.field.path.is_empty() {
        return None;
    }
    let canonical = |text: &str| Some(Some(Arc::from(&*equality.canonical(text)?)));
    let truth = |text: &str| (equality == Equality::Boolean).then(|| BTreeSet::from([Some(Arc::from(text))]));
    match &filter.operation {
        Operation::Compare { operator: Operator::Eq, quantifier: None, value } => {
            Some(BTreeSet::from([canonical(value)?]))
        }
        // One empty element stands for none.
        Operation::In(values)
            if values.len() > TUPLES_MAX || matches!(values.as_slice(), [only] if only.is_empty()) =>
        {
            None
        }
        Operation::In(values) => values.iter().map(|value| canonical(value)).collect(),
        Operation::Is(Truth::Null) => Some(BTreeSet::from([None])),
        Operation::Is(Truth::True) => truth("t"),
        Operation::Is(Truth::False) => truth("f"),
        Operation::Compare { .. }
        | Operation::Is(Truth::Unknown)
        | Operation::IsDistinct(_)
        | Operation::FullText { .. } => None,
    }
}

#[cfg(test)]
mod tests;
