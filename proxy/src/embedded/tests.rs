use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, future};
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
        sessions_take_turns(&url, &client).await;
        a_copy_is_one_turn(&url, &client).await;
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    let folder = embedded.folder.path().to_owned();
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

async fn sessions_take_turns(url: &str, first: &Client) {
    let second = connect(url).await;
    first.batch_execute("begin; update airlines set name = 'Untied' where carrier = 'UA'").await.unwrap();
    let read = "select name from airlines where carrier = 'UA'";
    let statement = first.prepare(read).await.unwrap();
    let seen = async { second.query_one(read, &[]).await.unwrap().get::<_, String>(0) };
    let rolled_back = async {
        assert_eq!(first.query_one(&statement, &[]).await.unwrap().get::<_, String>(0), "Untied");
        first.batch_execute("rollback").await.unwrap();
    };
    let (seen, ()) = future::join(seen, rolled_back).await;
    assert_eq!(seen, "United Air Lines Inc.", "the second waited until the first one's transaction was over");
    first.query_one(&statement, &[]).await.unwrap();
}

async fn a_copy_is_one_turn(url: &str, first: &Client) {
    let second = connect(url).await;
    second.batch_execute("create table copied (id int)").await.unwrap();
    let mut sink = Box::pin(second.copy_in::<_, Bytes>("copy copied from stdin").await.unwrap());
    sink.send(Bytes::from_static(b"1\n2\n")).await.unwrap();
    let count = first.query_one("select count(*) from copied", &[]);
    let (count, copied) = future::join(count, sink.as_mut().finish()).await;
    assert_eq!((count.unwrap().get::<_, i64>(0), copied.unwrap()), (2, 2));
    second.batch_execute("drop table copied").await.unwrap();
}
