//! Random questions and random changes: whatever is hit afterwards is the truth.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use transom_tests::{Postgres, Redis};

use super::stage::Stage;
use super::{MUSIC, NEUTRAL};

const QUESTIONS: usize = 64;
const ROUNDS: usize = 16;
const CHANGES_PER_ROUND: usize = 4;

fn filter() -> impl Strategy<Value = String> {
    let id =
        prop_oneof![(1..10).prop_map(|n| format!("eq.{n}")), (1..9, 1..9).prop_map(|(a, b)| format!("in.({a},0{b})"))];
    let artist = prop_oneof![
        Just("is.null".to_owned()),
        (1..10).prop_map(|n| format!("eq.{n}")),
        (1..10).prop_map(|n| format!("gt.{n}")),
    ];
    prop_oneof![
        id.prop_map(|id| format!("id={id}")),
        artist.clone().prop_map(|artist| format!("artist_id={artist}")),
        (artist, "(rock|folk)").prop_map(|(artist, genre)| format!("artist_id={artist}&genre=eq.{genre}")),
        "(rock|folk)".prop_map(|genre| format!("genre=eq.{genre}&live=is.true")),
        (1..10).prop_map(|n| format!("or=(id.eq.{n},genre.eq.rock)&live=eq.false")),
    ]
}

fn question() -> impl Strategy<Value = String> {
    let albums =
        ["*", "id,genre", "*,artists(*)", "*,tags(*)", "*,artists!inner(name)", "id,tagged(*),artists(*,albums(id))"];
    let artists = ["*", "*,albums(*)", "name,albums!inner(id)", "*,albums(*,tags(name))", "*,albums(genre)"];
    prop_oneof![
        (filter(), prop::sample::select(albums.to_vec()))
            .prop_map(|(filter, select)| format!("/albums?{filter}&select={select}&order=id")),
        (1..10, prop::sample::select(artists.to_vec()), prop::option::of("(rock|folk)")).prop_map(
            |(n, select, genre)| {
                let genre =
                    genre.filter(|_| select.contains("albums")).map(|genre| format!("&albums.genre=eq.{genre}"));
                format!("/artists?id=eq.{n}&select={select}{}&order=id", genre.unwrap_or_default())
            }
        ),
        (page(), prop::sample::select(albums.to_vec()))
            .prop_map(|(page, select)| format!("/albums?{page}&select={select}")),
        (1..4).prop_map(|n| format!("/tags?id=eq.{n}&select=*,albums(*)")),
    ]
}

/// Rows in an order that leaves no choice, and rows between bounds.
fn page() -> impl Strategy<Value = String> {
    let bound = || 0..45_u32;
    prop_oneof![
        (bound(), 1..8).prop_map(|(first, rows)| format!("id=gte.{first}&order=id&limit={rows}")),
        (bound(), 1..8).prop_map(|(last, rows)| format!("id=lt.{last}&order=id.desc&limit={rows}")),
        (0..3, 1..8).prop_map(|(offset, rows)| format!("order=id&limit={rows}&offset={offset}")),
        (1..9, 1..8).prop_map(|(first, rows)| format!("artist_id=gte.{first}&order=artist_id,id&limit={rows}")),
        (bound(), bound(), "(rock|folk)")
            .prop_map(|(first, last, genre)| format!("id=gt.{first}&id=lte.{last}&genre=neq.{genre}&order=id")),
    ]
}

fn change() -> impl Strategy<Value = String> {
    let artist = prop_oneof![Just("null".to_owned()), (1..10_u32).prop_map(|n| n.to_string())];
    prop_oneof![
        (1..10).prop_map(|n| format!("update artists set name = name || '.' where id = {n}")),
        (1..10, artist.clone())
            .prop_map(|(n, artist)| format!("update albums set artist_id = {artist} where id = {n}")),
        (1..10, "(rock|folk)").prop_map(|(n, genre)| format!("update albums set genre = '{genre}' where id = {n}")),
        (1..10).prop_map(|n| format!("update albums set live = not live where id = {n}")),
        (20..40, artist).prop_map(|(n, artist)| {
            format!(
                "insert into albums values ({n}, {artist}, 'rock', true) on conflict (id) do update set live = false"
            )
        }),
        (20..40).prop_map(|n| format!("delete from albums where id = {n}")),
        (-3..60_i32)
            .prop_map(|n| format!("update albums set id = {n} where id = (select max(id) from albums where id > 9)")),
        (1..10, 1..4).prop_map(|(n, tag)| format!("insert into tagged values ({n}, {tag}) on conflict do nothing")),
        (1..10, 1..4).prop_map(|(n, tag)| format!("delete from tagged where album_id = {n} and tag_id = {tag}")),
        (1..4).prop_map(|n| format!("update tags set name = name || '.' where id = {n}")),
        (10..20).prop_map(|n| format!("update tags set id = {n} where id = (select max(id) from tags where id > 3)")),
        Just("update tagged set tag_id = tag_id % 3 + 1 where album_id = 3".to_owned()),
    ]
}

#[tokio::test]
async fn after_random_changes_every_answer_is_the_truth() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let mut runner = TestRunner::deterministic();
    let tables = format!("{MUSIC}; insert into tags values (11, 'far')");
    let questions: Vec<String> =
        (0..QUESTIONS).map(|_| question().new_tree(&mut runner).expect("it makes values").current()).collect();
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let stage = Stage::set(&database, Some(&redis), 2, &tables, NEUTRAL, &questions).await;
    for _ in 0..ROUNDS {
        let changes: Vec<String> = (0..CHANGES_PER_ROUND)
            .map(|_| change().new_tree(&mut runner).expect("it makes values").current())
            .collect();
        stage.warm().await;
        for sql in &changes {
            // Some are refused: an album has a tag once, and keeps its artist.
            drop(database.client().await.batch_execute(sql).await);
        }
        stage.heard().await;
        stage.agree().await;
    }
}
