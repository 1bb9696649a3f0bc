use std::time::Duration;

use futures_util::future;
use tokio_postgres::{Client, NoTls};

use super::*;

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// One test, because one start serves all that is asked here.
#[test]
fn the_demo_can_stand_on_it() {
    let embedded = Embedded::start().unwrap();
    let url = embedded.url();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = connect(&url).await;
        let count: i64 = client.query_one("select count(*) from flights", &[]).await.unwrap().get(0);
        assert_eq!(count, 6099);
        a_transaction_in_one_flight_runs_as_the_anonymous_role(&client).await;
        a_second_connection_waits_for_the_first(&url, client).await;
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    let folder = embedded._folder.path().to_owned();
    drop(embedded);
    assert!(!folder.exists());
}

async fn a_transaction_in_one_flight_runs_as_the_anonymous_role(client: &Client) {
    let role = client.prepare("select set_config('role', $1, true)").await.unwrap();
    let read = client.prepare("select current_user::text || ' ' || dest from flights where id = $1").await.unwrap();
    let (begun, _, row, committed) = future::join4(
        client.batch_execute("begin"),
        client.query_one(&role, &[&Embedded::ANON_ROLE]),
        client.query_one(&read, &[&1_i64]),
        client.batch_execute("commit"),
    )
    .await;
    begun.unwrap();
    committed.unwrap();
    assert_eq!(row.unwrap().get::<_, String>(0), "web_anon IAH");
}

async fn a_second_connection_waits_for_the_first(url: &str, first: Client) {
    let early = tokio::time::timeout(Duration::from_millis(300), tokio_postgres::connect(url, NoTls)).await;
    assert!(early.is_err(), "if this fails, the demo may use a larger pool");
    drop(first);
    let second = tokio::time::timeout(Duration::from_secs(10), connect(url)).await.unwrap();
    second.batch_execute("select 1").await.unwrap();
}
