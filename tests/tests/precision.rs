//! Exact invalidation: a change of a row invalidates what was read of that row, and leaves alone what was read of others.

mod canonical;
mod identities;
mod pages;
mod partitions;
mod published;
mod purges;
mod random;
mod report;
mod stage;
mod triggers;
mod volume;

use stage::Stage;
use transom_tests::{Postgres, Redis};

/// Artists have albums, albums have tags. Of albums the whole row is logged, of all others the key.
const MUSIC: &str = "
    create table artists (id int primary key, name text);
    create table albums (id int primary key, artist_id int references artists, genre text, live boolean);
    create table tags (id int primary key, name text);
    create table tagged (album_id int references albums, tag_id int references tags, primary key (album_id, tag_id));
    alter table albums replica identity full;
    insert into artists select n, 'artist ' || n from generate_series(1, 9) n;
    insert into albums select n, n % 3 + 1, case when n % 2 = 0 then 'rock' else 'folk' end, false
        from generate_series(1, 9) n;
    insert into tags select n, 'tag ' || n from generate_series(1, 3) n;
    insert into tagged select n, n % 3 + 1 from generate_series(1, 8) n;
    grant select, insert, update, delete on artists, albums, tags, tagged to web_anon";

/// Touches a row of each table that no target reads by a filter.
const NEUTRAL: &str = "
    update artists set name = 'nobody' where id = 9; update albums set genre = 'none', artist_id = 9 where id = 9;
    update tags set name = 'x' where id = 3; delete from tagged where album_id = 9;
    insert into tagged values (9, 3)";

const ARTIST: &str = "/artists?id=eq.1";
const ALBUM: &str = "/albums?id=eq.3";
const TWO_ALBUMS: &str = "/albums?id=in.(1,3)&order=id";
const ROCK_OF_2: &str = "/albums?artist_id=eq.2&genre=eq.rock&order=id";
const OF_1: &str = "/albums?artist_id=eq.1&order=id";
const OF_2: &str = "/albums?artist_id=eq.2&order=id&limit=5";
const UNLOVED: &str = "/albums?artist_id=is.null";
const WITH_ALBUMS: &str = "/artists?id=eq.1&select=*,albums(*)&albums.order=id";
const WITH_ARTIST: &str = "/albums?artist_id=eq.2&select=*,artists(*)&order=id";
const WITH_TAGS: &str = "/albums?id=eq.3&select=*,tags(*)";
const ALL: &str = "/albums?order=id&id=lt.9";

const TARGETS: [&str; 11] =
    [ARTIST, ALBUM, TWO_ALBUMS, ROCK_OF_2, OF_1, OF_2, UNLOVED, WITH_ALBUMS, WITH_ARTIST, WITH_TAGS, ALL];

#[tokio::test]
async fn a_change_touches_what_was_read_of_its_row_on_three_nodes_around_a_redis() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    play(&Stage::set(&database, Some(&redis), 3, MUSIC, NEUTRAL, &TARGETS).await).await;
}

#[tokio::test]
async fn a_change_touches_what_was_read_of_its_row_without_a_redis() {
    let database = Postgres::shared().await.database().await;
    play(&Stage::set(&database, None, 1, MUSIC, NEUTRAL, &TARGETS).await).await;
}

async fn play(stage: &Stage<'_>) {
    stage.change("update artists set name = 'other' where id = 5", &[]).await;
    stage.change("update artists set name = 'one' where id = 1", &[ARTIST, WITH_ALBUMS]).await;
    stage.change("update artists set name = 'two' where id = 2", &[WITH_ARTIST]).await;
    // Album 3 is the first artist's, 4 the second's, 5 the third's.
    stage.change("update albums set live = true where id = 5", &[ALL]).await;
    stage
        .change("update albums set live = true where id = 3", &[ALBUM, TWO_ALBUMS, OF_1, WITH_ALBUMS, WITH_TAGS, ALL])
        .await;
    stage.change("update albums set live = true where id = 4", &[ROCK_OF_2, OF_2, WITH_ARTIST, ALL]).await;
    // From one artist to another: both have other albums now.
    stage
        .change("update albums set artist_id = 2 where id = 6", &[ROCK_OF_2, OF_1, OF_2, WITH_ALBUMS, WITH_ARTIST, ALL])
        .await;
    // Into a list by another column, and out of it.
    stage.change("update albums set genre = 'folk' where id = 6", &[ROCK_OF_2, OF_2, WITH_ARTIST, ALL]).await;
    stage.change("update albums set artist_id = null where id = 5", &[UNLOVED, ALL]).await;
    stage.change("update albums set artist_id = 3 where id = 5", &[UNLOVED, ALL]).await;
    stage.change("insert into albums values (8001, 2, 'folk')", &[OF_2, WITH_ARTIST]).await;
    stage.change("delete from albums where id = 8001", &[OF_2, WITH_ARTIST]).await;
    // The junction knows the album, and not which tags.
    stage.change("insert into tagged values (5, 1)", &[]).await;
    stage.change("insert into tagged values (3, 2)", &[WITH_TAGS]).await;
    stage.change("update tags set name = 'y' where id = 3", &[WITH_TAGS]).await;
    // Not committed is not changed.
    stage.change("begin; update albums set live = false where id = 3; rollback", &[]).await;
}

#[tokio::test]
async fn a_write_through_the_proxy_reaches_what_was_read_of_its_rows() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let stage = Stage::set(&database, Some(&redis), 2, MUSIC, NEUTRAL, &TARGETS).await;
    stage.warm().await;
    let node = &stage.nodes[0];
    node.rest().patch(ALBUM, &serde_json::json!({ "genre": "jazz" })).send().await.expect_status(204);
    for target in [ALBUM, TWO_ALBUMS, OF_1, WITH_ALBUMS, WITH_TAGS] {
        let text = node.rest().get(target).send().await.text();
        assert!(text.contains("jazz"), "{target}: {text}");
    }
    stage.agree().await;
}

#[tokio::test]
async fn a_policy_keeps_what_was_read_of_a_row_exact_and_its_own_tables_as_a_whole() {
    let database = Postgres::shared().await.database().await;
    let tables = "
        create table notes (id int primary key, shelf int, note text);
        create table shelves (id int primary key, open boolean);
        alter table notes enable row level security;
        create policy open_shelves on notes for select using (shelf in (select id from shelves where open));
        create view shown as select id, note from notes;
        insert into shelves values (1, true), (2, true), (9, true);
        insert into notes values (1, 1, 'a'), (2, 2, 'b'), (9, 9, 'c');
        grant select on notes, shelves, shown to web_anon";
    let neutral = "update notes set note = 'd' where id = 9; update shelves set open = false where id = 9";
    let (one, two, shown) = ("/notes?id=eq.1", "/notes?id=eq.2", "/shown?id=eq.1");
    let stage = Stage::set(&database, None, 1, tables, neutral, &[one, two, shown]).await;
    stage.change("update notes set note = 'e' where id = 1", &[one, shown]).await;
    stage.change("update notes set note = 'e' where id = 2", &[two, shown]).await;
    stage.change("update shelves set open = false where id = 2", &[one, two, shown]).await;
}
