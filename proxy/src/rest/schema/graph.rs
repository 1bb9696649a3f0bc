//! The graph of relations, and what follows from it: the dependency closure and the reach of a write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effects::Effects;
use super::expression::References;
use super::opacity::Objects;
use super::{Changes, Column, Dependencies, Fill, Logged, Opaque, RelationKind, RowSecurity, TableId, Traced};

/// Every relation of the database outside the system schemas, by object id.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: BTreeMap<u32, Node>,
    pub(super) objects: Objects,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: TableId,
    pub(super) kind: RelationKind,
    /// whether row-level security is enabled
    pub(super) row_security: RowSecurity,
    /// partitions and inheriting tables
    pub(super) descendants: Vec<u32>,
    /// what the definition of a view mentions
    pub(super) definition: References,
    /// what the policies that guard reads mention
    pub(super) policies: References,
    pub(super) side_effects: SideEffects,
    pub(super) durability: Durability,
    pub(super) identity: Identity,
}

/// What the server logs of a row before it is updated or deleted
/// (<https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-REPLICA-IDENTITY>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// all of it
    Row,
    /// the columns of an index, which cannot be null; none if there is no such index
    Columns(Vec<Arc<str>>),
}

/// Whether changes reach the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    Logged,
    Unlogged,
}

/// What a write to a table sets off in other tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SideEffects {
    None,
    /// updates and deletes cascade along foreign keys
    Cascades,
    /// triggers or rules run, or rows land in partitions
    Any,
}

impl Graph {
    /// Everything that the rows of a relation depend on.
    pub(super) fn closure(&self, relation: u32) -> Dependencies {
        self.closure_from(Effects { relations: BTreeSet::from([relation]), ..Effects::default() })
    }

    /// Everything that the result of a function depends on, if the arguments that are given are constants; the others have
    /// `defaults`.
    pub(super) fn closure_of_function(&self, function: u32, defaults: Option<&str>) -> Dependencies {
        let mut call = References { functions: BTreeSet::from([function]), ..References::default() };
        defaults.into_iter().for_each(|tree| call.add_tree(tree));
        self.closure_from(self.objects.effects_of(&call))
    }

    fn closure_from(&self, start: Effects) -> Dependencies {
        let mut tables = BTreeSet::new();
        let Effects { mut opaque, mut claims, relations: mut seen } = start;
        let mut open: Vec<u32> = seen.iter().copied().collect();
        while let Some(current) = open.pop() {
            let Some(node) = self.nodes.get(&current) else {
                // A sequence, or a table created after the nodes were read.
                opaque = opaque.or(Some(Opaque::UnknownRelation));
                continue;
            };
            if node.kind != RelationKind::View {
                tables.insert(node.id.clone());
            }
            let effects = self.effects_of(node);
            opaque = opaque.or(effects.opaque);
            claims.merge(effects.claims);
            let neighbors = node.descendants.iter().copied().chain(effects.relations);
            open.extend(neighbors.filter(|next| seen.insert(*next)));
        }
        Dependencies { tables: tables.into_iter().collect(), claims, opaque }
    }

    /// How changes of single rows of a relation can be followed, given its columns: only of a table whose rows are its own
    /// or its partitions', and only if no policy reads it once more.
    pub(super) fn traced(&self, relation: u32, columns: &[Column]) -> Option<Traced> {
        let node = self.nodes.get(&relation)?;
        let partitions = self.partitions(node)?;
        let members = || std::iter::once(&node).chain(&partitions);
        let guards: BTreeSet<TableId> = members()
            .flat_map(|member| self.guards_of(member).relations)
            .flat_map(|mentioned| self.closure(mentioned).tables)
            .collect();
        if members().any(|member| guards.contains(&member.id)) {
            return None;
        }
        let rooms = || members().filter(|member| member.kind == RelationKind::Table);
        let is_told = |column: &&Column| {
            // Before PostgreSQL 18 the stream leaves generated columns out, and then only publishes them if told to.
            column.equality.is_some()
                && column.fill != Fill::Generated
                && rooms().all(|room| room.identity.tells(&column.name))
        };
        let mut told: Vec<Arc<str>> = columns.iter().filter(is_told).map(|column| Arc::clone(&column.name)).collect();
        told.sort();
        let whole = rooms().all(|room| room.identity == Identity::Row);
        Some(Traced {
            columns: told,
            partitions: partitions.iter().map(|partition| partition.id.clone()).collect(),
            guards: guards.into_iter().collect(),
            identity: if whole { Logged::Row } else { Logged::Key },
            row_security: if members().all(|member| member.row_security == RowSecurity::Off) {
                RowSecurity::Off
            } else {
                RowSecurity::On
            },
        })
    }

    /// Everything below a partitioned table, of which a plain one has nothing; `None` if rows come from elsewhere: from
    /// tables that inherit, which change under their own names alone, or from what the log says nothing of.
    fn partitions(&self, node: &Node) -> Option<Vec<&Node>> {
        let mut partitions = Vec::new();
        let mut open: Vec<&Node> = vec![node];
        while let Some(current) = open.pop() {
            match current.kind {
                _ if current.durability == Durability::Unlogged => return None,
                RelationKind::Table if current.descendants.is_empty() => {}
                RelationKind::PartitionedTable => {
                    let below: Option<Vec<&Node>> =
                        current.descendants.iter().map(|descendant| self.nodes.get(descendant)).collect();
                    let below = below?;
                    partitions.extend(&below);
                    open.extend(below);
                }
                _ => return None,
            }
        }
        Some(partitions)
    }

