//! The report says how exact each table is, and what would make it more so.

use serde_json::{Value, json};
use transom_tests::{Lease, NodeBuilder, Postgres};

#[tokio::test]
async fn each_table_has_its_precision_and_its_remedy() {
    let database = Postgres::shared().await.database().await;
    database
        .execute(
            "create table whole (id int primary key, kind text); alter table whole replica identity full;
             create table only_key (id int primary key);
             create table keyless (id int);
             create table child () inherits (whole);
             alter table child replica identity full;
             create table parts (id int primary key, kind text) partition by range (id);
             create table part_1 partition of parts for values from (0) to (9)",
        )
        .await;
    let node = NodeBuilder::on(&database).set("feed", "logical").start().await;
    node.until_lease(Lease::Held).await;
    let report = node.admin().get("/feed").send().await.expect_status(200).json();
    assert_eq!(report["feed"]["status"], "leading");
    let of = |name: &str| {
        let tables = report["tables"].as_array().expect("a list");
        tables.iter().find(|table| table["table"] == format!("public.{name}")).expect("it is reported").clone()
    };
    assert_eq!(of("airlines")["precision"], "key");
    assert_eq!(of("airlines")["columns"], json!(["carrier"]));
    assert_eq!(of("airlines")["remedy"]["run"], "ALTER TABLE \"public\".\"airlines\" REPLICA IDENTITY FULL");
    assert!(of("airlines")["remedy"]["effect"].as_str().expect("a text").contains("write-ahead log"));
    assert_eq!((&of("only_key")["precision"], &of("only_key")["remedy"]), (&json!("exact"), &Value::Null));
    assert_eq!(of("child")["precision"], "exact");
    assert_eq!(of("child")["columns"], json!(["id", "kind"]));
    assert_eq!(of("whole")["precision"], "table", "what inherits changes under its own name");
    assert_eq!(of("keyless")["precision"], "not-covered");
    assert_eq!(of("keyless")["remedy"]["run"], "transom setup");
    assert_eq!(of("parts")["remedy"]["run"], "ALTER TABLE \"public\".\"part_1\" REPLICA IDENTITY FULL");

    let off = NodeBuilder::on(&database).start().await;
    let report = off.admin().get("/feed").send().await.expect_status(200).json();
    assert_eq!((&report["feed"]["status"], &report["tables"]), (&json!("off"), &Value::Null));
}
