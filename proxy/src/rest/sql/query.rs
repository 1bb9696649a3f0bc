//! The query of a node and of everything embedded in it, and the query that counts its rows.

use super::condition::{Presence, write_conditions};
use super::list::{column_names, write_list};
use super::source::Source;
use crate::rest::ast::Join;
use crate::rest::request::Range;
use crate::rest::schema::{Link, Pairs};
use crate::rest::statement::SqlWriter;
use crate::rest::tree::{Branch, Node};

/// Writes `SELECT ...` of a node: its columns and what is embedded. `parent` is the query around it.
pub(super) fn write_query(sql: &mut SqlWriter, node: &Node<'_>, parent: Option<Source<'_>>) {
    write_select(sql, node, parent, None);
}

/// As `write_query`, of the root, with one more column of its relation under another name.
pub(super) fn write_query_beside(sql: &mut SqlWriter, node: &Node<'_>, beside: Option<(&str, &str)>) {
    write_select(sql, node, None, beside);
}

fn write_select(sql: &mut SqlWriter, node: &Node<'_>, parent: Option<Source<'_>>, beside: Option<(&str, &str)>) {
    let source = Source::of(node);
    sql.push("SELECT ");
    let groups = write_list(sql, source, node);
    if let Some((column, name)) = beside {
        source.write_column(sql.push(", "), column);
        sql.push(" AS ").ident(name);
    }
    sql.push(" FROM ");
    write_from(sql, node, parent);
    write_joins(sql, source);
    write_restrictions(sql, source, node, parent, Presence::Joined);
    groups.write(sql);
    source.write_order(sql, node.order);
    write_range(sql, node.range);
}

/// Writes the query over rows that `rows` names, which stand in for those of the node's relation.
pub(super) fn write_query_over(sql: &mut SqlWriter, node: &Node<'_>, rows: &str) {
    let source = Source::computed(node);
    sql.push("SELECT ");
    let groups = write_list(sql, source, node);
    sql.push(" FROM ").push(rows).push(" AS ").ident(source.bare_name());
    write_joins(sql, source);
    write_restrictions(sql, source, node, None, Presence::Joined);
    groups.write(sql);
    source.write_order(sql, node.order);
    write_range(sql, node.range);
}

/// Writes a query with one row for each of the node's, whatever its range. Where something embedded has to be there, it is
/// looked for and not joined.
pub(super) fn write_count(sql: &mut SqlWriter, node: &Node<'_>, parent: Option<Source<'_>>) {
    sql.push("SELECT 1 FROM ");
    write_from(sql, node, parent);
    write_restrictions(sql, Source::of(node), node, parent, Presence::Sought);
}

/// As `write_count`, over rows that stand in for those of the node's relation.
pub(super) fn write_count_over(sql: &mut SqlWriter, node: &Node<'_>, rows: &str) {
    let source = Source::computed(node);
    sql.push("SELECT 1 FROM ").push(rows).push(" AS ").ident(source.bare_name());
    write_restrictions(sql, source, node, None, Presence::Sought);
}

/// Writes ` LIMIT ... OFFSET ...`; nothing if everything is wanted. First pages of a usual size have a statement each: a
/// planner that knows how little is wanted finds that one plan serves all, and makes it once. All other pages share one
/// statement, lest there be as many as there are numbers.
pub(super) fn write_range(sql: &mut SqlWriter, range: Range) {
    if range == Range::ALL {
        return;
    }
    if let Range { offset: 0, limit: Some(limit) } = range
        && is_usual_page(limit)
    {
        sql.push(&format!(" LIMIT {limit}"));
        return;
    }
    sql.push(" LIMIT ").bind(range.limit.map(|limit| limit.to_string())).push("::bigint");
    sql.push(" OFFSET ").bind(range.offset.to_string()).push("::bigint");
}

/// Whether many ask for pages of this size.
fn is_usual_page(limit: i128) -> bool {
    (0..=50).contains(&limit) || (0..=1_000).contains(&limit) && limit % 50 == 0
}

