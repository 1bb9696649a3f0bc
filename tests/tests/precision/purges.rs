//! Every kind of purge reaches what carries the tags of rows.

use serde_json::json;
use transom_tests::{NodeBuilder, Postgres};

use super::stage::Stage;
use super::{ALBUM, ALL, ARTIST, MUSIC, NEUTRAL, OF_1, TARGETS, WITH_ALBUMS};

const BY_GENRE: &str = "/albums?order=genre";

#[tokio::test]
async fn each_kind_of_purge_reaches_what_carries_the_tags_of_rows() {
    let database = Postgres::shared().await.database().await;
    let targets = [TARGETS.as_slice(), &[BY_GENRE]].concat();
    let stage = Stage::set(&database, None, 1, MUSIC, NEUTRAL, &targets).await;
    let node = &stage.nodes[0];
    let everything = targets.clone();
    let of_albums: Vec<&str> = targets.iter().copied().filter(|target| *target != ARTIST).collect();
    let url = format!("/rest/v1{ALBUM}");
    for (purge, gone) in [
        (json!({ "all": true }), everything),
        (json!({ "tables": ["albums"] }), of_albums.clone()),
        (json!({ "tags": ["public.albums(all)"] }), of_albums),
        (json!({ "urls": [url] }), vec![ALBUM]),
        (json!({ "tags": ["public.artists(id=1)"] }), vec![ARTIST, WITH_ALBUMS]),
        (json!({ "tags": ["public.albums(artist_id=1)"] }), vec![OF_1, WITH_ALBUMS]),
        (json!({ "tags": ["public.albums(*)"] }), vec![BY_GENRE]),
        (json!({ "tags": ["public.albums(id/16=0)"] }), vec![ALL]),
        (json!({ "tags": ["public.albums(id=4)"] }), vec![]),
    ] {
        stage.warm().await;
        node.admin().post("/purge", &purge).send().await.expect_status(200);
        for target in &targets {
            let answer = node.rest().get(target).send().await.expect_status(200);
            assert_eq!(answer.is_hit(), !gone.contains(target), "{purge}: {target}");
        }
    }
}

#[tokio::test]
async fn without_a_feed_every_answer_carries_the_tag_of_any_row() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let united = "/airlines?carrier=eq.UA";
    for purge in [json!({ "tags": ["public.airlines(*)"] }), json!({ "tables": ["airlines"] })] {
        node.rest().get(united).send().await.expect_status(200);
        assert!(node.rest().get(united).send().await.is_hit());
        node.admin().post("/purge", &purge).send().await.expect_status(200);
        assert!(!node.rest().get(united).send().await.is_hit(), "{purge}");
    }
}

#[tokio::test]
async fn what_is_no_tag_is_refused_and_purges_nothing() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let united = "/airlines?carrier=eq.UA";
    node.rest().get(united).send().await.expect_status(200);
    for tag in ["airlines", "public.airlines", "public.airlines(carrier)", "airlines(*)"] {
        let purge = json!({ "tags": ["public.airlines(*)", tag] });
        let answer = node.admin().post("/purge", &purge).send().await.expect_status(400);
        assert!(answer.text().contains("is no tag; tags are schema.table(column=value"), "{}", answer.text());
    }
    assert!(node.rest().get(united).send().await.is_hit());
}
