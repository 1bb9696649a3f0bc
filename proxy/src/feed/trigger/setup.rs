//! What is to be done so that tables record their changes.

use tokio_postgres::Client;

use super::objects::{Column, KEEP_REVOKED, Kind, Recorded, TABLES, identifier, keep, sign, sign_granted};
use crate::{
    feed::setup::{LeftOut, Plan, Why},
    rest::TableId,
};

/// Looks at the database and says what is to be done.
///
/// Triggers need no quiet moment: CREATE TRIGGER waits until the transactions that wrote to the table are over, and those
/// that come after it record. So nothing that a reader may have missed is in flight when it begins.
///
/// `reader` is a role that is to read what is recorded, besides the one that installs it.
///
/// # Errors
/// If Postgres refuses.
pub async fn plan(client: &Client, needed: &[TableId], reader: Option<&str>) -> Result<Plan, tokio_postgres::Error> {
    let there = installed(client).await?;
    let mut plan = decide(&there, candidates(client, needed).await?);
    plan.statements.extend(reader.into_iter().flat_map(granted));
    Ok(plan)
}

/// The table that a statement of a [`plan`] makes record, said once per table.
#[must_use]
pub fn table_of(statement: &str) -> Option<&str> {
    let rest = statement.strip_prefix("CREATE OR REPLACE TRIGGER transom_insert AFTER INSERT ON ")?;
    [" REFERENCING ", " FOR EACH STATEMENT"].into_iter().find_map(|end| Some(&rest[..rest.find(end)?]))
}

/// The rights of a role that only reads and sweeps.
fn granted(role: &str) -> Vec<String> {
    let role = identifier(role);
    vec![
        format!("GRANT USAGE ON SCHEMA transom TO {role}"),
        format!("GRANT SELECT, DELETE ON transom.outbox TO {role}"),
        format!("GRANT SELECT, UPDATE ON transom.swept, transom.recorded, transom.swept_to TO {role}"),
    ]
}

/// A table that an answer may depend on, or that is part of one.
#[derive(Debug, Clone)]
struct Candidate {
    id: TableId,
    recorded: Recorded,
    owned: bool,
    /// the body of its function, if all its triggers call that
    body: Option<String>,
}

/// What there is of the common objects.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Installed {
    tables: bool,
    /// the bodies of the functions that are not of one table
    functions: Vec<String>,
}

fn decide(there: &Installed, candidates: Vec<Candidate>) -> Plan {
    let mut plan = Plan::default();
    if !there.tables {
        plan.statements.extend(TABLES.map(str::to_owned));
    }
    for (function, rights) in [(keep(), KEEP_REVOKED.to_owned()), (sign(), sign_granted())] {
        if !there.functions.iter().any(|body| function.contains(body.as_str())) {
            plan.statements.extend([function, rights]);
        }
    }
    for Candidate { id, recorded, owned, body } in candidates {
        if body.is_some_and(|body| body == recorded.body()) {
            continue;
        }
        if owned {
            plan.statements.extend(recorded.statements());
        } else {
            plan.left_out.push(LeftOut { table: recorded.name, id, why: Why::NotOwned });
        }
    }
    plan
}

const INSTALLED_SQL: &str = "\
SELECT to_regclass('transom.outbox') IS NOT NULL AND to_regclass('transom.swept') IS NOT NULL \
AND to_regclass('transom.recorded') IS NOT NULL AND to_regclass('transom.swept_to') IS NOT NULL, \
ARRAY(SELECT p.prosrc FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
WHERE n.nspname = 'transom' AND p.proname IN ('keep', 'sign_write'))";

async fn installed(client: &Client) -> Result<Installed, tokio_postgres::Error> {
    let row = client.query_one(INSTALLED_SQL, &[]).await?;
    Ok(Installed { tables: row.try_get(0)?, functions: row.try_get(1)? })
}

