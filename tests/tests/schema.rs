//! The schema is read again while requests are answered: on a notification, on a signal, after the connection that listens
//! was lost; and with the event trigger of `transom setup` a changed definition is seen on every node at once.

use std::time::Duration;

use serde_json::{Value, json};
use transom_tests::{CacheStatus, Database, Http, Lease, Node, NodeBuilder, Postgres, Redis, Signal, eventually};

/// Milliseconds are the aim; a busy machine takes longer.
const SOON: Duration = Duration::from_secs(10);

const LATE: &str = "create table late (id int primary key, note text); insert into late values (1, 'a');
    grant select, insert on late to web_anon";

fn listening(database: &Database) -> NodeBuilder {
    NodeBuilder::on(database).set("db_channel_enabled", "true")
}

async fn until_listening(database: &Database, count: usize) {
    let sql = format!(
        "select count(*)::text from pg_stat_activity where datname = '{}' and application_name = 'transom listen' \
         and query like 'LISTEN%' or application_name = 'transom listen' and datname = '{0}' and query = ''",
        database.name()
    );
    eventually("nodes listen", SOON, async || database.value(&sql).await == Some(count.to_string())).await;
}

async fn gist(http: &Http, target: &str) -> String {
    CacheStatus::of(&http.get(target).send().await.expect_status(200)).gist()
}

