//! The footprint of an answer: which rows of each table it depends on, where filters by equality or between bounds tell.
//!
//! An answer to `id=eq.42` can change only if a row changes whose `id` is 42 before or after. Whatever else restricts the
//! answer makes the footprint smaller and not wrong: so any one of the top-level filters may be taken, and any may be left
//! out. The values of a filter go on along the foreign keys: what is embedded in the row 42 has 42 in the column that refers
//! to it. Where no filter fixes a value, bounds tell the rows apart by buckets of values ([`interval`]), and a page in order has
//! its own last row for a bound ([`page`]). A table of which one use is not restricted so is not in the footprint: any row of
//! it matters.

mod interval;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::interval::Interval;
pub use self::interval::{Grain, bucket};
pub use self::page::Page;
use super::ast::{Condition, Direction, Filter, Logic, Operation, Operator, OrderTerm, Polarity, Truth};
use super::schema::{Equality, Link, Pairs, Relation, TableId, Traced};
use super::tree::{Node, tested_embed};

/// Sets of values in a whole footprint at most: each is a tag that the entry carries.
const TUPLES_MAX: usize = 64;
/// Columns of a set at most: each template costs the leader of the feed a little for each changed row.
const COLUMNS_MAX: usize = 4;

/// Which rows of which tables an answer depends on. Of a table that is not in it, any row matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    rows: BTreeMap<TableId, Vec<RowSet>>,
    /// seldom there, and large
    page: Option<Box<Page>>,
}

/// The rows of a table that have one of these tuples of values in these columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowSet {
    /// sorted by name
    pub columns: Vec<Facet>,
    /// the values, as PostgreSQL prints them, or the numbers of their buckets; `None` is NULL
    pub tuples: Vec<Vec<Value>>,
}

/// A column by which rows are told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Facet {
    /// its name
    pub name: Arc<str>,
    /// its type
    pub equality: Equality,
    /// how finely
    pub grain: Grain,
}

/// A value as PostgreSQL prints it, or NULL.
type Value = Option<Arc<str>>;

/// Whether it matters to an answer how many rows there are beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// it tells their number
    Counted,
    Unseen,
}

impl Footprint {
    /// What an answer built from this tree depends on.
    pub(super) fn of(root: &Node<'_>, beyond: Beyond) -> Self {
        let mut survey = Survey::default();
        survey.visit(root, Fixed::default(), beyond);
        let Survey { any, rows, page, .. } = survey;
        Self { rows, page }.keeping(|table| !any.contains(table))
    }

    /// The rows of this table that matter; `None` if any row does. None at all of a partition, whose changes are announced
    /// under the name of the table that was read. Beside these, those of the [`page`](Self::page) matter.
    pub fn rows_of(&self, table: &TableId) -> Option<&[RowSet]> {
        self.rows.get(table).map(Vec::as_slice)
    }

    /// What the answer itself has to tell, before it is known which rows of the table matter.
    #[must_use]
    pub fn page(&self) -> Option<&Page> {
        self.page.as_deref()
    }

    /// The tables of which not any row matters.
    pub fn tables(&self) -> impl Iterator<Item = (&TableId, &[RowSet])> {
        self.rows.iter().map(|(table, rows)| (table, rows.as_slice()))
    }

    /// The same without what is known of the tables that do not fulfill this.
    #[must_use]
    pub fn keeping(mut self, keeps: impl Fn(&TableId) -> bool) -> Self {
        self.rows.retain(|table, _| keeps(table));
        self.page = self.page.filter(|page| keeps(&page.table));
        self
    }

    /// The same where the answer does not tell, or not yet: any row matters of the table that it is a page of.
    #[must_use]
    pub fn without_page(mut self) -> Self {
        if let Some(page) = self.page.take() {
            self.rows.remove(&page.table);
        }
        self
    }
}

impl FromIterator<(TableId, Vec<RowSet>)> for Footprint {
    fn from_iter<I: IntoIterator<Item = (TableId, Vec<RowSet>)>>(tables: I) -> Self {
        Self { rows: tables.into_iter().collect(), page: None }
    }
}

/// What was found so far.
#[derive(Default)]
struct Survey {
    /// tables of which any row matters to some part of the answer
    any: BTreeSet<TableId>,
    rows: BTreeMap<TableId, Vec<RowSet>>,
    page: Option<Box<Page>>,
    tuples: usize,
}

impl Survey {
    fn visit(&mut self, node: &Node<'_>, mut fixed: Fixed, beyond: Beyond) {
        // What the schema cache does not know makes the answer opaque.
        let Some(relation) = node.known else { return };
        node.conditions.iter().for_each(|condition| fixed.restrict(node, relation, condition));
        match page_of(node, relation, &fixed).filter(|_| beyond == Beyond::Unseen) {
            Some(page) => self.add_page(relation, page),
            None => self.add(relation, &fixed),
        }
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
            self.visit(child, of_child, beyond);
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
        let known = self.rows_of(relation, traced);
        if !known.contains(&rows) {
            known.push(rows);
        }
    }

    /// The use of the relation that is the whole answer, as far as a page of it is.
    fn add_page(&mut self, relation: &Relation, page: Page) {
        if let Some(traced) = &relation.traced {
            self.rows_of(relation, traced);
            self.page = Some(Box::new(page));
        }
    }

    /// Where the rows of a relation are noted of which not any row matters.
    fn rows_of(&mut self, relation: &Relation, traced: &Traced) -> &mut Vec<RowSet> {
        self.any.extend(traced.guards.iter().cloned());
        for partition in &traced.partitions {
            self.rows.entry(partition.clone()).or_default();
        }
        self.rows.entry(relation.id.clone()).or_default()
    }

