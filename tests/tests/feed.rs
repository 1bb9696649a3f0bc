//! The change feed: what changes behind the proxy's back is noticed on every node, within milliseconds, and within
//! `max_staleness` while parts of it fail.

mod backlog;
mod breaks;
mod handover;
mod trigger;

use std::time::{Duration, Instant};

use transom_tests::{
    Database, Http, Lease, Node, NodeBuilder, NodeProcess, Postgres, Redis, Response, eventually, within_bound,
};

const MAX_STALENESS: Duration = Duration::from_secs(1);
/// What the machine may add between the moment a reader's clock starts and the node's decision: a noisy neighbor.
const NOISE: Duration = Duration::from_millis(250);
const SOON: Duration = Duration::from_secs(10);
const UNITED: &str = "/airlines?carrier=eq.UA";
const PLANE: &str = "/planes?tailnum=eq.N10156";

fn fed(database: &Database) -> NodeBuilder {
    NodeBuilder::on(database).set("feed", "logical")
}

async fn nodes(builder: &NodeBuilder, count: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        let node = builder.start().await;
        node.until_lease(Lease::Held).await;
        nodes.push(node);
    }
    nodes
}

/// Reads until the answer comes from the cache.
async fn until_hit(http: &Http, target: &str) -> Response {
    eventually(&format!("{target} is hit"), Duration::from_secs(10), async || {
        let answer = http.get(target).send().await.expect_status(200);
        if answer.is_hit() { Ok(answer) } else { Err(answer.header("cache-status").to_owned()) }
    })
    .await
}

