//! The feed by triggers, on a server without logical replication.

mod breaks;
mod objects;

use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::OnceCell;
use transom_tests::{Database, Lease, Node, NodeBuilder, Postgres, Redis, Signal, binary, eventually};

use super::handover::{Load, add_counters};
use super::{PLANE, SOON, UNITED, epoch, leaders, nodes, see_changes, until_hit, until_old_hit, until_text};

/// A cluster whose log cannot be decoded. It stays for all tests of this kind that do not stop it.
async fn plain() -> &'static Postgres {
    static PLAIN: OnceCell<Postgres> = OnceCell::const_new();
    PLAIN.get_or_init(own_plain).await
}

async fn own_plain() -> Postgres {
    let mut postgres = Postgres::own().await;
    postgres.admin().await.batch_execute("alter system set wal_level = replica").await.expect("it is ours");
    postgres.stop().await;
    postgres.start().await;
    postgres
}

/// What `transom setup` says.
fn setup(database: &Database, flags: &[&str]) -> String {
    let output = Command::new(binary()).arg("setup").args(flags).env("DATABASE_URL", database.url()).output();
    let output = output.expect("it is built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn recording(sql: &str) -> Database {
    let database = plain().await.database().await;
    if !sql.is_empty() {
        database.execute(sql).await;
    }
    setup(&database, &["--feed", "trigger"]);
    database
}

fn fed(database: &Database) -> NodeBuilder {
    NodeBuilder::on(database).set("feed", "trigger")
}

const RELATED: &str = "
    create table parents (id int primary key, note text);
    create table children (id int primary key, parent int references parents on delete cascade);
    create table events (id int, note text) partition by range (id);
    create table events_1 partition of events for values from (0) to (10);
    create table events_2 partition of events for values from (10) to (20);
    create view second as select * from events_2;
    create table written (id int primary key, note text);
    create table log (note text);
    create function note() returns trigger language plpgsql as
        'begin insert into log values (new.note); return null; end';
    create trigger note after insert on written for each row execute function note();
    create table keyless (note text);
    insert into parents values (1, 'first'); insert into children values (1, 1); insert into events values (1, 'first');
    grant select on all tables in schema public to web_anon";

/// Each change by SQL, what is read, and what it says afterwards.
const CHANGES: [(&str, &str, &str); 14] = [
    ("insert into parents values (2, 'second')", "/parents", "second"),
    ("update parents set note = 'third' where id = 2", "/parents?id=eq.2", "third"),
    ("insert into parents values (2, '') on conflict (id) do update set note = 'fourth'", "/parents?id=eq.2", "fourth"),
    ("copy parents from program 'printf \"3\\tfifth\\n\"'", "/parents?id=eq.3", "fifth"),
    ("delete from parents where id = 1", "/children", "[]"),
    ("insert into parents select n, 'bulk' from generate_series(100, 9000) n", "/parents?id=eq.9000", "bulk"),
    ("truncate parents cascade", "/parents", "[]"),
    ("insert into written values (1, 'by a trigger')", "/log", "by a trigger"),
    ("update events set note = 'through the whole'", "/events", "through the whole"),
    ("update events_1 set note = 'through the part'", "/events", "through the part"),
    ("update events set id = 11 where id = 1", "/second", "through the part"),
    ("insert into keyless values ('without a key')", "/keyless", "without a key"),
    ("update keyless set note = 'still none'", "/keyless", "still none"),
    ("set session_replication_role = replica; delete from keyless", "/keyless", "[]"),
];

async fn see_every_change(database: &Database, nodes: &[Node]) {
    for (sql, target, expected) in CHANGES {
        for node in nodes {
            until_hit(node.rest(), target).await;
        }
        database.execute(sql).await;
        for node in nodes {
            until_text(node.rest(), target, expected).await;
        }
    }
    see_changes(database, nodes).await;
}

#[tokio::test]
async fn every_change_by_sql_is_seen_on_every_node_around_a_redis() {
    let database = recording(RELATED).await;
    let redis = Redis::start().await;
    let nodes = nodes(&fed(&database).redis(&redis), 3).await;
    assert_eq!(leaders(&nodes).await.len(), 1, "one node leads");
    see_every_change(&database, &nodes).await;
}

#[tokio::test]
async fn every_change_by_sql_is_seen_on_every_node_without_a_redis_and_then_swept() {
    let database = recording(RELATED).await;
    let nodes = nodes(&fed(&database), 2).await;
    assert_eq!(leaders(&nodes).await.len(), 2, "every node reads for itself");
    see_every_change(&database, &nodes).await;
    eventually("the outbox is swept", Duration::from_secs(30), async || {
        // Whoever sweeps wants the log to have moved on.
        database.execute("update airlines set name = name where carrier = 'UA'").await;
        let old = "select count(*) from transom.outbox where recorded_at < now() - interval '15 s'";
        let left = database.value(old).await;
        let swept = database.value("select at > '0/0' from transom.swept").await;
        if left.as_deref() == Some("0") && swept.as_deref() == Some("t") { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    see_changes(&database, &nodes).await;
    for node in &nodes {
        let text = node.admin().get("/metrics").send().await.text();
        let epochs = text.lines().filter(|line| line.starts_with("transom_feed_epochs_total"));
        let begun: f64 = epochs.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        assert_eq!(begun, 1.0, "nobody was swept past:\n{text}");
    }
}

#[tokio::test]
async fn only_what_is_committed_touches_entries_however_late() {
    let database = recording("").await;
    let redis = Redis::start().await;
    let node = &nodes(&fed(&database).redis(&redis), 1).await[0];
    until_hit(node.rest(), UNITED).await;
    let (late, never) = (database.client().await, database.client().await);
    late.batch_execute("begin; update airlines set name = 'Late' where carrier = 'UA'").await.expect("a table");
    never.batch_execute("begin; update airlines set name = 'Never' where carrier = 'AA'").await.expect("a table");
    never.batch_execute("rollback").await.expect("it was open");
    // Later ones, with higher ids, have been announced: so the one that is open would have been too.
    for seats in 1..5 {
        until_hit(node.rest(), PLANE).await;
        database.execute(&format!("update planes set seats = {seats} where tailnum = 'N10156'")).await;
        until_text(node.rest(), PLANE, &format!("\"seats\":{seats}")).await;
    }
    assert!(node.rest().get(UNITED).send().await.is_untouched(), "neither the open one nor the one rolled back");
    late.batch_execute("commit").await.expect("it was open");
    until_text(node.rest(), UNITED, "Late").await;
}

#[tokio::test]
async fn an_idle_database_still_proves_that_entries_are_fresh() {
    let database = recording("").await;
    let redis = Redis::start().await;
    for node in [&nodes(&fed(&database).redis(&redis), 1).await[0], &nodes(&fed(&database), 1).await[0]] {
        until_hit(node.rest(), UNITED).await;
        until_old_hit(node.rest(), UNITED).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_is_followed_within_three_seconds() {
    let database = plain().await.database().await;
    add_counters(&database).await;
    setup(&database, &["--feed", "trigger"]);
    let redis = Redis::start().await;
    let builder = fed(&database).redis(&redis);
    let mut leader = builder.start_process().await;
    until_hit(leader.rest(), UNITED).await;
    let followers = nodes(&builder, 2).await;
    assert_eq!(leaders(&followers).await, [0; 0], "the first node leads");
    let before = epoch(&followers[0]).await;
    let load = Load::start(&database, &[leader.rest(), followers[0].rest(), followers[1].rest()]).await;
    load.goes_on().await;
    leader.process().signal(Signal::Kill);
    eventually("a follower leads", Duration::from_secs(3), async || leaders(&followers).await.len() == 1).await;
    for node in &followers {
        until_hit(node.rest(), UNITED).await;
    }
    load.goes_on().await;
    assert_eq!(epoch(&followers[0]).await, before, "a hand-over keeps what is cached");
    assert!(load.stop().await.hits.load(Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_frozen_loses_its_session() {
    let database = plain().await.database().await;
    add_counters(&database).await;
    setup(&database, &["--feed", "trigger"]);
    let redis = Redis::start().await;
    let builder = fed(&database).redis(&redis);
    let mut leader = builder.start_process().await;
    until_hit(leader.rest(), UNITED).await;
    let followers = nodes(&builder, 2).await;
    let before = epoch(&followers[0]).await;
    let load = Load::start(&database, &[followers[0].rest(), followers[1].rest()]).await;
    load.goes_on().await;
    leader.process().signal(Signal::Stop);
    eventually("a follower leads", Duration::from_secs(10), async || leaders(&followers).await.len() == 1).await;
    load.goes_on().await;
    // It wakes up in the belief that it leads.
    leader.process().signal(Signal::Cont);
    load.goes_on().await;
    for node in &followers {
        node.until_lease(Lease::Held).await;
    }
    load.goes_on().await;
    assert_eq!(epoch(&followers[0]).await, before, "a hand-over keeps what is cached");
    assert!(load.stop().await.hits.load(Relaxed) > 0);
}

#[tokio::test]
async fn where_the_log_cannot_be_read_installed_triggers_are_what_a_node_takes() {
    let database = recording("").await;
    let node = NodeBuilder::on(&database).unset("feed").start().await;
    let health = node.admin().get("/health").send().await.json();
    assert_eq!(health["feed"]["kind"], "trigger", "{health}");
    until_hit(node.rest(), UNITED).await;
    eventually("the feed is said to lead", SOON, async || node.metric("transom_feed_leader").await > 0.0).await;
}
