//! The objects that the feed needs in the database: the publication, and the slot.
//!
//! Postgres refuses UPDATE and DELETE on a table that publishes them and has no replica identity
//! (<https://www.postgresql.org/docs/current/logical-replication-publication.html>). So such a table is never published:
//! it is left out, said, and not covered. `REPLICA IDENTITY FULL` would do, at the price of larger log records, and is the
//! owner's choice alone.

use std::fmt;

use tokio_postgres::{Client, error::SqlState};

use super::{PUBLICATION, slot};
use crate::rest::{SchemaCache, TableId};

/// Whether tables may be given a replica identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// leave them as they are
    AsIs,
    /// `REPLICA IDENTITY FULL` where there is none
    Full,
}

/// What is to be done, and what cannot be helped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// to be run one by one
    pub statements: Vec<String>,
    /// tables that stay uncovered
    pub left_out: Vec<LeftOut>,
}

/// A table that stays uncovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// its quoted name
    pub table: String,
    /// its name
    pub id: TableId,
    /// why
    pub why: Why,
}

/// Why a table stays uncovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// it, or one of its partitions, has no replica identity
    NoIdentity,
    /// this role does not own it, and may not publish it
    NotOwned,
    /// the publication belongs to another role, or leaves out kinds of change
    Publication,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoIdentity => {
                "no replica identity: give it a primary key, or run `transom setup --replica-identity-full`"
            }
            Self::NotOwned => "owned by another role: run `transom setup` as its owner or as a superuser",
            Self::Publication => {
                "the publication `transom` belongs to another role, or does not publish all of insert, update, delete, \
                 truncate: correct it as its owner"
            }
        })
    }
}

/// The publication as it is.
#[derive(Debug, Clone, Copy)]
struct Publication {
    all_tables: bool,
    /// whether it publishes every kind of change
    whole: bool,
    owned: bool,
}

/// A table that is not part of a partitioned one, or the root of one.
#[derive(Debug, Clone)]
struct Candidate {
    name: String,
    id: TableId,
    /// itself or those of its partitions that have no replica identity
    without_identity: Vec<String>,
    published: bool,
    owned: bool,
}

/// Every table that an answer of these schemas may depend on.
pub fn needed(schema: &SchemaCache) -> Vec<TableId> {
    let mut tables: Vec<TableId> =
        schema.relations().flat_map(|relation| relation.reads.tables.iter().cloned()).collect();
    tables.sort();
    tables.dedup();
    tables
}

/// Looks at the database and says what is to be done. `slot` is the name of the slot that is wanted, if one is.
///
/// # Errors
/// If Postgres refuses.
pub async fn plan(
    client: &Client,
    needed: &[TableId],
    identity: Identity,
    slot: Option<&str>,
) -> Result<Plan, tokio_postgres::Error> {
    let publication = publication(client).await?;
    let candidates = candidates(client, needed).await?;
    let mut plan = decide(publication, &candidates, identity);
    if let Some(name) = slot
        && slot::look(client, name).await? == slot::Slot::Absent
    {
        let sql = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
        plan.statements.push(sql);
    }
    Ok(plan)
}

const REMOVAL_SQL: &str = "\
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'transom'), \
EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1)";

/// How to take away all that was ever made, for either kind of feed. Nodes that still run make the publication and their slot
/// again.
///
/// # Errors
/// If Postgres refuses.
pub async fn removal(client: &Client, slot: Option<&str>) -> Result<Plan, tokio_postgres::Error> {
    let row = client.query_one(REMOVAL_SQL, &[&PUBLICATION]).await?;
    let mut plan = Plan::default();
    if row.try_get(0)? {
        // The triggers go with the functions that they call.
        plan.statements.push("DROP SCHEMA transom CASCADE".to_owned());
    }
    if let Some(name) = slot
        && slot::look(client, name).await? != slot::Slot::Absent
    {
        plan.statements.push(format!("SELECT pg_drop_replication_slot('{name}')"));
    }
    if row.try_get(1)? {
        plan.statements.push(format!("DROP PUBLICATION {PUBLICATION}"));
    }
    Ok(plan)
}