/// Reads until a hit is older than anything can be that is not proven to be fresh. A machine that stalls makes a proof late
/// now and then, which costs a miss.
async fn until_old_hit(http: &Http, target: &str) {
    eventually(&format!("an old hit of {target}"), SOON * 3, async || {
        let answer = http.get(target).send().await;
        let age = answer.header("age").parse::<u64>().unwrap_or_default();
        if answer.is_hit() && age > MAX_STALENESS.as_secs() { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

async fn until_text(http: &Http, target: &str, part: &str) {
    within_bound(&format!("{target} says {part}"), MAX_STALENESS + NOISE, async || {
        let text = http.get(target).send().await.text();
        if text.contains(part) { Ok(()) } else { Err(text) }
    })
    .await;
}

async fn leaders(nodes: &[Node]) -> Vec<usize> {
    let mut leaders = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        if node.metric("transom_feed_leader").await > 0.0 {
            leaders.push(number);
        }
    }
    leaders
}

/// Redis goes and comes back empty: what is committed meanwhile is seen, and the feed goes on.
async fn goes_on_after_an_empty_redis(builder: &NodeBuilder, database: &Database) {
    let mut redis = Redis::start().await;
    let nodes = nodes(&builder.clone().redis(&redis), 3).await;
    see_changes(database, &nodes).await;
    redis.kill();
    database.execute("update airlines set name = 'Meanwhile' where carrier = 'UA'").await;
    for node in &nodes {
        node.until_lease(Lease::Lapsed).await;
        until_text(node.rest(), UNITED, "Meanwhile").await;
    }
    redis.restart_empty().await;
    for node in &nodes {
        node.until_lease(Lease::Held).await;
    }
    see_changes(database, &nodes).await;
}

#[tokio::test]
async fn a_change_by_sql_is_seen_on_every_node_around_a_redis() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let nodes = nodes(&fed(&database).redis(&redis), 3).await;
    assert_eq!(leaders(&nodes).await.len(), 1, "one node leads");
    see_changes(&database, &nodes).await;
}

#[tokio::test]
async fn a_change_by_sql_is_seen_on_every_node_without_a_redis() {
    let database = Postgres::shared().await.database().await;
    let nodes = nodes(&fed(&database), 3).await;
    assert_eq!(leaders(&nodes).await.len(), 3, "every node has a feed of its own");
    see_changes(&database, &nodes).await;
}

async fn see_changes(database: &Database, nodes: &[Node]) {
    for round in 0..10 {
        for node in nodes {
            until_hit(node.rest(), UNITED).await;
        }
        let name = format!("United {round}");
        database.execute(&format!("update airlines set name = '{name}' where carrier = 'UA'")).await;
        for node in nodes {
            until_text(node.rest(), UNITED, &name).await;
        }
    }
}

#[tokio::test]
async fn only_what_is_committed_to_a_table_touches_its_entries() {
    let database = Postgres::shared().await.database().await;
    database.execute("create schema aside; create table aside.airlines (id int primary key)").await;
    let redis = Redis::start().await;
    let node = &nodes(&fed(&database).redis(&redis), 1).await[0];
    until_hit(node.rest(), UNITED).await;
    until_hit(node.rest(), PLANE).await;

    let other = database.client().await;
    other
        .batch_execute("begin; update airlines set name = 'Nobody' where carrier = 'UA'")
        .await
        .expect("it is a table");
    // A later commit to another table has been announced, so the open one would have been too.
    database.execute("update planes set seats = 7 where tailnum = 'N10156'").await;
    until_text(node.rest(), PLANE, "\"seats\":7").await;
    assert!(node.rest().get(UNITED).send().await.is_untouched(), "an open transaction changes nothing");
    other.batch_execute("rollback").await.expect("it was open");
    until_hit(node.rest(), PLANE).await;
    database
        .execute("insert into aside.airlines values (1); update planes set seats = 8 where tailnum = 'N10156'")
        .await;
    until_text(node.rest(), PLANE, "\"seats\":8").await;
    let united = node.rest().get(UNITED).send().await;
    assert!(united.is_untouched(), "neither a rollback nor a table of the same name changes anything: {united:?}");
}

#[tokio::test]
async fn truncate_and_partitions_are_noticed() {
    let database = Postgres::shared().await.database().await;
    database
        .execute(
            "create table events (id int primary key, note text) partition by range (id);
             create table events_1 partition of events for values from (0) to (10);
             create table notes (id int primary key, note text);
             insert into events values (1, 'first'); insert into notes values (1, 'kept');
             grant select on events, events_1, notes to web_anon",
        )
        .await;
    let redis = Redis::start().await;
    let node = &nodes(&fed(&database).redis(&redis), 1).await[0];
    until_hit(node.rest(), "/events").await;
    until_hit(node.rest(), "/notes").await;
    database.execute("update events set note = 'second' where id = 1").await;
    until_text(node.rest(), "/events", "second").await;
    assert!(node.rest().get("/notes").send().await.is_untouched());

    // Made after the node learned what there is.
    database.execute("create table events_2 partition of events for values from (10) to (20)").await;
    until_hit(node.rest(), "/events").await;
    database.execute("insert into events values (11, 'third')").await;
    until_text(node.rest(), "/events", "third").await;

    until_hit(node.rest(), "/notes").await;
    database.execute("truncate notes").await;
    within_bound("the table is empty", MAX_STALENESS + NOISE, async || {
        node.rest().get("/notes").send().await.text() == "[]"
    })
    .await;
}

#[tokio::test]
async fn a_table_without_identity_stays_writable_and_is_not_claimed_to_be_fresh() {
    let database = Postgres::shared().await.database().await;
    database.execute("create table keyless (note text); grant select on keyless to web_anon").await;
    let node = &nodes(&fed(&database), 1).await[0];
    database.execute("insert into keyless values ('a'); update keyless set note = 'b'; delete from keyless").await;
    for _ in 0..2 {
        let answer = node.rest().get("/keyless").send().await.expect_status(200);
        assert!(answer.header("cache-status").contains("fwd=bypass; detail=not-in-feed"), "{answer:?}");
    }
    until_hit(node.rest(), UNITED).await;
}

#[tokio::test]
async fn an_idle_database_still_proves_that_entries_are_fresh() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    for node in [&nodes(&fed(&database).redis(&redis), 1).await[0], &nodes(&fed(&database), 1).await[0]] {
        until_hit(node.rest(), UNITED).await;
        until_old_hit(node.rest(), UNITED).await;
    }
}

#[tokio::test]
async fn a_large_transaction_takes_little_memory() {
    let database = Postgres::shared().await.database().await;
    database.execute("create table bulk (id int primary key, note text); grant select on bulk to web_anon").await;
    let mut node = fed(&database).start_process().await;
    until_hit(node.rest(), "/bulk?limit=1").await;
    let before = resident_kib(&mut node);
    database.execute("insert into bulk select n, repeat('x', 500) from generate_series(1, 100000) n").await;
    eventually("the rows are seen", Duration::from_secs(30), async || {
        node.rest().get("/bulk?limit=1").send().await.text() != "[]"
    })
    .await;
    until_hit(node.rest(), "/bulk?limit=1").await;
    let grown = resident_kib(&mut node).saturating_sub(before);
    assert!(grown < 32 * 1024, "50 MB of rows took {grown} KiB");
}

/// The most that the process ever held.
fn resident_kib(node: &mut NodeProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.process().pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

async fn epoch(node: &Node) -> String {
    node.admin().get("/health").send().await.json()["coherence"]["epoch"].to_string()
}

#[tokio::test]
async fn a_commit_that_nobody_can_see_yet_is_not_announced() {
    let postgres = Postgres::own().await;
    let database = postgres.database().await;
    let redis = Redis::start().await;
    let node = &nodes(&fed(&database).redis(&redis), 1).await[0];
    until_hit(node.rest(), UNITED).await;
    until_hit(node.rest(), PLANE).await;
    // A commit that waits for a standby is in the log, and decoded, but no other session sees it (C2).
    let admin = postgres.admin().await;
    admin.batch_execute("alter system set synchronous_standby_names = 'nobody'").await.expect("it is ours");
    admin.batch_execute("select pg_reload_conf()").await.expect("it is ours");
    // Every process of the server hears of the setting by itself: that commits wait is known when one does.
    let (probe, writer) = (database.client().await, database.client().await);
    let probing = tokio::spawn(async move {
        while probe.batch_execute("select pg_logical_emit_message(true, 'probe', '')").await.is_ok() {}
    });
    let until_waits = async |query: &str| {
        let sql =
            format!("select count(*) from pg_stat_activity where wait_event = 'SyncRep' and query like '{query}%'");
        eventually(query, SOON, async || database.value(&sql).await.as_deref() == Some("1")).await;
    };
    until_waits("select pg_logical_emit_message").await;
    let waiting =
        tokio::spawn(
            async move { writer.batch_execute("update airlines set name = 'Waiting' where carrier = 'UA'").await },
        );
    until_waits("update airlines").await;
    // Others that do not wait are announced meanwhile, which also shows that the waiting one was decoded.
    let local = "set synchronous_commit = local; update planes set seats = 7 where tailnum = 'N10156'";
    database.execute(local).await;
    until_text(node.rest(), PLANE, "\"seats\":7").await;
    let began = Instant::now();
    while began.elapsed() < MAX_STALENESS * 2 {
        let answer = node.rest().get(UNITED).send().await;
        assert!(answer.is_untouched(), "announced before it can be seen: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    admin.batch_execute("alter system reset synchronous_standby_names").await.expect("it is ours");
    admin.batch_execute("select pg_reload_conf()").await.expect("it is ours");
    until_text(node.rest(), UNITED, "Waiting").await;
    waiting.await.expect("no panic").expect("it committed");
    probing.abort();
}

#[tokio::test]
async fn setup_says_what_it_would_do_and_does_it() {
    let database = Postgres::shared().await.database().await;
    database.execute("create table keyless (note text); create table keyed (id int primary key)").await;
    let setup = |flags: &'static [&'static str]| {
        let mut command = std::process::Command::new(transom_tests::binary());
        command.arg("setup").args(flags).env("DATABASE_URL", database.url());
        let output = command.output().expect("it is built");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = setup(&["--dry-run"]);
    assert!(said.contains("-- left out: public.keyless: no replica identity"), "{said}");
    assert!(said.contains("CREATE PUBLICATION transom FOR TABLE ") && said.contains("public.keyed"), "{said}");
    let published =
        "select count(*)::text from pg_publication_tables where pubname = 'transom' and tablename = 'keyless'";
    assert_eq!(database.value(published).await.as_deref(), Some("0"), "a dry run does nothing");
    let said = setup(&["--replica-identity-full"]);
    assert!(said.contains("ALTER TABLE public.keyless REPLICA IDENTITY FULL;"), "{said}");
    assert_eq!(database.value(published).await.as_deref(), Some("1"));
    assert_eq!(setup(&[]), "-- nothing to do\n");
    database.execute("insert into keyless values ('a'); update keyless set note = 'b'; delete from keyless").await;
}
