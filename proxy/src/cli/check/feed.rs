//! What the change feed needs.

use tokio_postgres::Client;

use super::finding::Finding;
use crate::config::{Config, Feed};
use crate::feed::ddl::{self, Trigger};
use crate::feed::setup::{self, Identity, LeftOut, Plan};
use crate::feed::{self, Choice, Coverage, Kind, Precision, Report, ability, report, slot_name, trigger};
use crate::origin::describe;
use crate::rest::{self, TableId};

pub(super) async fn check(client: &Client, config: &Config) -> Vec<Finding> {
    look(client, config)
        .await
        .unwrap_or_else(|error| vec![Finding::fail("feed", describe(&error), "look at the log of the server")])
}

async fn look(client: &Client, config: &Config) -> Result<Vec<Finding>, tokio_postgres::Error> {
    match config.coherence.feed {
        Feed::None => {
            let found = "none: changes made past the proxy are noticed by lifetime and purge only";
            Ok(vec![Finding::info("feed", found)])
        }
        Feed::Logical => match ability(client).await? {
            Some(unable) => Ok(vec![Finding::fail("feed", "there will be no change feed", unable.to_string())]),
            None => logical(client, config, "as the setting says").await,
        },
        Feed::Trigger => triggers(client, config, "as the setting says").await,
        Feed::IfAble => {
            let Choice { kind, why } = feed::look(client).await?;
            match kind {
                Some(Kind::Logical) => logical(client, config, &why).await,
                Some(Kind::Trigger) => triggers(client, config, &why).await,
                None => Ok(vec![Finding::warn("feed", "there will be no change feed", why)]),
            }
        }
    }
}

async fn logical(client: &Client, config: &Config, why: &str) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let schema = rest::load_schema(client, &config.database.schemas).await?;
    let slot = config.redis.as_ref().and_then(|_| slot_name(config));
    let needed = setup::needed(&schema);
    let plan = setup::plan(client, &needed, Identity::AsIs, slot.as_deref()).await?;
    let row =
        client.query_one("SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'", &[]).await?;
    let mut findings = judge_logical(&plan, why);
    findings.push(log_bound(row.try_get(0)?));
    let is_made = !plan.statements.iter().any(|statement| statement.starts_with("CREATE PUBLICATION"));
    let coverage = if is_made { Coverage::load(client).await? } else { Coverage::expected(published(&needed, &plan)) };
    findings.extend(report(&schema, &coverage).iter().map(precision));
    findings.push(definitions(ddl::look(client, config.database.channel.as_deref()).await?));
    Ok(findings)
}

/// What will be published, or recorded, once the plan is carried out.
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

fn judge_logical(plan: &Plan, why: &str) -> Vec<Finding> {
    let mut findings = vec![match plan.statements.first() {
        None => Finding::ok("feed", format!("logical ({why}): publication and slot are there")),
        Some(first) if first.starts_with("CREATE PUBLICATION") => Finding::info(
            "feed",
            format!("logical ({why}): the first node makes publication and slot; or `transom setup` does"),
        ),
        Some(first) if first.starts_with("ALTER PUBLICATION") => {
            let fix = "run `transom setup`: until then answers from these tables are not stored";
            Finding::warn("feed", format!("tables are missing in the publication: {first}"), fix)
        }
        Some(_) => {
            Finding::info("feed", format!("logical ({why}): the first node makes the slot; or `transom setup` does"))
        }
    }];
    findings.extend(plan.left_out.iter().map(not_stored));
    findings
}

async fn triggers(client: &Client, config: &Config, why: &str) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let schema = rest::load_schema(client, &config.database.schemas).await?;
    let needed = setup::needed(&schema);
    let plan = trigger::setup::plan(client, &needed, None).await?;
    let mut findings = judge_triggers(&plan, why);
    // As it will be once what is said above is done.
    let coverage = Coverage::expected(published(&needed, &plan));
    findings.extend(report(&schema, &coverage).iter().map(precision));
    findings.push(definitions(ddl::look(client, config.database.channel.as_deref()).await?));
    Ok(findings)
}

