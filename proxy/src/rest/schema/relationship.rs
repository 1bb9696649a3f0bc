//! How relations relate to each other: by foreign keys, also as seen through views, by junctions between two of those, and
//! by functions of a row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Dependencies, ForeignKey, Relation, TableId};

/// One way from a relation to a related one. The order is that in which PostgREST lists alternatives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::rest) struct Relationship {
    pub(in crate::rest) table: TableId,
    pub(in crate::rest) foreign: TableId,
    /// whether both ends are the same relation
    pub(in crate::rest) is_self: bool,
    pub(in crate::rest) link: Link,
    pub(in crate::rest) from_view: bool,
    pub(in crate::rest) to_view: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::rest) enum Link {
    OneToMany(Key),
    ManyToOne(Key),
    OneToOne(Key),
    ManyToMany(Junction),
    Computed(Function),
}

/// A foreign key as one end sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::rest) struct Key {
    pub(in crate::rest) constraint: Arc<str>,
    /// own column, foreign column
    pub(in crate::rest) columns: Pairs,
}

/// The relation in the middle of a many-to-many relationship.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::rest) struct Junction {
    pub(in crate::rest) table: TableId,
    pub(in crate::rest) source_constraint: Arc<str>,
    pub(in crate::rest) target_constraint: Arc<str>,
    /// column of the one end, column of the junction
    pub(in crate::rest) source: Pairs,
    /// column of the other end, column of the junction
    pub(in crate::rest) target: Pairs,
}

/// A function of a row that returns related rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::rest) struct Function {
    pub(in crate::rest) id: TableId,
    pub(in crate::rest) returns: Rows,
    /// what the result depends on beside the row
    pub(in crate::rest) reads: Dependencies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::rest) enum Rows {
    One,
    Many,
}

pub(in crate::rest) type Pairs = Vec<(Arc<str>, Arc<str>)>;

/// A function whose argument is a row of `table` and whose result is rows of `foreign`.
#[derive(Debug, Clone)]
pub(in crate::rest) struct Computed {
    pub(in crate::rest) table: TableId,
    pub(in crate::rest) foreign: TableId,
    pub(in crate::rest) function: Function,
}

/// A column of a view that shows a column of a table as it is.
#[derive(Debug, Clone)]
pub(in crate::rest) struct Shown {
    pub(in crate::rest) view: TableId,
    pub(in crate::rest) view_column: Arc<str>,
    pub(in crate::rest) table: TableId,
    pub(in crate::rest) column: Arc<str>,
}

impl Relationship {
    /// Whether a row has at most one related row.
    pub(in crate::rest) fn is_to_one(&self) -> bool {
        match &self.link {
            Link::ManyToOne(_) | Link::OneToOne(_) => true,
            Link::OneToMany(_) | Link::ManyToMany(_) => false,
            Link::Computed(function) => function.returns == Rows::One,
        }
    }

    /// The columns of the own end that the relationship needs; `None` if it may need any.
    pub(in crate::rest) fn own_columns(&self) -> Option<impl Iterator<Item = &str>> {
        let pairs = match &self.link {
            Link::OneToMany(key) | Link::ManyToOne(key) | Link::OneToOne(key) => &key.columns,
            Link::ManyToMany(junction) => &junction.source,
            Link::Computed(_) => return None,
        };
        Some(pairs.iter().map(|(own, _)| &**own))
    }

    /// The schema in whose requests the relationship can be used.
    pub(super) fn schema(&self) -> &str {
        match &self.link {
            Link::Computed(function) => &function.id.schema,
            _ => &self.foreign.schema,
        }
    }

    fn of_key(key: &ForeignKey, from: End<'_>, to: End<'_>) -> Self {
        let columns = from.columns.into_iter().zip(to.columns).collect();
        let seen = Key { constraint: Arc::clone(&key.name), columns };
        Self {
            table: from.relation.clone(),
            foreign: to.relation.clone(),
            is_self: from.relation == to.relation,
            link: if key.unique { Link::OneToOne(seen) } else { Link::ManyToOne(seen) },
            from_view: from.is_view,
            to_view: to.is_view,
        }
    }

    /// The same foreign key seen from its other end.
    fn inverse(&self) -> Option<Self> {
        let swap = |key: &Key| Key { columns: swapped(&key.columns), constraint: Arc::clone(&key.constraint) };
        let link = match &self.link {
            Link::ManyToOne(key) => Link::OneToMany(swap(key)),
            Link::OneToOne(key) => Link::OneToOne(swap(key)),
            Link::OneToMany(_) | Link::ManyToMany(_) | Link::Computed(_) => return None,
        };
        Some(Self {
            table: self.foreign.clone(),
            foreign: self.table.clone(),
            is_self: self.is_self,
            link,
            from_view: self.to_view,
            to_view: self.from_view,
        })
    }
}

fn swapped(pairs: &Pairs) -> Pairs {
    pairs.iter().map(|(own, foreign)| (Arc::clone(foreign), Arc::clone(own))).collect()
}

