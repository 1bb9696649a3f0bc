//! The schema cache: what the exposed schemas hold, and what an answer about it depends on.

mod load;
mod media;
mod routine;
mod relationship;
mod graph;
mod effects;
mod opacity;
mod expression;
mod body;
mod term;
mod target_list;
mod node_tree;
mod claims_read;
mod equality;

pub use claims_read::ClaimsRead;
pub use equality::Equality;
pub use load::load_schema;
pub(super) use media::{Handler, Maker};
#[cfg(test)]
pub(super) use relationship::Function;
pub(super) use relationship::Rows;
pub(super) use relationship::{Computed, Link, Pairs, Relationship};
#[cfg(test)]
pub(super) use routine::{Need, Returns};
pub(super) use routine::{Parameter, Routine, Value, Volatility};

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use media::Handlers;
use relationship::Shown;
use xxhash_rust::xxh3::Xxh3;

/// Lists schema and name of every table that the current transaction has changed, to be run before it commits, after
/// `SET CONSTRAINTS ALL IMMEDIATE`.
///
/// The locks that a transaction holds until its end name every table it wrote to, also by cascades and triggers, and also
/// by TRUNCATE, which no counter shows. The counters then drop what was locked by a statement that found no row. They may
/// still count the session's earlier transactions, so the list can be longer than the truth but never shorter. Both are
/// open to every role. With `track_counts` off only the locks decide.
pub const CHANGED_TABLES_SQL: &str = "\
SELECT n.nspname::text AS schema, c.relname::text AS name \
FROM (SELECT l.relation, bool_or(l.mode <> 'RowExclusiveLock') AS whole \
FROM pg_catalog.pg_locks AS l \
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted \
AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()) \
GROUP BY l.relation) AS held \
JOIN pg_catalog.pg_class AS c ON c.oid = held.relation \
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
WHERE c.relkind IN ('r', 'm', 'f') AND c.relpersistence <> 't' AND c.oid >= 16384 \
AND (held.whole OR c.relkind = 'f' OR pg_catalog.current_setting('track_counts') = 'off' \
OR pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) > 0 \
OR pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) > 0 \
OR pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) > 0) \
ORDER BY 1, 2";

/// A table by its qualified name: the unit in which changes are announced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    pub schema: Arc<str>,
    pub name: Arc<str>,
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// What the rows of an answer depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dependencies {
    /// every table in the closure, sorted; a materialized view stands for itself
    pub tables: Vec<TableId>,
    /// the claims that row-level security or a function reads
    pub claims: ClaimsRead,
    /// why the answer must not be cached, if so
    pub opaque: Option<Opaque>,
}

impl Dependencies {
    /// Nothing but a reason not to cache.
    pub(super) fn opaque(reason: Opaque) -> Self {
        Self { opaque: Some(reason), ..Self::default() }
    }

    /// Takes in what another part of the same answer depends on.
    pub(super) fn add(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.tables.sort();
        self.tables.dedup();
        self.claims.merge(other.claims);
        self.opaque = self.opaque.take().or(other.opaque);
    }
}

/// Why an answer depends on something that no table change announces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opaque {
    /// the schema cache does not know the relation: it may be new, or not exist
    UnknownRelation,
    /// the schema cache does not know the column: it may be new, or be computed by a function of which it is not certain
    /// which one
    UnknownColumn,
    /// a foreign table changes elsewhere
    ForeignTable,
    /// an unlogged table leaves no trace in the change feed
    UnloggedTable,
    /// a view reads a system catalog, or a column's text is looked up in one (`regclass`)
    SystemCatalog,
    /// a view calls a function whose result depends on more than tables
    Function(Arc<str>),
    /// a row-level security policy does
    RowLevelSecurity,
    /// a value such as `now` that a date column reads as the current time
    CurrentTime,
    /// a cast whose result may depend on more than the value
    Cast,
    /// not rows are asked for, but how they would be found
    ExecutionPlan,
}