async fn until_hit(http: &Http, target: &str) {
    eventually(&format!("{target} is hit"), SOON, async || {
        let answer = http.get(target).send().await;
        if answer.status == 200 && CacheStatus::of(&answer).has("hit") { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

/// The rows as JSON; what comes between them is not the point.
async fn until_rows(http: &Http, target: &str, rows: &str) {
    let rows: Value = serde_json::from_str(rows).expect("a test writes JSON");
    eventually(&format!("{target} says {rows}"), SOON, async || {
        let said = http.get(target).send().await.json();
        if said == rows { Ok(()) } else { Err(said.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_table_made_later_is_cached_after_a_notification_and_one_without_a_column_is_another() {
    let database = Postgres::shared().await.database().await;
    let node = listening(&database).start().await;
    until_listening(&database, 1).await;
    database.execute(LATE).await;
    database.execute("notify pgrst").await;
    until_hit(node.rest(), "/late").await;
    node.rest().post("/late?columns=id,note", &json!({ "id": 2, "note": "b" })).send().await.expect_status(201);
    until_rows(node.rest(), "/late?order=id", r#"[{"id":1,"note":"a"},{"id":2,"note":"b"}]"#).await;
    database.execute("alter table late drop column note; notify pgrst, 'reload schema'").await;
    until_rows(node.rest(), "/late?order=id", r#"[{"id":1},{"id":2}]"#).await;
    until_hit(node.rest(), "/late?order=id").await;
    eventually("the column is not known any more", SOON, async || {
        let refused = node.rest().post("/late?columns=id,note", &json!({ "id": 3, "note": "c" })).send().await;
        if refused.json()["code"] == "PGRST204" { Ok(()) } else { Err(refused.text()) }
    })
    .await;
    assert!(node.metric("transom_schema_reloads_total{result=\"changed\"}").await >= 2.0);
    let health = node.admin().get("/health").send().await.json();
    assert_eq!(health["schema"]["status"], "loaded", "{health}");
    // What PostgREST does not know either.
    database.execute("notify pgrst, 'nonsense'; notify pgrst, 'reload config'").await;
    until_hit(node.rest(), "/late").await;
}

#[tokio::test]
async fn a_signal_reads_the_schema_again_and_none_of_the_two_ends_the_node() {
    let database = Postgres::shared().await.database().await;
    let mut node = NodeBuilder::on(&database).start_process().await;
    database.execute(LATE).await;
    assert_eq!(gist(node.rest(), "/late").await, "detail=unknown-relation; fwd=bypass");
    node.process().signal(Signal::Usr2);
    node.process().signal(Signal::Usr1);
    until_hit(node.rest(), "/late").await;
    eventually("the log says what the other one does not do", SOON, async || {
        let log = node.log();
        if log.contains("settings are read at the start only") { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test]
async fn whoever_was_cut_off_reads_the_schema_again_when_it_listens_again() {
    let database = Postgres::shared().await.database().await;
    let node = listening(&database).start().await;
    until_listening(&database, 1).await;
    let cut = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}' \
         and application_name = 'transom listen'",
        database.name()
    );
    // In one transaction: nobody listens by the time the table is there.
    database.execute(&format!("begin; {cut}; {LATE}; notify pgrst; commit")).await;
    until_hit(node.rest(), "/late").await;
    until_listening(&database, 1).await;
    database.execute("alter table late drop column note; notify pgrst").await;
    until_rows(node.rest(), "/late", r#"[{"id":1}]"#).await;
}

#[tokio::test]
async fn while_the_schema_cannot_be_read_the_one_before_goes_on_serving() {
    let database = Postgres::shared().await.database().await;
    database
        .execute(
            "do $$ begin create role schema_login login noinherit; grant web_anon to schema_login;
             exception when duplicate_object or unique_violation then null; end $$",
        )
        .await;
    let url = database.url().replace("postgres://postgres@", "postgres://schema_login@");
    let node = listening(&database).set("database_url", url).start().await;
    until_listening(&database, 1).await;
    until_hit(node.rest(), "/airlines?limit=1").await;
    database.execute(&format!("revoke select on pg_policy from public; {LATE}; notify pgrst")).await;
    eventually("a reload failed", SOON, async || {
        node.metric("transom_schema_reloads_total{result=\"failed\"}").await >= 2.0
    })
    .await;
    let health = node.admin().get("/health").send().await.json();
    assert_eq!(health["schema"]["status"], "old", "{health}");
    assert!(health["schema"]["reason"].as_str().is_some_and(|reason| reason.contains("pg_policy")), "{health}");
    assert_eq!(gist(node.rest(), "/airlines?limit=1").await, "detail=l1; hit");
    assert_eq!(gist(node.rest(), "/late").await, "detail=unknown-relation; fwd=bypass");
    // It tries again by itself.
    database.execute("grant select on pg_policy to public").await;
    until_hit(node.rest(), "/late").await;
    assert_eq!(node.admin().get("/health").send().await.json()["schema"]["status"], "loaded");
}

const DEFINED: &str = "
    create view names as select carrier, name from airlines where carrier = 'UA';
    create table owned (id int primary key, owner text); insert into owned values (1, 'web_anon'), (2, 'other');
    alter table owned enable row level security;
    create policy own on owned using (owner = current_user);
    create table parts (id int, part int, primary key (id, part)) partition by list (part);
    create table parts_1 partition of parts for values in (1);
    create table parts_2 partition of parts for values in (2);
    insert into parts values (1, 1), (2, 2);
    grant select on names, owned, parts, parts_2 to web_anon;
";

#[tokio::test]
async fn a_changed_view_is_served_from_old_entries_until_somebody_notifies() {
    let database = Postgres::shared().await.database().await;
    database.execute(DEFINED).await;
    let node = listening(&database).start().await;
    until_listening(&database, 1).await;
    until_hit(node.rest(), "/names").await;
    database
        .execute("create or replace view names as select carrier, 'x' as name from airlines where carrier = 'UA'")
        .await;
    assert_eq!(gist(node.rest(), "/names").await, "detail=l1; hit", "nobody told the node");
    database.execute("notify pgrst").await;
    until_rows(node.rest(), "/names", r#"[{"carrier":"UA","name":"x"}]"#).await;
    until_hit(node.rest(), "/names").await;
}

fn setup(database: &Database, user: &str, flags: &[&str]) -> String {
    let url = database.url().replace("postgres://postgres@", &format!("postgres://{user}@"));
    let output = std::process::Command::new(transom_tests::binary())
        .arg("setup")
        .args(flags)
        .env("DATABASE_URL", url)
        .output()
        .expect("it is built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn all_say(nodes: &[Node], target: &str, text: &str) {
    for node in nodes {
        until_rows(node.rest(), target, text).await;
        until_hit(node.rest(), target).await;
        until_rows(node.rest(), target, text).await;
    }
}

/// There is no notification here, and no row of these tables changes: what is recorded of the definition is announced.
#[tokio::test]
async fn by_triggers_a_changed_definition_is_announced_with_its_commit() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    database.execute(DEFINED).await;
    let said = setup(&database, "postgres", &["--feed", "trigger"]);
    assert!(said.contains("CREATE EVENT TRIGGER"), "{said}");
    let builder = NodeBuilder::on(&database).redis(&redis).set("feed", "trigger");
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let node = builder.start().await;
        node.until_lease(Lease::Held).await;
        nodes.push(node);
    }
    all_say(&nodes, "/names", r#"[{"carrier":"UA","name":"United Air Lines Inc."}]"#).await;
    database
        .execute("create or replace view names as select carrier, 'x' as name from airlines where carrier = 'UA'")
        .await;
    all_say(&nodes, "/names", r#"[{"carrier":"UA","name":"x"}]"#).await;
    // Who changes definitions need not be able to see what is recorded.
    database
        .execute(
            "grant create on schema public to web_anon; set role web_anon; create table theirs (id int primary key)",
        )
        .await;
    let recorded = "select count(*) > 1 from transom.outbox where table_name is null";
    assert_eq!(database.value(recorded).await.as_deref(), Some("t"));
    assert!(setup(&database, "postgres", &["--remove"]).contains("DROP SCHEMA transom CASCADE"));
    let left = "select count(*)::text from pg_event_trigger where evtname like 'transom%'";
    assert_eq!(database.value(left).await.as_deref(), Some("0"));
    database.execute("drop table theirs").await;
}

/// Nobody notifies here but the trigger, and no row of these tables changes.
#[tokio::test]
async fn with_the_event_trigger_every_node_sees_a_changed_definition() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    database.execute(DEFINED).await;
    assert!(setup(&database, "postgres", &[]).contains("CREATE EVENT TRIGGER"));
    let builder = listening(&database).redis(&redis).set("feed", "logical");
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let node = builder.start().await;
        node.until_lease(Lease::Held).await;
        nodes.push(node);
    }
    until_listening(&database, 3).await;
    let (one, two) = (r#"{"id":1,"part":1}"#, r#"{"id":2,"part":2}"#);
    all_say(&nodes, "/names", r#"[{"carrier":"UA","name":"United Air Lines Inc."}]"#).await;
    all_say(&nodes, "/owned", r#"[{"id":1,"owner":"web_anon"}]"#).await;
    all_say(&nodes, "/parts?order=id", &format!("[{one},{two}]")).await;
    all_say(&nodes, "/parts_2", &format!("[{two}]")).await;
    database
        .execute("create or replace view names as select carrier, 'x' as name from airlines where carrier = 'UA'")
        .await;
    all_say(&nodes, "/names", r#"[{"carrier":"UA","name":"x"}]"#).await;
    database.execute("alter policy own on owned using (owner <> current_user)").await;
    all_say(&nodes, "/owned", r#"[{"id":2,"owner":"other"}]"#).await;
    database.execute("alter table parts detach partition parts_2").await;
    all_say(&nodes, "/parts?order=id", &format!("[{one}]")).await;
    // Nothing announces its changes any more.
    for node in &nodes {
        eventually("the detached part is not stored", SOON, async || {
            let status = gist(node.rest(), "/parts_2").await;
            if status == "detail=not-in-feed; fwd=bypass" { Ok(()) } else { Err(status) }
        })
        .await;
    }
    database.execute("update parts_2 set id = 3").await;
    for node in &nodes {
        assert_eq!(node.rest().get("/parts_2").send().await.text(), r#"[{"id":3,"part":2}]"#);
    }
    database.execute("alter table parts attach partition parts_2 for values in (2)").await;
    all_say(&nodes, "/parts?order=id", &format!(r#"[{one},{{"id":3,"part":2}}]"#)).await;
    database.execute("update parts_2 set id = 4").await;
    all_say(&nodes, "/parts?order=id", &format!(r#"[{one},{{"id":4,"part":2}}]"#)).await;
    database.execute("drop table parts_2").await;
    all_say(&nodes, "/parts?order=id", &format!("[{one}]")).await;
    // The schema is dropped as the docs say, and with it the trigger.
    database.execute("drop schema transom cascade").await;
    let left = "select count(*)::text from pg_event_trigger where evtname like 'transom%'";
    assert_eq!(database.value(left).await.as_deref(), Some("0"));
}

#[tokio::test]
async fn setup_makes_the_event_trigger_once_and_says_what_it_may_not_do() {
    let database = Postgres::shared().await.database().await;
    database
        .execute(
            "do $$ begin create role schema_owner login replication;
             exception when duplicate_object or unique_violation then null; end $$",
        )
        .await;
    database.execute(&format!("grant create on database \"{}\" to schema_owner", database.name())).await;
    let made = "select count(*)::text from pg_event_trigger where evtname like 'transom%'";
    assert!(setup(&database, "postgres", &["--dry-run"]).contains("CREATE EVENT TRIGGER transom_definition_changed"));
    let said = setup(&database, "schema_owner", &[]);
    assert!(said.contains("-- left out: changes of definition") && said.contains("as a superuser"), "{said}");
    assert_eq!(database.value(made).await.as_deref(), Some("0"));
    setup(&database, "postgres", &[]);
    assert_eq!(database.value(made).await.as_deref(), Some("2"));
    assert_eq!(setup(&database, "postgres", &[]), "-- nothing to do\n");
    database.execute("alter event trigger transom_definition_dropped disable").await;
    assert!(setup(&database, "postgres", &[]).contains("CREATE EVENT TRIGGER"), "what is disabled is made again");
    // It must not stand in anybody's way, whoever changes definitions.
    database
        .execute(
            "grant create on schema public to web_anon; set role web_anon; create temp table t (id int); drop table t;
             create table theirs (id int); create index on theirs (id); comment on table theirs is 'x'; drop table theirs",
        )
        .await;
}
