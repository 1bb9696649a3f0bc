//! `Prefer: count=`: exact, by the planner, or by the planner beyond what one response holds.

use super::{node, shop};
use transom_tests::Response;

fn counted(answer: &Response) -> (u16, &str, &str) {
    (answer.status, answer.header("content-range"), answer.header("preference-applied"))
}

#[tokio::test]
async fn the_planner_is_asked_for_planned_and_for_large_estimates_only() {
    // Without another ANALYZE the planner does not know of rows that were deleted, though it sees the size of the table.
    let database =
        shop("alter table shop.tasks set (autovacuum_enabled = false); delete from shop.tasks where id > 6;").await;
    let guess = database.value("explain (format json) select 1 from shop.tasks").await.expect("a plan");
    let guess: serde_json::Value = serde_json::from_str(&guess).expect("JSON");
    let guess = guess[0]["Plan"]["Plan Rows"].as_i64().expect("rows");
    assert_ne!(guess, 6, "the guess is not the count, or this test shows nothing");
    let (unbounded, bounded) = (node(&database, &[]).await, node(&database, &[("db_max_rows", "3")]).await);
    let ask = async |node: &transom_tests::Node, target: &str, count: &str| {
        let request = || node.rest().get(target).header("prefer", format!("count={count}"));
        let first = request().send().await;
        for _ in 0..2 {
            let hit = request().send().await;
            assert!(hit.header("cache-status").starts_with("transom; hit"), "{hit:?}");
            assert_eq!((counted(&hit), hit.text()), (counted(&first), first.text()));
        }
        first
    };
    let tasks = "/tasks?select=id&order=id";
    let planned = ask(&unbounded, tasks, "planned").await;
    assert_eq!(counted(&planned), (206, &*format!("0-5/{guess}"), "count=planned"));
    assert_eq!(counted(&ask(&unbounded, tasks, "exact").await), (200, "0-5/6", "count=exact"));
    // Whichever is more, without a bound as well.
    assert_eq!(counted(&ask(&unbounded, tasks, "estimated").await).1, format!("0-5/{}", guess.max(6)));
    assert_eq!(
        counted(&ask(&bounded, tasks, "estimated").await),
        (206, &*format!("0-2/{}", guess.max(4)), "count=estimated")
    );
    assert_eq!(counted(&ask(&bounded, "/tasks?id=lt.3", "estimated").await), (200, "0-1/2", "count=estimated"));
}