/// Every table that is wanted, and every partition and child of one, because their rows change by themselves too. With the
/// columns whose text can be compared, and the body of the function that four enabled triggers call.
const CANDIDATES_SQL: &str = "\
WITH RECURSIVE wanted AS (\
SELECT c.oid FROM unnest($1::text[], $2::text[]) AS w(space, name) \
JOIN pg_catalog.pg_namespace n ON n.nspname = w.space \
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name \
UNION SELECT i.inhrelid FROM wanted JOIN pg_catalog.pg_inherits i ON i.inhparent = wanted.oid) \
SELECT c.oid, format('%I.%I', n.nspname, c.relname), pg_has_role(c.relowner, 'USAGE'), \
ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
AND (t.typtype = 'e' OR a.atttypid IN (16, 20, 21, 23, 25, 1043, 2950)) ORDER BY a.attnum), \
ARRAY(SELECT CASE a.atttypid WHEN 16 THEN 'b' WHEN 25 THEN 't' WHEN 1043 THEN 't' ELSE 'p' END \
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
AND (t.typtype = 'e' OR a.atttypid IN (16, 20, 21, 23, 25, 1043, 2950)) ORDER BY a.attnum), \
(SELECT p.prosrc FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace \
WHERE s.nspname = 'transom' AND p.proname = 'record_' || c.oid AND (\
SELECT bit_or(t.tgtype & 60) FROM pg_catalog.pg_trigger t \
WHERE t.tgrelid = c.oid AND t.tgfoid = p.oid AND t.tgenabled = 'A') = 60), n.nspname::text, c.relname::text \
FROM wanted JOIN pg_catalog.pg_class c ON c.oid = wanted.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384 ORDER BY 2";

async fn candidates(client: &Client, needed: &[TableId]) -> Result<Vec<Candidate>, tokio_postgres::Error> {
    let schemas: Vec<&str> = needed.iter().map(|table| &*table.schema).collect();
    let names: Vec<&str> = needed.iter().map(|table| &*table.name).collect();
    let rows = client.query(CANDIDATES_SQL, &[&schemas, &names]).await?;
    rows.iter()
        .map(|row| {
            let (names, kinds): (Vec<String>, Vec<&str>) = (row.try_get(3)?, row.try_get(4)?);
            let columns =
                names.into_iter().zip(kinds).map(|(name, kind)| Column { name, kind: kind_of(kind) }).collect();
            let recorded = Recorded { oid: row.try_get(0)?, name: row.try_get(1)?, columns };
            let id = TableId { schema: row.try_get::<_, &str>(6)?.into(), name: row.try_get::<_, &str>(7)?.into() };
            Ok(Candidate { id, recorded, owned: row.try_get(2)?, body: row.try_get(5)? })
        })
        .collect()
}

fn kind_of(letter: &str) -> Kind {
    match letter {
        "b" => Kind::Boolean,
        "t" => Kind::Text,
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(oid: u32) -> Candidate {
        let columns = vec![Column { name: "id".to_owned(), kind: Kind::Plain }];
        let id = TableId { schema: "s".into(), name: format!("t{oid}").into() };
        Candidate { id, recorded: Recorded { oid, name: format!("s.t{oid}"), columns }, owned: true, body: None }
    }

    fn sound() -> Installed {
        let body = |function: String| function.split("$transom$").nth(1).expect("it has a body").to_owned();
        Installed { tables: true, functions: vec![body(keep()), body(sign())] }
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let body = candidate(1).recorded.body();
        let plan = decide(&sound(), vec![Candidate { body: Some(body), ..candidate(1) }]);
        assert_eq!(plan, Plan::default());
        let plan = decide(&Installed { tables: false, functions: Vec::new() }, Vec::new());
        assert_eq!(plan.statements.len(), TABLES.len() + 4);
    }

    #[test]
    fn a_table_whose_columns_changed_records_them_anew() {
        let plan = decide(&sound(), vec![Candidate { body: Some("of before".to_owned()), ..candidate(7) }]);
        assert_eq!(plan.statements.len(), 6);
        assert!(plan.statements[0].contains("transom.record_7()"), "{}", plan.statements[0]);
    }

    #[test]
    fn somebody_elses_table_is_left_to_its_owner() {
        let plan = decide(&sound(), vec![Candidate { owned: false, ..candidate(1) }]);
        assert_eq!(plan.left_out, [LeftOut { table: "s.t1".to_owned(), id: candidate(1).id, why: Why::NotOwned }]);
        assert!(plan.statements.is_empty());
    }
}