impl Opaque {
    /// The reason as one word, for headers, logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownRelation => "unknown-relation",
            Self::UnknownColumn => "unknown-column",
            Self::ForeignTable => "foreign-table",
            Self::UnloggedTable => "unlogged-table",
            Self::SystemCatalog => "system-catalog",
            Self::Function(_) => "function",
            Self::RowLevelSecurity => "row-level-security",
            Self::CurrentTime => "current-time",
            Self::Cast => "cast",
            Self::ExecutionPlan => "execution-plan",
        }
    }
}

/// Which tables a write changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Changes {
    /// exactly these: no trigger, rule, cascade or partition is involved
    Known(Vec<TableId>),
    /// unknown before it ran: run [`CHANGED_TABLES_SQL`] in the same transaction, before `COMMIT`
    Ask,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelationKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    ForeignTable,
}

/// A table or view of an exposed schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relation {
    pub id: TableId,
    pub kind: RelationKind,
    pub columns: Vec<Column>,
    pub computed: Vec<ComputedColumn>,
    pub primary_key: Vec<Arc<str>>,
    pub unique_keys: Vec<Vec<Arc<str>>>,
    pub reads: Dependencies,
    /// how its rows can be told apart in what an answer depends on; `None` if they cannot
    pub traced: Option<Traced>,
    pub changes_of_insert: Changes,
    pub changes_of_update: Changes,
}

/// How changes of single rows of a table can be followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Traced {
    /// columns of which the change stream tells the value before a change: those of the key (the replica identity), or
    /// all whose equality can be told from their text; sorted
    pub columns: Vec<Arc<str>>,
    /// its partitions, whose changes are announced under its own name too
    pub partitions: Vec<TableId>,
    /// tables of which any row matters, because policies read them; sorted
    pub guards: Vec<TableId>,
    /// whether all columns are logged before a change, or the key alone
    pub identity: Logged,
    /// whether policies may hide some of its rows
    pub row_security: RowSecurity,
}

/// Whether policies may hide rows of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RowSecurity {
    Off,
    #[default]
    On,
}

/// What the server logs of a row before it changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Logged {
    /// the columns of a key, if it has one
    #[default]
    Key,
    /// all of it: `REPLICA IDENTITY FULL`
    Row,
}

impl Relation {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| &*column.name == name)
    }

    /// The computed column of that name, which a column of that name hides.
    pub fn computed_column(&self, name: &str) -> Option<&ComputedColumn> {
        self.computed.iter().find(|computed| &*computed.name == name && self.column(name).is_none())
    }

    /// What is known of the type of what has that name.
    pub fn family(&self, name: &str) -> Option<TypeFamily> {
        let computed = || self.computed_column(name).map(|computed| computed.family);
        self.column(name).map(|column| column.family).or_else(computed)
    }
}

/// A function of a row that is asked for as if it were a column of it, and of which it is certain that it is the one that
/// PostgreSQL calls (<https://docs.postgrest.org/en/v12/references/api/computed_fields.html>).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ComputedColumn {
    pub name: Arc<str>,
    pub family: TypeFamily,
    /// what the result depends on beside the row
    pub reads: Dependencies,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Column {
    pub name: Arc<str>,
    /// the type as SQL, qualified unless it is built in
    pub sql_type: Arc<str>,
    pub family: TypeFamily,
    /// how its values compare, if their text tells
    pub equality: Option<Equality>,
    pub nullable: bool,
    pub fill: Fill,
    /// the default as SQL
    pub default: Option<Arc<str>>,
}

/// What the planner needs to know of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TypeFamily {
    Json,
    /// dates and times, also in arrays and ranges: their input accepts `now` and its like
    Time,
    Other,
}

/// How a column gets a value that no client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fill {
    Plain,
    Identity,
    Generated,
}