/// Makes the publication if there is none. What is there is left as it is: that is for `transom setup`.
pub(super) async fn ensure_publication(client: &Client, needed: &[TableId]) -> Result<(), tokio_postgres::Error> {
    if publication(client).await?.is_some() {
        return Ok(());
    }
    let candidates = candidates(client, needed).await?;
    for statement in decide(None, &candidates, Identity::AsIs).statements {
        match client.batch_execute(&statement).await {
            Ok(()) => tracing::info!(%statement, "change feed: ran"),
            // Another node was faster.
            Err(error) if error.code() == Some(&SqlState::DUPLICATE_OBJECT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn decide(publication: Option<Publication>, candidates: &[Candidate], identity: Identity) -> Plan {
    let mut plan = Plan::default();
    let mut added = Vec::new();
    let whole = publication.is_none_or(|publication| publication.whole);
    let extensible = publication.is_none_or(|publication| publication.owned);
    for candidate in candidates {
        let mut leave_out =
            |why| plan.left_out.push(LeftOut { table: candidate.name.clone(), id: candidate.id.clone(), why });
        let published = candidate.published || publication.is_some_and(|publication| publication.all_tables);
        match (candidate.without_identity.is_empty(), identity) {
            _ if !whole || !(published || extensible) => leave_out(Why::Publication),
            _ if published => {}
            _ if !candidate.owned => leave_out(Why::NotOwned),
            (false, Identity::AsIs) => leave_out(Why::NoIdentity),
            (_, _) => {
                let full = |table: &String| format!("ALTER TABLE {table} REPLICA IDENTITY FULL");
                plan.statements.extend(candidate.without_identity.iter().map(full));
                added.push(candidate.name.as_str());
            }
        }
    }
    match (publication, added.as_slice()) {
        (None, []) => plan.statements.push(format!("CREATE PUBLICATION {PUBLICATION}")),
        (None, added) => {
            plan.statements.push(format!("CREATE PUBLICATION {PUBLICATION} FOR TABLE {}", added.join(", ")));
        }
        (Some(_), []) => {}
        (Some(_), added) => {
            plan.statements.push(format!("ALTER PUBLICATION {PUBLICATION} ADD TABLE {}", added.join(", ")));
        }
    }
    plan
}

const PUBLICATION_SQL: &str = "\
SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate, pg_has_role(pubowner, 'USAGE') \
FROM pg_catalog.pg_publication WHERE pubname = $1";

async fn publication(client: &Client) -> Result<Option<Publication>, tokio_postgres::Error> {
    let Some(row) = client.query_opt(PUBLICATION_SQL, &[&PUBLICATION]).await? else { return Ok(None) };
    Ok(Some(Publication { all_tables: row.try_get(0)?, whole: row.try_get(1)?, owned: row.try_get(2)? }))
}

/// Partitions are published by way of their root, so that those to come are too.
const CANDIDATES_SQL: &str = "\
WITH wanted AS (\
SELECT DISTINCT coalesce(pg_partition_root(c.oid)::oid, c.oid) AS oid \
FROM unnest($1::text[], $2::text[]) AS w(space, name) \
JOIN pg_catalog.pg_namespace n ON n.nspname = w.space \
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name \
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384), \
members AS (\
SELECT w.oid AS top, format('%I.%I', n.nspname, c.relname) AS name, CASE c.relreplident \
WHEN 'f' THEN true \
WHEN 'd' THEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate) \
WHEN 'i' THEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident) \
ELSE false END AS identified \
FROM wanted w CROSS JOIN LATERAL \
(SELECT w.oid AS relid UNION SELECT t.relid::oid FROM pg_partition_tree(w.oid) t) AS own \
JOIN pg_catalog.pg_class c ON c.oid = own.relid AND c.relkind IN ('r', 'p') \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace) \
SELECT format('%I.%I', n.nspname, c.relname), \
ARRAY(SELECT m.name FROM members m WHERE m.top = w.oid AND NOT m.identified ORDER BY m.name), \
EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = $3 AND (\
EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = w.oid) \
OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace))), \
pg_has_role(c.relowner, 'USAGE'), n.nspname::text, c.relname::text \
FROM wanted w JOIN pg_catalog.pg_class c ON c.oid = w.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
ORDER BY 1";

async fn candidates(client: &Client, needed: &[TableId]) -> Result<Vec<Candidate>, tokio_postgres::Error> {
    let schemas: Vec<&str> = needed.iter().map(|table| &*table.schema).collect();
    let names: Vec<&str> = needed.iter().map(|table| &*table.name).collect();
    let rows = client.query(CANDIDATES_SQL, &[&schemas, &names, &PUBLICATION]).await?;
    rows.iter()
        .map(|row| {
            Ok(Candidate {
                name: row.try_get(0)?,
                without_identity: row.try_get(1)?,
                published: row.try_get(2)?,
                owned: row.try_get(3)?,
                id: TableId { schema: row.try_get::<_, &str>(4)?.into(), name: row.try_get::<_, &str>(5)?.into() },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TableId {
        TableId { schema: "s".into(), name: name.into() }
    }

    fn candidate(name: &str) -> Candidate {
        Candidate { name: name.to_owned(), id: id(name), without_identity: Vec::new(), published: false, owned: true }
    }

    fn keyless(name: &str) -> Candidate {
        Candidate { without_identity: vec![name.to_owned()], ..candidate(name) }
    }

    const OURS: Publication = Publication { all_tables: false, whole: true, owned: true };

    #[test]
    fn tables_without_an_identity_are_left_alone_unless_their_owner_says_so() {
        let candidates = [candidate("s.a"), keyless("s.b")];
        let plan = decide(None, &candidates, Identity::AsIs);
        assert_eq!(plan.statements, ["CREATE PUBLICATION transom FOR TABLE s.a"]);
        assert_eq!(plan.left_out, [LeftOut { table: "s.b".to_owned(), id: id("s.b"), why: Why::NoIdentity }]);
        let plan = decide(None, &candidates, Identity::Full);
        assert_eq!(
            plan.statements,
            ["ALTER TABLE s.b REPLICA IDENTITY FULL", "CREATE PUBLICATION transom FOR TABLE s.a, s.b"]
        );
        assert_eq!(plan.left_out, []);
    }

    #[test]
    fn what_is_there_is_added_to_and_not_made_again() {
        let there = Candidate { published: true, ..candidate("s.a") };
        let plan = decide(Some(OURS), &[there.clone(), candidate("s.b")], Identity::AsIs);
        assert_eq!(plan.statements, ["ALTER PUBLICATION transom ADD TABLE s.b"]);
        assert_eq!(decide(Some(OURS), &[there], Identity::AsIs), Plan::default());
        let all = Publication { all_tables: true, owned: false, ..OURS };
        assert_eq!(decide(Some(all), &[candidate("s.b")], Identity::AsIs), Plan::default());
        assert_eq!(decide(None, &[], Identity::AsIs).statements, ["CREATE PUBLICATION transom"]);
    }

    #[test]
    fn what_this_role_may_not_do_is_said() {
        let foreign = Candidate { owned: false, ..candidate("s.a") };
        assert_eq!(decide(None, &[foreign], Identity::AsIs).left_out[0].why, Why::NotOwned);
        for publication in [Publication { owned: false, ..OURS }, Publication { whole: false, ..OURS }] {
            assert_eq!(
                decide(Some(publication), &[candidate("s.a")], Identity::AsIs).left_out[0].why,
                Why::Publication
            );
        }
    }
}
