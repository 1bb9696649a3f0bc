//! What is shipped for deployment and can be run without containers.

use std::process::Command;

use transom_tests::{Postgres, repository};

#[tokio::test]
async fn the_compose_file_fills_its_postgres() {
    let postgres = Postgres::own().await;
    let admin = postgres.admin().await;
    admin.batch_execute("create database house").await.unwrap();

    // As the entry point of the postgres image runs it.
    let output = Command::new("bash")
        .arg(repository().join("deploy/postgres/10-sample.sh"))
        .env("SAMPLE", repository().join("proxy/sample/nycflights13"))
        .env("PGDATA", postgres.data())
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", postgres.port().to_string())
        .env("POSTGRES_USER", "postgres")
        .env("POSTGRES_DB", "house")
        .env("NODE_PASSWORD", "it's secret")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let node = format!("host=127.0.0.1 port={} user=transom dbname=house", postgres.port());
    let (node, connection) = tokio_postgres::connect(&node, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    node.query("select 1 from flights", &[]).await.expect_err("the login role has no rights of its own");
    node.batch_execute("set role web_anon").await.unwrap();
    let count: i64 = node.query_one("select count(*) from flights", &[]).await.unwrap().get(0);
    assert_eq!(count, 6099);

    let sql = "select error from pg_hba_file_rules where user_name = '{haproxy}' and auth_method = 'trust'";
    let error: Option<String> = admin.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(error, None);
}