/// Writes what stands behind `FROM`.
fn write_from(sql: &mut SqlWriter, node: &Node<'_>, parent: Option<Source<'_>>) {
    let link = node.branch.as_ref().map(|branch| &branch.relationship.link);
    if let (Some(Link::Computed(function)), Some(branch), Some(parent)) = (link, &node.branch, parent) {
        let table = &branch.relationship.table;
        sql.ident(&function.id.schema).push(".").ident(&function.id.name).push("(");
        // The cast chooses among functions of the same name, and makes a row of the table out of a row of a query.
        sql.ident(parent.bare_name()).push("::").ident(&table.schema).push(".").ident(&table.name).push(")");
    } else {
        sql.ident(node.schema).push(".").ident(node.name);
    }
    if let Some(alias) = &node.alias {
        sql.push(" AS ").ident(alias);
    }
    if let Some(Link::ManyToMany(junction)) = link {
        sql.push(", ").ident(&junction.table.schema).push(".").ident(&junction.table.name);
    }
}

/// Writes one lateral join per embedded resource.
fn write_joins(sql: &mut SqlWriter, source: Source<'_>) {
    for child in source.embeds() {
        let Some(branch) = &child.branch else { continue };
        sql.push(match branch.join {
            Join::Left => " LEFT",
            Join::Inner => " INNER",
        });
        sql.push(" JOIN LATERAL (");
        if child.is_to_one() {
            write_query(sql, child, Some(source));
        } else if child.is_spread_as_lists() {
            write_lists(sql, child, branch, source);
        } else {
            sql.push("SELECT json_agg(").ident(&branch.handle).push(") AS ").ident(&branch.handle).push(" FROM (");
            write_query(sql, child, Some(source));
            sql.push(") AS ").ident(&branch.handle);
        }
        sql.push(") AS ").ident(&branch.handle).push(" ON ");
        if branch.join == Join::Inner && !child.is_to_one() && !child.is_spread_as_lists() {
            sql.ident(&branch.handle).push(" IS NOT NULL");
        } else {
            sql.push("TRUE");
        }
    }
}

/// Writes the query of a resource of which there may be many: one row with a list for each column, or, if there has to be one
/// and is none, no row.
fn write_lists(sql: &mut SqlWriter, child: &Node<'_>, branch: &Branch<'_>, parent: Source<'_>) {
    sql.push("SELECT ").join(column_names(child), ", ", |sql, name| {
        sql.push("COALESCE(json_agg(").ident(&branch.handle).push(".").ident(&name).push("), '[]') AS ").ident(&name);
    });
    sql.push(" FROM (");
    write_query(sql, child, Some(parent));
    sql.push(") AS ").ident(&branch.handle);
    if branch.join == Join::Inner {
        sql.push(" HAVING COUNT(*) > 0");
    }
}

/// Writes ` WHERE ...`: the conditions, what relates the node to its parent, and, if it only counts, what has to be there.
fn write_restrictions(
    sql: &mut SqlWriter,
    source: Source<'_>,
    node: &Node<'_>,
    parent: Option<Source<'_>>,
    presence: Presence,
) {
    let mut separator = " WHERE ";
    if !node.conditions.is_empty() {
        sql.push(separator);
        separator = " AND ";
        write_conditions(sql, source, &node.conditions, presence);
    }
    if let (Some(branch), Some(parent)) = (&node.branch, parent) {
        write_relation(sql, source, branch, parent, &mut separator);
    }
    let required = node.children.iter().filter(|child| is_required(child) && presence == Presence::Sought);
    for child in required {
        sql.push(separator).push("EXISTS (");
        separator = " AND ";
        write_count(sql, child, Some(source));
        sql.push(")");
    }
}

fn is_required(node: &Node<'_>) -> bool {
    node.branch.as_ref().is_some_and(|branch| branch.join == Join::Inner)
}

/// Writes which rows of the node belong to a row of the parent.
fn write_relation(
    sql: &mut SqlWriter,
    source: Source<'_>,
    branch: &Branch<'_>,
    parent: Source<'_>,
    separator: &mut &'static str,
) {
    match &branch.relationship.link {
        Link::Computed(_) => {}
        Link::OneToMany(key) | Link::ManyToOne(key) | Link::OneToOne(key) => {
            for (own, foreign) in &key.columns {
                sql.push(std::mem::replace(separator, " AND "));
                source.write_column(sql, foreign);
                sql.push(" = ");
                parent.write_column(sql, own);
            }
        }
        Link::ManyToMany(junction) => {
            let mut through = |end: Source<'_>, pairs: &Pairs| {
                for (column, in_junction) in pairs {
                    sql.push(std::mem::replace(separator, " AND "));
                    sql.ident(&junction.table.schema).push(".").ident(&junction.table.name).push(".");
                    sql.ident(in_junction).push(" = ");
                    end.write_column(sql, column);
                }
            };
            through(source, &junction.target);
            through(parent, &junction.source);
        }
    }
}