fn judge_triggers(plan: &Plan, why: &str) -> Vec<Finding> {
    let fix = "run `transom setup --feed trigger`: until then answers from these tables are not stored";
    let tables: Vec<&str> =
        plan.statements.iter().filter_map(|statement| trigger::setup::table_of(statement)).collect();
    let mut findings = vec![match plan.statements.first() {
        None => Finding::ok("feed", format!("trigger ({why}): all tables record what changes")),
        Some(first) if first.starts_with("CREATE SCHEMA") => Finding::fail(
            "feed",
            format!("trigger ({why}): nothing is installed"),
            "run `transom setup --feed trigger`",
        ),
        Some(_) if tables.is_empty() => Finding::warn("feed", format!("trigger ({why}): of another release"), fix),
        Some(_) => {
            let found = "triggers are missing, disabled, or of a table that has other columns now";
            Finding::warn("feed", format!("{found}: {}", tables.join(", ")), fix)
        }
    }];
    findings.extend(plan.left_out.iter().map(not_stored));
    findings
}

fn not_stored(left_out: &LeftOut) -> Finding {
    Finding::warn("feed", format!("answers from {} are not stored", left_out.table), left_out.why.to_string())
}

/// A slot that nobody reads keeps the log from being thrown away.
fn log_bound(megabytes: i64) -> Finding {
    let name = "max_slot_wal_keep_size";
    if megabytes < 0 {
        let fix = "set it (say 10GB): should no node run for long, the log that is kept for the slot must not fill the disk; \
                   a slot that is lost costs one cold cache";
        return Finding::warn(name, "unlimited", fix);
    }
    Finding::ok(name, format!("{megabytes} MB: a slot that is further behind is lost, which costs one cold cache"))
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

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    fn plan(statement: &str) -> Plan {
        Plan { statements: vec![statement.to_owned()], left_out: Vec::new() }
    }

    #[test]
    fn what_is_missing_in_the_publication_is_said_with_its_remedy() {
        let levels = |plan: &Plan| levels(&judge_logical(plan, ""));
        assert_eq!(levels(&Plan::default()), [Level::Ok]);
        assert_eq!(levels(&plan("CREATE PUBLICATION transom")), [Level::Info]);
        assert_eq!(levels(&plan("ALTER PUBLICATION transom ADD TABLE a")), [Level::Warn]);
        assert_eq!(levels(&plan("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")), [Level::Info]);
        let table = TableId { schema: "s".into(), name: "a".into() };
        let keyless = LeftOut { table: "s.a".to_owned(), id: table, why: setup::Why::NoIdentity };
        assert_eq!(levels(&Plan { left_out: vec![keyless], ..Plan::default() }), [Level::Ok, Level::Warn]);
    }

    #[test]
    fn what_is_missing_of_the_triggers_is_said_with_its_remedy() {
        let levels = |plan: &Plan| levels(&judge_triggers(plan, ""));
        assert_eq!(levels(&Plan::default()), [Level::Ok]);
        assert_eq!(levels(&plan("CREATE SCHEMA IF NOT EXISTS transom")), [Level::Fail]);
        let missing = plan("CREATE OR REPLACE TRIGGER transom_insert AFTER INSERT ON s.a FOR EACH STATEMENT ...");
        assert_eq!(levels(&missing), [Level::Warn]);
        assert!(judge_triggers(&missing, "")[0].to_string().contains("s.a"));
        assert_eq!(levels(&plan("CREATE OR REPLACE FUNCTION transom.keep ...")), [Level::Warn]);
    }

    #[test]
    fn the_bound_of_the_log_is_said_also_if_it_is_sound() {
        assert_eq!(log_bound(10_240).level, Level::Ok);
        assert_eq!(log_bound(-1).level, Level::Warn);
    }
}
