//! The tree of a request: the resource and what is embedded in it, each with what is asked of it, related by the schema
//! cache.

use super::super::Error;
use super::super::ast::{Condition, Embed, Join, OrderTerm, SelectItem};
use super::super::grammar::EmbedPath;
use super::super::relation_hint::{closest, describe};
use super::super::request::{Range, Scope};
use super::super::schema::{Link, Relationship, SchemaCache};
use super::super::tree::{Branch, Node, Output};
use crate::config::Permission;

/// Bounds the number of embedded resources of one request.
const EMBEDS_MAX: usize = 256;

/// What `select` and the other parameters say of one resource, before relationships are looked up.
#[derive(Debug)]
pub(super) struct Twig<'a> {
    embed: Option<&'a Embed>,
    select: Vec<Output<'a>>,
    conditions: Vec<&'a Condition>,
    order: &'a [OrderTerm],
    range: Range,
    children: Vec<Twig<'a>>,
}

/// What a request may have of some things, and how much of that it had.
struct Bounds {
    aggregates: Permission,
    embeds: usize,
}

impl<'a> Twig<'a> {
    /// Reads `select` and hangs each scope on the resource that its path names.
    pub(super) fn read(
        select: &'a [SelectItem],
        scopes: impl IntoIterator<Item = (&'a EmbedPath, &'a Scope)>,
        aggregates: Permission,
    ) -> Result<Self, Error> {
        let mut root = Self::of_select(None, select, &mut Bounds { aggregates, embeds: 0 })?;
        for (path, scope) in scopes {
            let twig = path.iter().try_fold(&mut root, |twig, name| {
                let found = twig.children.iter_mut().find(|child| child.is_named(name));
                found.ok_or_else(|| Error::NotEmbedded(name.clone()))
            })?;
            twig.conditions.extend(&scope.conditions);
            if twig.order.is_empty() {
                twig.order = &scope.order;
            }
            if scope.range() != Range::ALL {
                twig.range = scope.range();
            }
        }
        Ok(root)
    }

    fn of_select(embed: Option<&'a Embed>, select: &'a [SelectItem], bounds: &mut Bounds) -> Result<Self, Error> {
        let mut twig = Self {
            embed,
            select: Vec::new(),
            conditions: Vec::new(),
            order: &[],
            range: Range::ALL,
            children: Vec::new(),
        };
        for item in select {
            match item {
                SelectItem::Star => twig.select.push(Output::Star),
                SelectItem::Column { aggregate: Some(_), .. } | SelectItem::Count { .. }
                    if bounds.aggregates == Permission::Refused =>
                {
                    return Err(Error::AggregatesNotAllowed);
                }
                SelectItem::Column { field, alias, cast, aggregate } => twig.select.push(Output::Column {
                    field,
                    alias: alias.as_deref(),
                    cast: cast.as_deref(),
                    aggregate: aggregate.as_ref(),
                }),
                SelectItem::Count { alias, cast } => {
                    twig.select.push(Output::Count { alias: alias.as_deref(), cast: cast.as_deref() });
                }
                SelectItem::Embed(embed) => {
                    bounds.embeds += 1;
                    if bounds.embeds > EMBEDS_MAX {
                        return Err(Error::Limit { what: "the number of embedded resources", limit: EMBEDS_MAX });
                    }
                    twig.children.push(Self::of_select(Some(embed), &embed.select, bounds)?);
                }
            }
        }
        Ok(twig)
    }

    /// A parameter may name an embedded resource by its relation or by its alias.
    fn is_named(&self, name: &str) -> bool {
        self.embed.is_some_and(|embed| embed.relation == name || embed.alias.as_deref() == Some(name))
    }
}

/// Looks names up and makes nodes of twigs.
#[derive(Clone, Copy)]
pub(super) struct Graft<'a> {
    pub(super) schema: &'a SchemaCache,
    /// the schema of the request
    pub(super) name: &'a str,
}

