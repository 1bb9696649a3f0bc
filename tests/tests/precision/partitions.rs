//! Rows of partitions change under their own names and under those of the tables they are part of.

use transom_tests::Postgres;

use super::stage::Stage;

const TABLES: &str = "
    create table events (id int, day int, note text, primary key (day, id)) partition by range (day);
    create table events_1 partition of events for values from (0) to (10);
    create table events_2 partition of events for values from (10) to (20) partition by list (day);
    create table events_2a partition of events_2 for values in (11, 12);
    insert into events values (1, 1, 'a'), (2, 2, 'b'), (3, 11, 'c'), (9, 9, 'd');
    grant select on events, events_1, events_2, events_2a to web_anon";
const NEUTRAL: &str = "update events set note = 'e' where id = 9; update events_2a set note = 'f' where id = 3";

const ONE: &str = "/events?id=eq.1&day=eq.1";
const BY_ID: &str = "/events?id=eq.3";
const DAY: &str = "/events?day=eq.11&order=id";
const LEAF: &str = "/events_2a?id=eq.3";
const MIDDLE: &str = "/events_2?day=eq.12&order=id";
const LATER: &str = "/events?day=eq.21";
const WHOLE_LEAF: &str = "/events_1?order=id";

#[tokio::test]
async fn a_row_of_a_partition_is_exact_under_each_of_its_names() {
    let database = Postgres::shared().await.database().await;
    let targets = [ONE, BY_ID, DAY, LEAF, MIDDLE, LATER, WHOLE_LEAF];
    let stage = Stage::set(&database, None, 1, TABLES, NEUTRAL, &targets).await;
    stage.change("update events set note = 'x' where id = 2", &[WHOLE_LEAF]).await;
    stage.change("update events_1 set note = 'x' where id = 1", &[ONE, WHOLE_LEAF]).await;
    stage.change("update events set note = 'y' where id = 3", &[BY_ID, DAY, LEAF]).await;
    // From one partition to another: deleted there, inserted here.
    stage.change("update events set day = 12 where id = 1", &[ONE, MIDDLE, WHOLE_LEAF]).await;
    // A partition that is newer than what the node knows.
    stage.commit("create table events_3 partition of events for values from (20) to (30)").await;
    stage.change("insert into events values (5, 21, 'new')", &[LATER]).await;
    stage.change("truncate events_2a", &[BY_ID, DAY, LEAF, MIDDLE, ONE, LATER]).await;
}