    /// What inserts, and what updates and deletes change.
    pub(super) fn changes(&self, relation: u32) -> (Changes, Changes) {
        let Some(node) = self.nodes.get(&relation).filter(|node| node.kind == RelationKind::Table) else {
            return (Changes::Ask, Changes::Ask);
        };
        let only = || Changes::Known(vec![node.id.clone()]);
        let inherited = !node.descendants.is_empty();
        match node.side_effects {
            SideEffects::None if !inherited => (only(), only()),
            SideEffects::None | SideEffects::Cascades => (only(), Changes::Ask),
            SideEffects::Any => (Changes::Ask, Changes::Ask),
        }
    }

    /// What the policies that guard the rows of a relation depend on, with all relations that they and their functions read.
    /// Every policy counts, whomever it is for: who owns a view decides which ones do, and so do the roles that a role is a
    /// member of.
    fn guards_of(&self, node: &Node) -> Effects {
        match node.row_security {
            RowSecurity::On => self.objects.effects_of(&node.policies),
            RowSecurity::Off => Effects::default(),
        }
    }

    /// What a relation depends on beside its own rows and those of its descendants: what a view shows (a materialized one
    /// has rows of its own), and what guards the rows.
    fn effects_of(&self, node: &Node) -> Effects {
        let mut effects = match node.kind {
            RelationKind::View => self.objects.effects_of(&node.definition),
            _ => Effects::default(),
        };
        let guards = self.guards_of(node);
        effects.opaque = guards.opaque.map(|_| Opaque::RowLevelSecurity).or(effects.opaque);
        effects.claims.merge(guards.claims);
        effects.relations.extend(guards.relations);
        if node.durability == Durability::Unlogged {
            effects.opaque = Some(Opaque::UnloggedTable);
        }
        if node.kind == RelationKind::ForeignTable {
            effects.opaque = Some(Opaque::ForeignTable);
        }
        effects
    }
}

impl Identity {
    fn tells(&self, column: &str) -> bool {
        match self {
            Self::Row => true,
            Self::Columns(columns) => columns.iter().any(|one| **one == *column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, kind: RelationKind) -> Node {
        Node {
            id: TableId { schema: "s".into(), name: name.into() },
            kind,
            row_security: RowSecurity::Off,
            descendants: Vec::new(),
            definition: References::default(),
            policies: References::default(),
            side_effects: SideEffects::None,
            durability: Durability::Logged,
            identity: Identity::Columns(vec!["id".into()]),
        }
    }

    fn names(dependencies: &Dependencies) -> Vec<&str> {
        dependencies.tables.iter().map(|table| &*table.name).collect()
    }

    #[test]
    fn a_view_over_views_partitions_and_policies_depends_on_all_their_tables() {
        let mut graph = Graph::default();
        let mut outer = node("outer", RelationKind::View);
        outer.definition.relations.extend([20_002, 20_003, 20_001]);
        let mut inner = node("inner", RelationKind::View);
        inner.definition.relations.extend([20_004]);
        let mut partitioned = node("parent", RelationKind::PartitionedTable);
        partitioned.descendants.push(20_005);
        let mut guarded = node("guarded", RelationKind::Table);
        guarded.row_security = RowSecurity::On;
        guarded.policies.relations.insert(20_006);
        graph.nodes.insert(20_001, outer);
        graph.nodes.insert(20_002, inner);
        graph.nodes.insert(20_003, partitioned);
        graph.nodes.insert(20_004, guarded);
        graph.nodes.insert(20_005, node("child", RelationKind::Table));
        graph.nodes.insert(20_006, node("permission", RelationKind::Table));
        let closure = graph.closure(20_001);
        assert_eq!(names(&closure), ["child", "guarded", "parent", "permission"]);
        assert_eq!(closure.opaque, None);
        assert_eq!(graph.closure(1).opaque, Some(Opaque::UnknownRelation));
    }

    #[test]
    fn a_policy_that_calls_an_unknown_function_makes_every_view_over_the_table_opaque() {
        let mut graph = Graph::default();
        let mut view = node("view", RelationKind::View);
        view.definition.relations.insert(20_002);
        let mut guarded = node("guarded", RelationKind::Table);
        guarded.row_security = RowSecurity::On;
        guarded.policies.functions.insert(20_009);
        graph.nodes.insert(20_001, view);
        graph.nodes.insert(20_002, guarded);
        assert_eq!(graph.closure(20_001).opaque, Some(Opaque::RowLevelSecurity));
    }

    #[test]
    fn only_a_plain_table_has_known_changes() {
        let mut graph = Graph::default();
        for (id, effects) in [(20_001, SideEffects::None), (20_002, SideEffects::Cascades), (20_003, SideEffects::Any)]
        {
            let mut table = node("t", RelationKind::Table);
            table.side_effects = effects;
            graph.nodes.insert(id, table);
        }
        graph.nodes.insert(20_004, node("v", RelationKind::View));
        let known = Changes::Known(vec![TableId { schema: "s".into(), name: "t".into() }]);
        assert_eq!(graph.changes(20_001), (known.clone(), known.clone()));
        assert_eq!(graph.changes(20_002), (known, Changes::Ask));
        assert_eq!(graph.changes(20_003), (Changes::Ask, Changes::Ask));
        assert_eq!(graph.changes(20_004), (Changes::Ask, Changes::Ask));
    }
}
