//! The tables of shared state come and go.

use transom_tests::Postgres;

use super::*;

const OBJECTS: &str = "select count(*)::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
    where n.nspname = 'transom' and c.relkind = 'r'";

#[tokio::test]
async fn they_are_made_once_and_taken_away_whole() {
    let database = Postgres::shared().await.database().await;
    let said = setup(&database, &["--state", "--dry-run"]).expect("it only prints");
    assert!(said.contains("CREATE TABLE transom.locks"), "{said}");
    assert_eq!(database.value(OBJECTS).await.as_deref(), Some("0"));
    setup(&database, &["--state"]).expect("the superuser may");
    assert_eq!(database.value(OBJECTS).await.as_deref(), Some("6"));
    assert_eq!(setup(&database, &["--state"]).as_deref(), Ok("-- nothing to do\n"));
    assert_eq!(setup(&database, &["--state", "--remove", "--dry-run"]).expect("it prints").lines().next(), {
        Some("DROP FUNCTION transom.change_user(text, text, text, text);")
    });
    setup(&database, &["--state", "--remove"]).expect("they are ours");
    assert_eq!(database.value(OBJECTS).await.as_deref(), Some("0"));
    assert_eq!(setup(&database, &["--state", "--remove"]).as_deref(), Ok("-- nothing to do\n"));
    setup(&database, &["--state"]).expect("and again");
}

#[tokio::test]
async fn the_feed_does_not_take_them_along() {
    let database = Postgres::shared().await.database().await;
    setup(&database, &["--state"]).expect("the superuser may");
    setup(&database, &["--feed", "trigger"]).expect("they share a schema");
    let refusal = setup(&database, &["--remove"]).expect_err("there is state");
    assert!(refusal.contains("transom setup --state --remove"), "{refusal}");
    setup(&database, &["--state", "--remove"]).expect("they are ours");
    assert_eq!(database.value("select to_regclass('transom.outbox')::text").await.as_deref(), Some("transom.outbox"));
    setup(&database, &["--remove"]).expect("nothing is lost");
}

#[tokio::test]
async fn a_role_that_is_granted_to_keeps_locks_and_nothing_more() {
    let database = Postgres::shared().await.database().await;
    database
        .execute(
            "do $$ begin create role state_node login; exception when duplicate_object or unique_violation then null; \
             end $$; grant web_anon to state_node",
        )
        .await;
    setup(&database, &["--state", "--grant-to", "state_node"]).expect("the superuser may");
    let url = database.url().replace("postgres://postgres@", "postgres://state_node@");
    let node = NodeBuilder::at(url).set("state_service_key", KEY).start().await;
    let strict = serde_json::json!({ "ttl_ms": 60_000, "backend": "postgres", "owner": "the-owner-of-a-lock" });
    post(&node, "/locks/a/acquire", &strict).await.expect_status(200);
    post(&node, "/locks/a/renew", &strict).await.expect_status(200);
    post(&node, "/users/alice/banned", &serde_json::json!({})).await.expect_status(200);
    for table in ["locks", "standings"] {
        let rights = format!(
            "select has_table_privilege('state_node', 'transom.{table}', 'select, insert, update, delete')::text"
        );
        assert_eq!(database.value(&rights).await.as_deref(), Some("false"));
    }
}
