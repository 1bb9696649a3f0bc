//! A publication may leave out tables, rows, columns and partitions. What it leaves out is never taken for covered.

use serde_json::Value;
use transom_tests::{Database, NodeBuilder, Postgres};

const TABLES: &str = "
    create schema more;
    create table plain (id int primary key, a int);
    create table unlisted (id int primary key, a int);
    create table filtered (id int primary key, a int);
    create table narrow (id int primary key, a int);
    create table more.apart (id int primary key, a int);
    create table whole (id int primary key) partition by range (id);
    create table whole_1 partition of whole for values from (0) to (10);
    create table partly (id int primary key) partition by range (id);
    create table partly_1 partition of partly for values from (0) to (10) partition by range (id);
    create table partly_1a partition of partly_1 for values from (0) to (5);
    create table partly_2 partition of partly for values from (10) to (20);
    create table slim (id int primary key, a int) partition by range (id);
    create table slim_1 partition of slim for values from (0) to (10);
    grant usage on schema more to web_anon;
    grant select on all tables in schema public, more to web_anon";

/// Table and precision, as the admin API reports them, by name.
async fn reported(database: &Database, publication: &str) -> Vec<(String, String)> {
    database.execute(TABLES).await;
    database.execute(publication).await;
    let node = NodeBuilder::on(database).set("feed", "logical").set("db_schemas", "public,more").start().await;
    let report = node.admin().get("/feed").send().await.expect_status(200).json();
    let text = |table: &Value, key: &str| table[key].as_str().expect("a string").to_owned();
    let tables = report["tables"].as_array().expect("a list");
    tables.iter().map(|table| (text(table, "table"), text(table, "precision"))).collect()
}

fn covered(reported: Vec<(String, String)>) -> Vec<(String, String)> {
    reported.into_iter().filter(|(_, precision)| precision != "not-covered").collect()
}

fn named(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(table, precision)| ((*table).to_owned(), (*precision).to_owned())).collect()
}

#[tokio::test]
async fn what_is_left_out_is_not_covered_and_a_list_of_columns_tells_no_rows() {
    let database = Postgres::shared().await.database().await;
    let publication = "create publication transom for table plain, filtered where (a > 1), narrow (id), whole, partly_1, \
                       slim_1 (id)";
    let expected = [
        ("public.narrow", "table"),
        ("public.partly_1", "exact"),
        ("public.partly_1a", "exact"),
        ("public.plain", "key"),
        ("public.slim_1", "table"),
        ("public.whole", "exact"),
        ("public.whole_1", "exact"),
    ];
    assert_eq!(covered(reported(&database, publication).await), named(&expected));
}

#[tokio::test]
async fn a_schema_is_published_with_all_its_tables() {
    let database = Postgres::shared().await.database().await;
    let reported =
        reported(&database, "create publication transom for tables in schema more, table plain, whole_1").await;
    assert_eq!(
        covered(reported),
        named(&[("more.apart", "key"), ("public.plain", "key"), ("public.whole_1", "exact")])
    );
}

#[tokio::test]
async fn partitions_that_go_by_the_name_of_their_root_cannot_be_told_apart() {
    let database = Postgres::shared().await.database().await;
    let publication = "create publication transom for table plain, whole, slim (id) with (publish_via_partition_root)";
    assert_eq!(covered(reported(&database, publication).await), named(&[("public.plain", "key")]));
}

#[tokio::test]
async fn a_publication_of_all_tables_covers_all_and_one_of_some_kinds_of_change_none() {
    for (publication, covers) in [("for all tables", true), ("for all tables with (publish = 'insert, update')", false)]
    {
        let database = Postgres::shared().await.database().await;
        let reported = reported(&database, &format!("create publication transom {publication}")).await;
        assert!(reported.iter().all(|(_, precision)| (precision != "not-covered") == covers), "{reported:?}");
    }
}