impl<'a> Graft<'a> {
    /// The tree whose root is the relation `name`.
    pub(super) fn root(self, name: &'a str, twig: Twig<'a>) -> Result<Node<'a>, Error> {
        let node = Node {
            schema: self.name,
            name,
            alias: None,
            known: self.schema.relation(self.name, name),
            select: twig.select,
            conditions: twig.conditions,
            order: twig.order,
            range: twig.range,
            branch: None,
            children: self.children(name, twig.children, 1)?,
        };
        check_order(&node)?;
        check_spread(&node)?;
        Ok(node)
    }

    fn children(self, parent: &str, twigs: Vec<Twig<'a>>, depth: usize) -> Result<Vec<Node<'a>>, Error> {
        twigs
            .into_iter()
            .filter_map(|twig| twig.embed.map(|embed| (embed, twig)))
            .map(|(embed, twig)| self.child(parent, embed, twig, depth))
            .collect()
    }

    fn child(self, parent: &str, embed: &'a Embed, twig: Twig<'a>, depth: usize) -> Result<Node<'a>, Error> {
        let relationship = self.find(parent, embed)?;
        let foreign = &relationship.foreign;
        let label = embed.alias.as_deref().unwrap_or(&embed.relation);
        let (alias, junction) = match &relationship.link {
            Link::ManyToMany(junction) => (None, self.schema.relation(&junction.table.schema, &junction.table.name)),
            _ => (Some(format!("{}_{depth}", foreign.name)), None),
        };
        Ok(Node {
            schema: &foreign.schema,
            name: &foreign.name,
            known: self.schema.relation(&foreign.schema, &foreign.name),
            select: twig.select,
            conditions: twig.conditions,
            order: twig.order,
            range: twig.range,
            children: self.children(&foreign.name, twig.children, depth + 1)?,
            alias,
            branch: Some(Branch {
                label,
                handle: format!("{}_{label}_{depth}", relationship.table.name),
                relationship,
                junction,
                join: embed.join.unwrap_or(Join::Left),
                form: embed.form,
            }),
        })
    }

    fn find(self, parent: &str, embed: &Embed) -> Result<&'a Relationship, Error> {
        let all = || self.schema.relationships(self.name, parent).into_iter().flatten();
        let mut found = all().filter(|one| matches(one, embed));
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(Error::NoRelationship {
                parent: parent.to_owned(),
                child: embed.relation.clone(),
                hint: embed.hint.clone(),
                schema: self.name.to_owned(),
                suggestion: self.suggest(parent, &embed.relation),
            }),
            (Some(_), Some(_)) => Err(Error::AmbiguousRelationship {
                parent: parent.to_owned(),
                child: embed.relation.clone(),
                candidates: all().filter(|one| matches(one, embed)).map(describe).collect(),
            }),
        }
    }

    /// PostgREST's guess at what was meant: another parent if this one has no relationships, else another child.
    fn suggest(self, parent: &str, child: &str) -> Option<String> {
        let Some(relationships) = self.schema.relationships(self.name, parent) else {
            let guess = closest(parent, self.schema.related(self.name))?;
            return Some(format!("Perhaps you meant '{guess}' instead of '{parent}'."));
        };
        let guess = closest(child, relationships.map(|one| &*one.foreign.name)).filter(|guess| *guess != child)?;
        Some(format!("Perhaps you meant '{guess}' instead of '{child}'."))
    }
}

/// Whether `embed` may mean this relationship: by relation, constraint or column, made precise by a hint
/// (<https://docs.postgrest.org/en/v12/references/api/resource_embedding.html#foreign-key-joins-on-multiple-foreign-key-relationships>).
fn matches(one: &Relationship, embed: &Embed) -> bool {
    let target = embed.relation.as_str();
    let by_name = *one.foreign.name == *target;
    match (&one.link, embed.hint.as_deref()) {
        (Link::Computed(function), _) => *function.id.name == *target,
        // One foreign key to the relation itself is two relationships: the children by the relation's name, the parent by
        // the column's.
        (Link::OneToMany(_), None) if one.is_self => by_name,
        (Link::ManyToOne(_), None) if one.is_self => is_own_column(one, target),
        (Link::OneToMany(_), Some(hint)) if one.is_self => by_name && is_foreign_column(one, hint),
        _ if one.is_self => false,
        (_, None) => by_name || !one.to_view && (is_constraint(one, target) || is_own_column(one, target)),
        (Link::ManyToMany(junction), Some(hint)) => by_name && *junction.table.name == *hint,
        (_, Some(hint)) => {
            by_name && (is_constraint(one, hint) || is_own_column(one, hint) || is_foreign_column(one, hint))
        }
    }
}

fn is_constraint(one: &Relationship, name: &str) -> bool {
    match &one.link {
        Link::OneToMany(key) | Link::ManyToOne(key) | Link::OneToOne(key) => *key.constraint == *name,
        Link::ManyToMany(_) | Link::Computed(_) => false,
    }
}

fn is_own_column(one: &Relationship, name: &str) -> bool {
    matches!(only_pair(one), Some((own, _)) if own == name)
}

fn is_foreign_column(one: &Relationship, name: &str) -> bool {
    matches!(only_pair(one), Some((_, foreign)) if foreign == name)
}

fn only_pair(one: &Relationship) -> Option<(&str, &str)> {
    match &one.link {
        Link::OneToMany(key) | Link::ManyToOne(key) | Link::OneToOne(key) => match key.columns.as_slice() {
            [(own, foreign)] => Some((own, foreign)),
            _ => None,
        },
        Link::ManyToMany(_) | Link::Computed(_) => None,
    }
}

/// Rows can be ordered by what is embedded only if there is one of it.
fn check_order(node: &Node<'_>) -> Result<(), Error> {
    for name in node.order.iter().filter_map(|term| term.relation.as_deref()) {
        let child = node.child(name).ok_or_else(|| Error::NotEmbedded(name.to_owned()))?;
        if !child.is_to_one() {
            return Err(Error::RelatedOrderNotToOne { origin: node.name.to_owned(), target: name.to_owned() });
        }
    }
    node.children.iter().try_for_each(check_order)
}

fn check_spread(node: &Node<'_>) -> Result<(), Error> {
    for child in &node.children {
        let Some(branch) = &child.branch else { continue };
        // 12.0.2 spreads nothing of which there may be many. Later versions make lists, and do not aggregate in them.
        if child.is_spread_as_lists() && child.aggregates() {
            let origin = branch.relationship.table.name.to_string();
            return Err(Error::SpreadNotToOne { origin, target: branch.label.to_owned() });
        }
        check_spread(child)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
