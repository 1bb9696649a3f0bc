//! Spreading what there may be many of: 12.0.2 refuses it, later versions make lists of the columns.

use serde_json::json;

use super::{node, shop};
use crate::rest_api::asked_thrice;

#[tokio::test]
async fn columns_of_many_rows_stand_as_lists_beside_the_parents() {
    let database = shop("").await;
    let node = node(&database, &[("db_aggregates_enabled", "true")]).await;
    for (target, expected) in [
        (
            "/clients?select=name,...projects(works:name,budget)&projects.order=id.desc&order=id",
            json!([{"name": "Ann", "works": ["Dam", "Mill"], "budget": [200, 100.5]},
                {"name": "Bob", "works": ["Pond", "Well"], "budget": [null, 300]}, {"name": "Cy", "works": [], "budget": []}]),
        ),
        ("/clients?select=id,...projects!inner(name)&projects.budget=gt.250", json!([{"id": 2, "name": ["Well"]}])),
        ("/clients?select=id,...projects(budget)&projects=is.null", json!([{"id": 3, "budget": []}])),
        (
            "/clients?select=id,...projects(name,...clients(owner:name))&id=eq.1&projects.order=id",
            json!([{"id": 1, "name": ["Mill", "Dam"], "owner": ["Ann", "Ann"]}]),
        ),
        ("/clients?select=...projects(id),count()&id=eq.3", json!([{"count": 1, "id": []}])),
    ] {
        let answer = asked_thrice(node.rest(), target).await;
        assert_eq!((answer.status, answer.json()), (200, expected), "{target}");
    }
    let counted = node.rest().get("/clients?select=id,...projects!inner(name)&projects.budget=gt.250");
    assert_eq!(counted.header("prefer", "count=exact").send().await.header("content-range"), "0-0/1");
    let refused = node.rest().get("/clients?select=id,...projects(budget.sum())").send().await.expect_status(400);
    assert_eq!(refused.json()["code"], "PGRST119");
}
