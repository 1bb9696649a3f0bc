//! What is logged of a row before it changes decides how exact its table can be, and never whether a change is seen.

use transom_tests::{Database, Lease, NodeBuilder, Postgres};

use super::stage::Stage;

const KEY: &str = "/notes?id=eq.1";
const OTHER_KEY: &str = "/notes?id=eq.2";
const NEW_KEY: &str = "/notes?id=eq.7";
const KIND: &str = "/notes?kind=eq.a&order=id";
const OTHER_KIND: &str = "/notes?kind=eq.b&order=id";
const BODY: &str = "/notes?body=is.null&order=id";
const TARGETS: [&str; 6] = [KEY, OTHER_KEY, NEW_KEY, KIND, OTHER_KIND, BODY];

/// A body of that many letters is stored apart from its row, and not logged again unless it changes.
const LARGE: &str = "(select string_agg(md5(n::text), '') from generate_series(1, 400) n)";

async fn stage<'d>(database: &'d Database, identity: &str) -> Stage<'d> {
    let tables = format!(
        "create table notes (id int primary key, kind text not null, body text);
         create unique index by_kind_and_id on notes (kind, id);
         alter table notes alter column body set storage external;
         {identity};
         insert into notes select n, case when n = 1 then 'a' else 'b' end, {LARGE} from generate_series(1, 3) n;
         insert into notes values (9, 'c', 'x');
         grant select on notes to web_anon"
    );
    let neutral = "update notes set body = 'y' where id = 9";
    Stage::set(database, None, 1, &tables, neutral, &TARGETS).await
}

#[tokio::test]
async fn by_default_the_key_is_exact_and_other_columns_are_not() {
    let database = Postgres::shared().await.database().await;
    let stage = stage(&database, "select").await;
    let lists = [KIND, OTHER_KIND, BODY];
    stage.change("update notes set kind = kind where id = 3", &lists).await;
    stage.change("update notes set body = 'z' where id = 2", &[&[OTHER_KEY][..], &lists].concat()).await;
    stage.change("update notes set kind = 'z' where id = 1", &[&[KEY][..], &lists].concat()).await;
    stage.change("update notes set id = 7 where id = 1", &[&[KEY, NEW_KEY][..], &lists].concat()).await;
    stage.change("delete from notes where id = 7", &[&[NEW_KEY][..], &lists].concat()).await;
}

#[tokio::test]
async fn with_full_identity_every_column_is_exact() {
    let database = Postgres::shared().await.database().await;
    let stage = stage(&database, "alter table notes replica identity full").await;
    // What is stored apart did not change: it is not sent with the new row.
    stage.change("update notes set kind = kind where id = 3", &[OTHER_KIND]).await;
    stage.change("update notes set kind = 'b' where id = 1", &[KEY, KIND, OTHER_KIND]).await;
    stage.change("update notes set body = null where id = 3", &[OTHER_KIND, BODY]).await;
    stage.change("update notes set body = 'x' where id = 3", &[OTHER_KIND, BODY]).await;
    stage.change("update notes set id = 7 where id = 1", &[KEY, NEW_KEY, OTHER_KIND]).await;
    stage.change("delete from notes where id = 7", &[NEW_KEY, OTHER_KIND]).await;
    stage.change("insert into notes values (1, 'a', null)", &[KEY, KIND, BODY]).await;
}

#[tokio::test]
async fn with_an_index_as_identity_its_columns_are_exact() {
    let database = Postgres::shared().await.database().await;
    let stage = stage(&database, "alter table notes replica identity using index by_kind_and_id").await;
    stage.change("update notes set body = 'z' where id = 3", &[OTHER_KIND, BODY]).await;
    stage.change("update notes set kind = 'a' where id = 3", &[KIND, OTHER_KIND, BODY]).await;
    stage.change("update notes set id = 7 where id = 2", &[OTHER_KEY, NEW_KEY, OTHER_KIND, BODY]).await;
    stage.change("delete from notes where id = 1", &[KEY, KIND, BODY]).await;
}

#[tokio::test]
async fn an_identity_that_was_taken_back_makes_changes_coarser_and_hides_none() {
    let database = Postgres::shared().await.database().await;
    let tables = "create table notes (id int primary key, kind text); alter table notes replica identity full;
                  insert into notes values (1, 'a'), (2, 'b'), (9, 'c'); grant select on notes to web_anon";
    let targets = [KEY, OTHER_KEY, KIND, OTHER_KIND];
    let stage = Stage::set(&database, None, 1, tables, "update notes set kind = 'd' where id = 9", &targets).await;
    stage.change("update notes set kind = 'e' where id = 1", &[KEY, KIND]).await;
    // The nodes still read by templates whose old values nobody knows any more.
    stage.commit("alter table notes replica identity default").await;
    stage.change("update notes set kind = 'a' where id = 1", &targets).await;
    stage.change("delete from notes where id = 2", &targets).await;
}

#[tokio::test]
async fn columns_that_change_their_type_or_name_hide_no_change() {
    let database = Postgres::shared().await.database().await;
    let tables = "create table notes (id int primary key, kind int); alter table notes replica identity full;
                  insert into notes values (1, 7), (2, 8), (9, 9); grant select on notes to web_anon";
    let (seven, eight) = ("/notes?kind=eq.7&select=id,kind", "/notes?kind=eq.8&select=id,kind");
    let neutral = "update notes set kind = 10 where id = 9";
    let stage = Stage::set(&database, None, 1, tables, neutral, &[seven, eight]).await;
    stage.change("update notes set kind = 70 where id = 1", &[seven]).await;
    // The node still reads by a template of another type, or of a column that is another one.
    stage.commit("alter table notes alter column kind type bigint").await;
    stage.change("update notes set kind = 7 where id = 1", &[seven, eight]).await;
    stage.commit("alter table notes rename column kind to sort; alter table notes add column kind int").await;
    stage.change("update notes set kind = 8 where id = 1", &[seven, eight]).await;
    stage.change("update notes set kind = 7 where id = 1", &[seven, eight]).await;
}

#[tokio::test]
async fn without_an_identity_nothing_is_stored() {
    let database = Postgres::shared().await.database().await;
    database
        .execute(
            "create table notes (id int primary key); alter table notes replica identity nothing;
             insert into notes values (1); grant select on notes to web_anon",
        )
        .await;
    let node = NodeBuilder::on(&database).set("feed", "logical").start().await;
    node.until_lease(Lease::Held).await;
    let answer = node.rest().get(KEY).send().await.expect_status(200);
    assert!(answer.header("cache-status").contains("detail=not-in-feed"), "{}", answer.header("cache-status"));
}
