//! What the change feed needs.

use tokio_postgres::Client;

use super::finding::Finding;
use crate::config::{Config, Feed};
use crate::feed::ddl::{self, Trigger};
use crate::feed::setup::{self, Identity, Plan};
use crate::feed::{Coverage, Precision, Report, ability, report, slot_name};
use crate::origin::describe;
use crate::rest::{self, TableId};

pub(super) async fn check(client: &Client, config: &Config) -> Vec<Finding> {
    if config.coherence.feed == Feed::None {
        return vec![Finding::info("feed", "none: changes made past the proxy are noticed by lifetime and purge only")];
    }
    look(client, config)
        .await
        .unwrap_or_else(|error| vec![Finding::fail("feed", describe(&error), "look at the log of the server")])
}

async fn look(client: &Client, config: &Config) -> Result<Vec<Finding>, tokio_postgres::Error> {
    if let Some(unable) = ability(client).await? {
        let (found, fix) = ("there will be no change feed", unable.to_string());
        let asked_for = config.coherence.feed == Feed::Logical;
        return Ok(vec![if asked_for { Finding::fail("feed", found, fix) } else { Finding::warn("feed", found, fix) }]);
    }
    let schema = rest::load_schema(client, &config.database.schemas).await?;
    let slot = config.redis.as_ref().and_then(|_| slot_name(config));
    let needed = setup::needed(&schema);
    let plan = setup::plan(client, &needed, Identity::AsIs, slot.as_deref()).await?;
    let row =
        client.query_one("SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'", &[]).await?;
    let mut findings = judge(&plan);
    findings.extend(log_bound(row.try_get(0)?));
    let is_made = !plan.statements.iter().any(|statement| statement.starts_with("CREATE PUBLICATION"));
    let coverage = if is_made { Coverage::load(client).await? } else { Coverage::expected(published(&needed, &plan)) };
    findings.extend(report(&schema, &coverage).iter().map(precision));
    findings.push(definitions(ddl::look(client, config.database.channel.as_deref()).await?));
    Ok(findings)
}

/// What the publication will publish once it is made.
fn published<'t>(needed: &'t [TableId], plan: &'t Plan) -> impl Iterator<Item = TableId> + 't {
    let left_out = |table: &TableId| plan.left_out.iter().any(|one| one.id == *table);
    needed.iter().filter(move |table| !left_out(table)).cloned()
}

/// How exactly the changes of a table are announced.
fn precision(report: &Report) -> Finding {
    let found = match report.precision {
        Precision::Exact => "exact: a change invalidates what was read of the row, by any column that can be compared",
        Precision::Key => "key: a change invalidates what was read of the row by its key, and all that was not",
        Precision::Table => "table: a change invalidates all that was read of the table",
        Precision::NotCovered => "not covered: answers are not stored",
    };
    let found = format!("{} {found}", report.table);
    let fix = report.remedy.as_ref().map(|remedy| format!("{}: {}", remedy.run, remedy.effect));
    Finding { fix, ..Finding::info("precision", found) }
}

fn judge(plan: &Plan) -> Vec<Finding> {
    let mut findings = vec![match plan.statements.first() {
        None => Finding::ok("feed", "logical: publication and slot are there"),
        Some(first) if first.starts_with("CREATE PUBLICATION") => {
            Finding::info("feed", "logical: the first node makes publication and slot; or `transom setup` does")
        }
        Some(first) if first.starts_with("ALTER PUBLICATION") => {
            let fix = "run `transom setup`: until then answers from these tables are not stored";
            Finding::warn("feed", format!("tables are missing in the publication: {first}"), fix)
        }
        Some(_) => Finding::info("feed", "logical: the first node makes the slot; or `transom setup` does"),
    }];
    let left_out = |left_out: &setup::LeftOut| {
        let found = format!("answers from {} are not stored", left_out.table);
        Finding::warn("feed", found, left_out.why.to_string())
    };
    findings.extend(plan.left_out.iter().map(left_out));
    findings
}

/// A slot that nobody reads keeps the log from being thrown away.
fn log_bound(megabytes: i64) -> Option<Finding> {
    let fix = "set max_slot_wal_keep_size (say 10GB): should no node run for long, the log must not fill the disk; a slot \
               that is lost costs one cold cache";
    (megabytes < 0).then(|| Finding::warn("max_slot_wal_keep_size", "unlimited", fix))
}

/// Who tells of changed definitions.
fn definitions(trigger: Trigger) -> Finding {
    let what = "definitions";
    match trigger {
        Trigger::Present => Finding::ok(what, "an event trigger tells every node at once when one changes"),
        Trigger::Absent => Finding::warn(
            what,
            "no event trigger: nodes hear of ALTER, CREATE OR REPLACE, DROP and GRANT only by NOTIFY on db_channel or SIGUSR1",
            "run `transom setup` as a superuser, or notify after every change of a view, function, policy or grant",
        ),
        Trigger::Outdated => Finding::warn(
            what,
            "the event trigger is disabled, or was made by another release or for another db_channel",
            "run `transom setup` as a superuser",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_remedy() {
        let levels = |plan: &Plan| judge(plan).iter().map(|finding| finding.level).collect::<Vec<_>>();
        let plan = |statement: &str| Plan { statements: vec![statement.to_owned()], left_out: Vec::new() };
        assert_eq!(levels(&Plan::default()), [Level::Ok]);
        assert_eq!(levels(&plan("CREATE PUBLICATION transom")), [Level::Info]);
        assert_eq!(levels(&plan("ALTER PUBLICATION transom ADD TABLE a")), [Level::Warn]);
        assert_eq!(levels(&plan("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")), [Level::Info]);
        let table = TableId { schema: "s".into(), name: "a".into() };
        let keyless = setup::LeftOut { table: "s.a".to_owned(), id: table, why: setup::Why::NoIdentity };
        assert_eq!(levels(&Plan { left_out: vec![keyless], ..Plan::default() }), [Level::Ok, Level::Warn]);
        assert!(log_bound(10_240).is_none());
        assert_eq!(log_bound(-1).map(|finding| finding.level), Some(Level::Warn));
    }
}
