//! What triggers record is as exact as the log.

use std::process::Command;

use transom_tests::{Database, Postgres, Redis, binary};

use super::stage::Stage;
use super::{MUSIC, NEUTRAL, TARGETS, play};

/// A database with these tables, on which changes are recorded.
pub(super) async fn recording(tables: &str) -> Database {
    let database = Postgres::shared().await.database().await;
    database.execute(tables).await;
    let setup =
        Command::new(binary()).args(["setup", "--feed", "trigger"]).env("DATABASE_URL", database.url()).output();
    let setup = setup.expect("it is built");
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    database
}

#[tokio::test]
async fn a_change_that_is_recorded_touches_what_was_read_of_its_row_on_three_nodes_around_a_redis() {
    let database = recording(MUSIC).await;
    let redis = Redis::start().await;
    play(&Stage::of("trigger", &database, Some(&redis), 3, NEUTRAL, &TARGETS).await).await;
}

#[tokio::test]
async fn a_change_that_is_recorded_touches_what_was_read_of_its_row_without_a_redis() {
    let database = recording(MUSIC).await;
    play(&Stage::of("trigger", &database, None, 1, NEUTRAL, &TARGETS).await).await;
}

#[tokio::test]
async fn a_statement_about_many_rows_is_one_about_the_table() {
    let database = recording(
        "create table wide (id int primary key, note text); insert into wide select n, 'a' from generate_series(1, 1000) n;
         grant select on wide to web_anon",
    )
    .await;
    let targets = ["/wide?id=eq.1", "/wide?id=eq.900"];
    let stage = Stage::of("trigger", &database, None, 1, "update wide set note = 'b' where id = 500", &targets).await;
    stage.change("update wide set note = 'c' where id between 850 and 950", &targets[1..]).await;
    stage.change("update wide set note = 'd' where id > 500", &targets).await;
}
