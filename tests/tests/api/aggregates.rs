//! `count()`, `sum()`, `avg()`, `min()`, `max()`, and what groups the rows.

use serde_json::json;

use super::{node, shop};
use crate::rest_api::asked_thrice;

#[tokio::test]
async fn rows_are_grouped_and_hits_answer_as_misses_do() {
    let database = shop("").await;
    let node = node(&database, &[("db_aggregates_enabled", "true")]).await;
    for (target, expected) in [
        ("/projects?select=count()", json!([{"count": 5}])),
        (
            "/projects?select=client_id,n:count(),budget.sum()::int&order=client_id",
            json!([{"client_id": 1, "n": 2, "sum": 301}, {"client_id": 2, "n": 2, "sum": 300},
                {"client_id": null, "n": 1, "sum": 1}]),
        ),
        (
            "/projects?select=name,tasks(count(),effort.avg())&order=id&limit=2",
            json!([{"name": "Mill", "tasks": [{"avg": 9, "count": 2}]},
                {"name": "Dam", "tasks": [{"avg": 4.5, "count": 2}]}]),
        ),
        ("/projects?select=clients(name),count()&client_id=eq.1", json!([{"count": 2, "clients": {"name": "Ann"}}])),
        (
            "/tasks?select=...projects(client_id,budget.sum())&order=projects(client_id)",
            json!([{"client_id": 1, "sum": 601.0}, {"client_id": 2, "sum": 600}]),
        ),
        ("/projects?select=doc->a->>n::int.sum(),kinds:doc->>t.count()", json!([{"sum": 3, "kinds": 3}])),
        ("/projects?select=t:doc->>t,count()&id=eq.1", json!([{"t": "fat cats", "count": 1}])),
    ] {
        let target = target.replace('>', "%3E");
        let answer = asked_thrice(node.rest(), &target).await;
        assert_eq!((answer.status, answer.json()), (200, expected), "{target}");
    }
}

#[tokio::test]
async fn an_aggregate_follows_the_rows_that_it_is_made_of() {
    let database = shop("").await;
    let node = node(&database, &[("db_aggregates_enabled", "true")]).await;
    let read = "/projects?select=name,tasks(count())&id=eq.1";
    asked_thrice(node.rest(), read).await;
    node.rest().post("/tasks", &json!({"id": 9, "project_id": 1})).send().await.expect_status(201);
    let answer = node.rest().get(read).send().await;
    assert_eq!(answer.json(), json!([{"name": "Mill", "tasks": [{"count": 3}]}]));
}

#[tokio::test]
async fn without_leave_there_are_no_aggregates() {
    let database = shop("").await;
    let node = node(&database, &[]).await;
    let refused = node.rest().get("/projects?select=count()").send().await.expect_status(400);
    assert_eq!(
        refused.json(),
        json!({"code": "PGRST123", "message": "Use of aggregate functions is not allowed", "details": null, "hint": null})
    );
}
