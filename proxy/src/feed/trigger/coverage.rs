//! Which tables record every change, and what makes up what.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ended, line::Line};
use crate::{feed::coverage::Coverage, rest::TableId};

/// Names the state of the triggers: it differs whenever one of them, its function, the names of its table and schema or the
/// inheritance between tables does, also if that was changed and changed back; and when the recording had stopped.
pub(super) const VERSION_SQL: &str = "\
(SELECT 'trigger-' || md5(concat_ws(' ', (SELECT s.flips FROM transom.swept s), \
(SELECT string_agg(concat_ws(':', t.oid, t.xmin, p.xmin, k.xmin, c.relnamespace::regnamespace, c.relpersistence, c.relname), ' ' ORDER BY t.oid) \
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace \
JOIN pg_class c ON c.oid = t.tgrelid LEFT JOIN pg_proc k ON k.pronamespace = n.oid AND k.proname = 'keep' \
WHERE n.nspname = 'transom'), \
(SELECT string_agg(concat_ws(':', i.inhrelid, i.inhparent, i.xmin), ' ' ORDER BY i.inhrelid, i.inhparent) \
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f')))))";

/// A table is covered if all four triggers of it are enabled, and those of all that inherit from it: whoever writes to a
/// partition does not fire the triggers of the table that it is a part of.
const TABLES_SQL: &str = "\
WITH RECURSIVE armed AS (SELECT t.tgrelid AS relid FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_class c ON c.oid = t.tgrelid AND c.relpersistence = 'p' \
WHERE n.nspname = 'transom' AND p.proname = 'record_' || t.tgrelid AND t.tgenabled = 'A' AND t.tgqual IS NULL \
AND t.tgtype & 67 = 0 GROUP BY 1 HAVING bit_or(t.tgtype & 60) = 60), \
below AS (SELECT relid AS top, relid FROM armed \
UNION SELECT b.top, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.relid) \
SELECT n.nspname::text, c.relname::text FROM armed JOIN pg_class c ON c.oid = armed.relid \
JOIN pg_namespace n ON n.oid = c.relnamespace \
WHERE NOT EXISTS (SELECT FROM below b WHERE b.top = c.oid AND b.relid NOT IN (SELECT relid FROM armed))";

const KIN_SQL: &str = "\
WITH RECURSIVE below AS (SELECT i.inhparent AS top, i.inhrelid AS relid FROM pg_inherits i \
JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f') \
UNION SELECT b.top, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.relid) \
SELECT tn.nspname::text, t.relname::text, rn.nspname::text, r.relname::text FROM below \
JOIN pg_class t ON t.oid = below.top JOIN pg_namespace tn ON tn.oid = t.relnamespace \
JOIN pg_class r ON r.oid = below.relid JOIN pg_namespace rn ON rn.oid = r.relnamespace";

/// The tables that share rows with a table: what it is a part of, and what is a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kin(BTreeMap<TableId, BTreeSet<TableId>>);

impl Kin {
    pub(super) fn of<'k>(&'k self, table: &TableId) -> impl Iterator<Item = &'k TableId> + use<'k> {
        self.0.get(table).into_iter().flatten()
    }

    pub(super) fn add(&mut self, top: TableId, part: TableId) {
        self.0.entry(top.clone()).or_default().insert(part.clone());
        self.0.entry(part).or_default().insert(top);
    }
}

/// Reads the version first: what changes in between has another one by the time it counts.
pub(super) async fn load(line: &Line) -> Result<(Coverage, Kin), Ended> {
    let version = version(line).await?;
    let covered = line.ask(TABLES_SQL, &[]).await?;
    let covered = covered.iter().map(|row| table(row, 0)).collect::<Result<BTreeSet<_>, _>>()?;
    let mut kin = Kin::default();
    for row in line.ask(KIN_SQL, &[]).await? {
        kin.add(table(&row, 0)?, table(&row, 2)?);
    }
    Ok((Coverage::of(version, covered), kin))
}

/// The version right now.
pub(super) async fn version(line: &Line) -> Result<String, Ended> {
    static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("SELECT {VERSION_SQL}"));
    Ok(line.ask_one(&SQL, &[]).await?.try_get(0)?)
}

fn table(row: &tokio_postgres::Row, at: usize) -> Result<TableId, tokio_postgres::Error> {
    Ok(TableId { schema: row.try_get::<_, &str>(at)?.into(), name: row.try_get::<_, &str>(at + 1)?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kin_is_mutual() {
        let table = |name: &str| TableId { schema: "s".into(), name: name.into() };
        let mut kin = Kin::default();
        kin.add(table("top"), table("leaf"));
        assert!(kin.of(&table("top")).eq([&table("leaf")]) && kin.of(&table("leaf")).eq([&table("top")]));
        assert_eq!(kin.of(&table("other")).count(), 0);
    }
}
