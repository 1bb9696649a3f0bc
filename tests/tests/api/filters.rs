//! Filters that later versions of PostgREST have, and 12.0.2 refuses.

use serde_json::json;

use super::{node, shop};
use crate::rest_api::asked_thrice;

#[tokio::test]
async fn later_filters_are_answered() {
    let database = shop("").await;
    let node = node(&database, &[]).await;
    for (target, ids) in [
        ("/projects?select=id&doc=is.not_null&order=id", json!([1, 2, 4, 5])),
        ("/projects?select=id&doc=not.is.not_null", json!([3])),
        ("/projects?select=id&or=(budget.is.NOT_NULL,id.eq.4)&id=gt.3&order=id", json!([4, 5])),
        ("/projects?select=id,clients()&clients=is.not_null&id=gt.3", json!([4])),
        ("/projects?select=id&doc=fts(english).cat&order=id", json!([1, 4])),
        ("/projects?select=id&doc->t=plfts(english).dog", json!([2])),
    ] {
        let answer = asked_thrice(node.rest(), &target.replace('>', "%3E")).await;
        let found: Vec<_> = answer.json().as_array().expect("rows").iter().map(|row| row["id"].clone()).collect();
        assert_eq!((answer.status, json!(found)), (200, ids), "{target}: {}", answer.text());
    }
}