/// A foreign key between two tables, which may be outside the exposed schemas.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ForeignKey {
    pub(super) name: Arc<str>,
    pub(super) table: TableId,
    pub(super) columns: Vec<Arc<str>>,
    pub(super) referenced: TableId,
    pub(super) referenced_columns: Vec<Arc<str>>,
    /// whether the columns are also unique: then each referenced row has at most one referencing row
    pub(super) unique: bool,
}

/// Everything the planner knows of the database, as of one moment.
#[derive(Debug, Clone, Default)]
pub struct SchemaCache {
    relations: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Relation>>,
    relationships: BTreeMap<TableId, Vec<Relationship>>,
    /// by schema and name, every overload
    routines: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<Routine>>>,
    handlers: Handlers,
    fingerprint: u128,
}

/// What a schema cache is made of.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) relations: Vec<Relation>,
    pub(super) foreign_keys: Vec<ForeignKey>,
    /// columns of views that show a table's column as it is
    pub(super) shown: Vec<Shown>,
    pub(super) computed: Vec<Computed>,
    pub(super) routines: Vec<Routine>,
    pub(super) handlers: Handlers,
    /// what the answers depend on beside the shape of the relations: privileges, policies, functions
    pub(super) definitions: Vec<String>,
}

impl SchemaCache {
    /// Puts a cache together from its parts.
    pub(super) fn new(parts: Parts) -> Self {
        let mut by_schema: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Relation>> = BTreeMap::new();
        for relation in parts.relations {
            let TableId { schema, name } = relation.id.clone();
            by_schema.entry(schema).or_default().insert(name, relation);
        }
        let known = |id: &TableId| by_schema.get(&id.schema)?.get(&id.name);
        let relationships = relationship::relationships(&parts.foreign_keys, &parts.shown, parts.computed, known);
        let mut routines: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<Routine>>> = BTreeMap::new();
        for routine in parts.routines {
            let TableId { schema, name } = routine.id.clone();
            routines.entry(schema).or_default().entry(name).or_default().push(routine);
        }
        let mut hasher = Xxh3::new();
        (&by_schema, &relationships, &routines, &parts.handlers, parts.definitions).hash(&mut hasher);
        let handlers = parts.handlers;
        Self { fingerprint: hasher.digest128(), relations: by_schema, relationships, routines, handlers }
    }

    /// The relation of that name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.relations.get(schema)?.get(name)
    }

    /// All relations, sorted by name.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values().flat_map(BTreeMap::values)
    }

    /// The relationships of a relation that a request of the same schema can use; `None` if it has none at all.
    pub(super) fn relationships(&self, schema: &str, name: &str) -> Option<impl Iterator<Item = &Relationship>> {
        let relationships = self.relationships.get(&TableId { schema: schema.into(), name: name.into() })?;
        let schema = schema.to_owned();
        Some(relationships.iter().filter(move |one| one.schema() == schema))
    }

    /// The names of the schema's relations that have relationships.
    pub(super) fn related(&self, schema: &str) -> impl Iterator<Item = &str> {
        self.relationships.keys().filter(move |table| *table.schema == *schema).map(|table| &*table.name)
    }

    /// The functions of that name.
    pub(super) fn routines(&self, schema: &str, name: &str) -> &[Routine] {
        self.routines.get(schema).and_then(|routines| routines.get(name)).map_or(&[], Vec::as_slice)
    }

    /// What makes a media type of the rows of a relation or of the result of a function; of anything, if none is named.
    pub(super) fn handler(&self, target: Option<&TableId>, media: &str) -> Option<&Handler> {
        self.handlers.get(target, media)
    }

    /// The names of the schema's functions.
    pub(super) fn routine_names(&self, schema: &str) -> impl Iterator<Item = &str> {
        self.routines.get(schema).into_iter().flat_map(|routines| routines.keys().map(|name| &**name))
    }

    /// Differs whenever anything differs that an answer may depend on beside the rows: columns, keys, definitions of
    /// views, policies and functions, privileges, roles.
    pub fn fingerprint(&self) -> u128 {
        self.fingerprint
    }
}