/// One end of a foreign key: the table itself, or a view that shows all columns of the key.
#[derive(Clone)]
struct End<'k> {
    relation: &'k TableId,
    columns: Vec<Arc<str>>,
    is_view: bool,
}

/// Bounds how many relationships one foreign key makes: a view may show each of its columns any number of times.
const ENDS_MAX: usize = 64;

/// The views that show all of `columns`, in every combination.
fn ends<'k>(table: &'k TableId, columns: &[Arc<str>], shown: &'k [Shown]) -> Vec<End<'k>> {
    let mut by_view: BTreeMap<&TableId, Vec<&Shown>> = BTreeMap::new();
    for one in shown.iter().filter(|one| one.table == *table) {
        by_view.entry(&one.view).or_default().push(one);
    }
    let mut ends = vec![End { relation: table, columns: columns.to_vec(), is_view: false }];
    for (view, shown) in by_view {
        let mut combinations: Vec<Vec<Arc<str>>> = vec![Vec::new()];
        for column in columns {
            let names = shown.iter().filter(|one| one.column == *column).map(|one| &one.view_column);
            let longer = |name: &Arc<str>| {
                let name = Arc::clone(name);
                move |start: &Vec<Arc<str>>| [start.as_slice(), &[Arc::clone(&name)]].concat()
            };
            combinations = names.flat_map(|name| combinations.iter().map(longer(name))).take(ENDS_MAX).collect();
        }
        ends.extend(combinations.into_iter().map(|columns| End { relation: view, columns, is_view: true }));
    }
    ends
}

/// All relationships between the relations that `known` finds, by the relation they start from.
pub(super) fn relationships<'r>(
    foreign_keys: &[ForeignKey],
    shown: &[Shown],
    computed: Vec<Computed>,
    known: impl Fn(&TableId) -> Option<&'r Relation>,
) -> BTreeMap<TableId, Vec<Relationship>> {
    let mut direct = Vec::new();
    for key in foreign_keys {
        let referenced = ends(&key.referenced, &key.referenced_columns, shown);
        for from in ends(&key.table, &key.columns, shown) {
            direct.extend(referenced.iter().map(|to| Relationship::of_key(key, from.clone(), to.clone())));
        }
    }
    let across = junctions(&direct, &known);
    let inverse: Vec<_> = direct.iter().filter_map(Relationship::inverse).collect();
    let mut by_table: BTreeMap<TableId, Vec<Relationship>> = BTreeMap::new();
    for one in direct.into_iter().chain(across).chain(inverse) {
        if known(&one.table).is_some() && known(&one.foreign).is_some() {
            by_table.entry(one.table.clone()).or_default().push(one);
        }
    }
    for Computed { table, foreign, function } in computed {
        if known(&table).is_none() || known(&foreign).is_none() {
            continue;
        }
        let own = by_table.entry(table.clone()).or_default();
        // A function takes the place of the relationships with the relation whose name it has.
        own.retain(|one| matches!(one.link, Link::Computed(_)) || one.foreign != function.id);
        let is_self = table == foreign;
        let link = Link::Computed(function);
        own.push(Relationship { table, foreign, is_self, link, from_view: false, to_view: false });
    }
    by_table.values_mut().for_each(|relationships| relationships.sort());
    by_table
}

/// A relation whose primary key contains two foreign keys joins the relations that these point to.
fn junctions<'r>(direct: &[Relationship], known: &impl Fn(&TableId) -> Option<&'r Relation>) -> Vec<Relationship> {
    let mut across = Vec::new();
    let mut by_table: BTreeMap<&TableId, Vec<(&Relationship, &Key)>> = BTreeMap::new();
    for one in direct {
        if let Link::ManyToOne(key) = &one.link {
            by_table.entry(&one.table).or_default().push((one, key));
        }
    }
    for (table, keys) in by_table {
        let Some(relation) = known(table) else { continue };
        let primary: BTreeSet<&str> = relation.primary_key.iter().map(|column| &**column).collect();
        let inside = |key: &Key| key.columns.iter().all(|(own, _)| primary.contains(&**own));
        for (source, source_key) in keys.iter().filter(|(_, key)| inside(key)) {
            let others = keys.iter().filter(|(_, key)| inside(key) && key.constraint != source_key.constraint);
            across.extend(others.map(|(target, target_key)| Relationship {
                table: source.foreign.clone(),
                foreign: target.foreign.clone(),
                is_self: source.foreign == target.foreign,
                link: Link::ManyToMany(Junction {
                    table: table.clone(),
                    source_constraint: Arc::clone(&source_key.constraint),
                    target_constraint: Arc::clone(&target_key.constraint),
                    source: swapped(&source_key.columns),
                    target: swapped(&target_key.columns),
                }),
                from_view: source.to_view,
                to_view: target.to_view,
            }));
        }
    }
    across
}
