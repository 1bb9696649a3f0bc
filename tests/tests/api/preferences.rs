//! `Prefer`: how a transaction ends, in which time zone it runs, how much it may change, how a function is given its
//! arguments.

use serde_json::{Value, json};
use transom_tests::{Node, Response};

use super::{node, shop};
use crate::rest_api::asked_thrice;

async fn post(node: &Node, prefer: &str, row: &Value) -> Response {
    node.rest().post("/clients", row).header("prefer", prefer).send().await
}

#[tokio::test]
async fn what_is_rolled_back_is_answered_and_neither_stays_nor_invalidates() {
    let database = shop("").await;
    let node = node(&database, &[("db_tx_end", "commit-allow-override")]).await;
    let read = "/clients?id=gt.3";
    asked_thrice(node.rest(), read).await;
    let answer = post(&node, "tx=rollback, return=representation", &json!({"id": 4, "name": "Di"})).await;
    assert_eq!((answer.status, answer.json()), (201, json!([{"id": 4, "name": "Di"}])));
    assert_eq!(answer.header("preference-applied"), "return=representation, tx=rollback");
    assert!(!answer.headers.contains_key("transom-token"), "{answer:?}");
    let hit = node.rest().get(read).send().await;
    assert!(hit.header("cache-status").starts_with("transom; hit"), "{hit:?}");
    let kept = post(&node, "tx=commit", &json!({"id": 4, "name": "Di"})).await.expect_status(201);
    assert_eq!(kept.header("preference-applied"), "tx=commit");
    assert_eq!(node.rest().get(read).send().await.json(), json!([{"id": 4, "name": "Di"}]));
}

#[tokio::test]
async fn a_setting_decides_how_transactions_end_and_whether_requests_may_say_so() {
    let database = shop("").await;
    for (setting, prefer, stays, applied) in [
        ("commit", "tx=rollback", true, ""),
        ("rollback", "tx=commit", false, ""),
        ("rollback-allow-override", "count=exact", false, "count=exact"),
        ("rollback-allow-override", "tx=commit", true, "tx=commit"),
    ] {
        let node = node(&database, &[("db_tx_end", setting)]).await;
        let answer = post(&node, prefer, &json!({"id": 4, "name": "Di"})).await.expect_status(201);
        assert_eq!(answer.header("preference-applied"), applied, "{setting} {prefer}");
        let there = database.value("select count(*) from shop.clients where id = 4").await;
        assert_eq!(there.as_deref(), Some(if stays { "1" } else { "0" }), "{setting} {prefer}");
        database.execute("delete from shop.clients where id = 4").await;
    }
}

#[tokio::test]
async fn a_deferred_constraint_is_checked_before_a_rollback() {
    let database =
        shop("alter table shop.tasks alter constraint tasks_project_id_fkey deferrable initially deferred;").await;
    let node = node(&database, &[("db_tx_end", "rollback")]).await;
    let refused = node.rest().post("/tasks", &json!({"id": 9, "project_id": 99})).send().await.expect_status(409);
    assert_eq!(refused.json()["code"], "23503");
}

#[tokio::test]
async fn a_time_zone_is_that_of_the_session_and_part_of_the_question() {
    let database = shop(
        "create table shop.moments (at timestamptz); insert into shop.moments values ('2024-01-01 00:00+00');
         grant all on shop.moments to web_anon;",
    )
    .await;
    let node = node(&database, &[]).await;
    for _ in 0..3 {
        for (zone, at) in [("Asia/Tokyo", "09:00:00+09:00"), ("Etc/GMT+5", "19:00:00-05:00"), ("UTC", "00:00:00+00:00")]
        {
            let answer = node.rest().get("/moments").header("prefer", format!("timezone={zone}")).send().await;
            assert_eq!(answer.header("preference-applied"), format!("timezone={zone}"));
            assert!(answer.text().contains(at), "{zone}: {}", answer.text());
        }
    }
    let lenient = node.rest().get("/moments").header("prefer", "timezone=Nowhere/Land").send().await.expect_status(200);
    assert!(!lenient.headers.contains_key("preference-applied"));
    let strict =
        node.rest().get("/moments").header("prefer", "handling=strict, timezone=Nowhere/Land, x=y").send().await;
    let expected = json!({"code": "PGRST122", "message": "Invalid preferences given with handling=strict",
        "details": "Invalid preferences: timezone=Nowhere/Land, x=y", "hint": null});
    assert_eq!((strict.status, strict.json()), (400, expected));
}

#[tokio::test]
async fn a_write_that_changes_more_than_it_may_changes_nothing() {
    let database = shop("").await;
    let node = node(&database, &[]).await;
    let delete = |prefer: &str| node.rest().delete("/tasks?id=lt.4").header("prefer", prefer);
    let refused = delete("handling=strict, max-affected=2").send().await;
    let expected = json!({"code": "PGRST124", "message": "Query result exceeds max-affected preference constraint",
        "details": "The query affects 3 rows", "hint": null});
    assert_eq!((refused.status, refused.json()), (400, expected));
    assert_eq!(database.value("select count(*) from shop.tasks").await.as_deref(), Some("8"));
    let allowed = delete("handling=strict, max-affected=3").send().await.expect_status(204);
    assert_eq!(allowed.header("preference-applied"), "handling=strict, max-affected=3");
    let patch =
        node.rest().patch("/tasks?id=gt.3", &json!({"name": "x"})).header("prefer", "handling=lenient, max-affected=1");
    assert_eq!(patch.send().await.expect_status(204).header("preference-applied"), "handling=lenient");
}

#[tokio::test]
async fn a_function_is_given_everything_as_one_object() {
    let database = shop(
        "create function shop.echo(data json) returns json language sql immutable as 'select data';
         create function shop.add(a int, b int) returns int language sql immutable as 'select a + b';",
    )
    .await;
    let node = node(&database, &[]).await;
    let single = "params=single-object";
    for _ in 0..3 {
        let got = node.rest().get("/rpc/echo?x=1&y=2&y=3").header("prefer", single).send().await.expect_status(200);
        assert_eq!((got.header("preference-applied"), got.json()), (single, json!({"x": "1", "y": "3"})));
    }
    let posted = node.rest().post("/rpc/echo", &json!([{"x": 1}])).header("prefer", single).send().await;
    assert_eq!((posted.status, posted.json()), (200, json!([{"x": 1}])));
    let refused = node.rest().post("/rpc/add", &json!({"a": 1, "b": 2})).header("prefer", single).send().await;
    let details = "Searched for the function shop.add with a single json/jsonb parameter, but no matches were found in the \
                   schema cache.";
    assert_eq!((refused.status, refused.json()["details"].as_str()), (404, Some(details)));
}