    /// The rows of one use, by as many columns as help.
    fn row_set(&self, relation: &Relation, traced: &Traced, fixed: &Fixed) -> Option<RowSet> {
        let room = TUPLES_MAX.saturating_sub(self.tuples);
        let mut columns: Vec<(&Arc<str>, &Values)> =
            fixed.values.iter().filter(|(name, _)| is_told(traced, name)).collect();
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
            return fixed.bucket_set(traced).filter(|rows| rows.tuples.len() <= room);
        }
        let mut tuples: Vec<Vec<Value>> = vec![Vec::new()];
        for (_, values) in &columns {
            let longer = |tuple: &Vec<Value>| {
                let tuple = tuple.clone();
                values.all.iter().map(move |value| [tuple.as_slice(), std::slice::from_ref(value)].concat())
            };
            tuples = tuples.iter().flat_map(longer).collect();
        }
        let facet = |(name, values): (&Arc<str>, &Values)| Facet {
            name: name.clone(),
            equality: values.equality,
            grain: Grain::Value,
        };
        Some(RowSet { columns: columns.into_iter().map(facet).collect(), tuples })
    }
}

fn is_told(traced: &Traced, column: &Arc<str>) -> bool {
    traced.columns.binary_search(column).is_ok()
}

/// The rows whose value in a column is in one of the buckets that cover an interval; `None` if those are too many.
fn bucket_set(facet: &Facet, interval: Interval) -> Option<RowSet> {
    let buckets = interval.buckets(facet.grain)?;
    let tuples = buckets.map(|number| vec![Some(number.to_string().into())]).collect();
    Some(RowSet { columns: vec![facet.clone()], tuples })
}

/// What the whole answer is, if it is a page whose end tells more than its filters do.
fn page_of(node: &Node<'_>, relation: &Relation, fixed: &Fixed) -> Option<Page> {
    let (None, Some(traced), Some(rows)) = (&node.branch, &relation.traced, node.range.limit) else { return None };
    let [OrderTerm { relation: None, field, direction, .. }, ..] = node.order else { return None };
    let column = relation.column(&field.column).filter(|_| field.path.is_empty() && !node.aggregates())?;
    let equality = column.equality.filter(|equality| equality.is_integer() && is_told(traced, &column.name))?;
    let filtered = fixed.intervals.get(&column.name).map(|(_, interval)| *interval);
    // NULL is in no bucket, and no filter by a bound lets it through.
    let interval = filtered.or((!column.nullable).then_some(Interval::ALL))?;
    if fixed.values.keys().any(|name| is_told(traced, name)) {
        return None;
    }
    let direction = direction.unwrap_or(Direction::Ascending);
    let page = Page::new(relation.id.clone(), (&column.name, equality), interval, direction, rows)?;
    let by_filters = fixed.bucket_set(traced).and_then(|rows| rows.columns.first().map(|facet| facet.grain));
    by_filters.is_none_or(|grain| page.facet.grain < grain).then_some(page)
}

fn own_first(pairs: &Pairs) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
    pairs.iter().map(|(own, foreign)| (own, foreign))
}

/// The columns of one use of a relation that can have certain values only.
#[derive(Debug, Clone, Default)]
struct Fixed {
    values: BTreeMap<Arc<str>, Values>,
    /// columns of integers, and what their values are between
    intervals: BTreeMap<Arc<str>, (Equality, Interval)>,
}

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
                } else if let Some(interval) = between(filter, equality) {
                    let known = self.intervals.entry(column.name.clone()).or_insert((equality, Interval::ALL));
                    known.1 = known.1.intersect(interval);
                }
            }
            Condition::Filter(_) | Condition::Group { .. } => {}
        }
    }

    /// Both what was known of a column and what is learned holds; the smaller set tells more.
    fn fix(&mut self, column: &Arc<str>, values: Values) {
        match self.values.get(column) {
            Some(known) if known.all.len() <= values.all.len() => {}
            Some(_) | None => drop(self.values.insert(Arc::clone(column), values)),
        }
    }

    /// The rows between the bounds of the column that tells most.
    fn bucket_set(&self, traced: &Traced) -> Option<RowSet> {
        let facets = self.intervals.iter().filter(|(name, _)| is_told(traced, name)).filter_map(|(name, of)| {
            let (equality, interval) = *of;
            Some((Facet { name: name.clone(), equality, grain: interval.grain()? }, interval))
        });
        let (facet, interval) = facets.min_by_key(|(facet, _)| facet.grain)?;
        bucket_set(&facet, interval)
    }

    /// What is known of the rows of `other` that join these, by pairs of an own column and one of `other`. NULL joins
    /// nothing.
    fn across<'p>(&self, pairs: impl Iterator<Item = (&'p Arc<str>, &'p Arc<str>)>, other: &Relation) -> Self {
        let mut across = Self::default();
        for (own, foreign) in pairs {
            let equality = other.column(foreign).and_then(|column| column.equality);
            let (Some(values), Some(equality)) = (self.values.get(own), equality) else { continue };
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

/// What a filter by a bound lets through, if that is certain.
fn between(filter: &Filter, equality: Equality) -> Option<Interval> {
    let Filter { field, polarity: Polarity::Plain, operation } = filter else { return None };
    let Operation::Compare { operator, quantifier: None, value } = operation else { return None };
    if !field.path.is_empty() || !equality.is_integer() {
        return None;
    }
    let bound: i64 = equality.canonical(value)?.parse().ok()?;
    match operator {
        Operator::Gt => Some(Interval { first: bound.checked_add(1)?, ..Interval::ALL }),
        Operator::Gte => Some(Interval { first: bound, ..Interval::ALL }),
        Operator::Lt => Some(Interval { last: bound.checked_sub(1)?, ..Interval::ALL }),
        Operator::Lte => Some(Interval { last: bound, ..Interval::ALL }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
