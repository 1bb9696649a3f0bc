//! What `transom setup` makes, who may use it, and how it goes away.

use super::{PLANE, Postgres, UNITED, fed, nodes, plain, recording, setup, until_hit};

#[tokio::test]
async fn setup_says_what_it_would_do_and_does_it_and_undoes_it() {
    let database = plain().await.database().await;
    let said = setup(&database, &["--dry-run"]);
    assert!(said.starts_with("-- by triggers, because wal_level is replica"), "{said}");
    assert!(said.contains("AFTER UPDATE ON public.airlines REFERENCING"), "{said}");
    let made = "select to_regclass('transom.outbox')::text";
    assert_eq!(database.value(made).await, None, "a dry run does nothing");
    setup(&database, &["--feed", "trigger"]);
    assert_eq!(setup(&database, &["--feed", "trigger"]), "-- nothing to do\n");
    database.execute("alter table airlines add column code int; create table later (id int primary key)").await;
    let said = setup(&database, &["--feed", "trigger"]);
    assert!(
        said.contains("E'code'") && said.contains("ON public.later") && !said.contains("ON public.planes"),
        "{said}"
    );
    assert_eq!(setup(&database, &["--remove"]), "DROP SCHEMA transom CASCADE;\n");
    let triggers = "select count(*) from pg_trigger where tgname like 'transom%'";
    assert_eq!(database.value(triggers).await.as_deref(), Some("0"));
    database.execute("update airlines set name = name").await;
}

#[tokio::test]
async fn a_role_of_requests_cannot_read_or_write_what_is_recorded() {
    let database = recording("").await;
    database.execute("grant all on airlines to web_anon").await;
    let client = database.client().await;
    client.batch_execute("set role web_anon; update airlines set name = name").await.expect("it writes as ever");
    for sql in [
        "select * from transom.outbox",
        "insert into transom.outbox (schema_name, table_name) values ('public', 'airlines')",
        "select transom.keep('public', 'airlines', null)",
        "select nextval('transom.recorded')",
        "update transom.swept set flips = 7",
    ] {
        let refused = client.batch_execute(sql).await.expect_err(sql);
        assert_eq!(refused.code().map(|state| state.code().to_owned()).as_deref(), Some("42501"), "{sql}: {refused:?}");
    }
    let recorded = "select count(*) from transom.outbox where table_name = 'airlines'";
    assert_eq!(database.value(recorded).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn nothing_in_a_row_or_a_definition_makes_a_write_fail() {
    let database = recording(
        "create table odd (\"i'd\\ \"\"x\" int, doc text, gone text, raw bytea, flag bool);
         grant select on odd to web_anon",
    )
    .await;
    let node = &nodes(&fed(&database), 1).await[0];
    until_hit(node.rest(), "/odd").await;
    for sql in [
        "insert into odd values (1, repeat('x', 3000000), E'\\\\ \"', '\\x00', true)",
        "update odd set flag = null, gone = E'\\u0001'",
        "alter table odd drop column gone",
        "insert into odd values (2, 'after', null, false)",
        "alter table odd alter column flag type text using flag::text",
        "update odd set flag = 'maybe'",
        "begin; savepoint a; update odd set doc = 'b'; rollback to a; update odd set doc = 'c'; commit",
    ] {
        database.execute(sql).await;
    }
    super::until_text(node.rest(), "/odd?select=doc", "\"c\"").await;
}

#[tokio::test]
async fn transactions_can_be_prepared_where_they_may_be() {
    let mut postgres = Postgres::own().await;
    postgres.admin().await.batch_execute("alter system set max_prepared_transactions = 5").await.expect("it is ours");
    postgres.stop().await;
    postgres.start().await;
    let database = postgres.database().await;
    setup(&database, &["--feed", "trigger"]);
    let node = &nodes(&fed(&database), 1).await[0];
    until_hit(node.rest(), UNITED).await;
    until_hit(node.rest(), PLANE).await;
    let client = database.client().await;
    client
        .batch_execute("begin; update airlines set name = 'Prepared' where carrier = 'UA'; prepare transaction 'one'")
        .await
        .expect("it may be prepared");
    assert!(node.rest().get(UNITED).send().await.is_untouched());
    client.batch_execute("commit prepared 'one'").await.expect("it was prepared");
    super::until_text(node.rest(), UNITED, "Prepared").await;
}
