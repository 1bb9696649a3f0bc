//! Media types beside JSON and CSV: what the database makes, features, execution plans.

use serde_json::{Value, json};
use transom_tests::{Node, Response};

use super::{node, shop};

const MADE: &str = r#"
    create domain shop."text/plain" as text;
    create domain shop."application/vnd.names" as bytea;
    create domain shop."*/*" as bytea;
    create function shop.greeting() returns shop."text/plain" language sql immutable as $$ select 'hello'::shop."text/plain" $$;
    create function shop.bytes() returns shop."*/*" language sql immutable as $$ select '\x00ff01'::bytea::shop."*/*" $$;
    create function shop.add_name(state bytea, next shop.projects) returns bytea language sql immutable
        as $$ select state || next.name::bytea || ';' $$;
    create function shop.finish(state bytea) returns shop."application/vnd.names" language sql immutable
        as $$ select state::shop."application/vnd.names" $$;
    create aggregate shop.names(shop.projects) (initcond = '', stype = bytea, sfunc = shop.add_name, finalfunc = shop.finish);
    create function shop.add_any(state shop."text/plain", next anyelement) returns shop."text/plain" language sql immutable
        as $$ select (state || coalesce(to_json(next) ->> 'name', '?') || ';')::shop."text/plain" $$;
    create aggregate shop.any_names(anyelement) (initcond = '', stype = shop."text/plain", sfunc = shop.add_any);
    create function shop.projects_of(c int) returns setof shop.projects language sql stable
        as 'select * from shop.projects where client_id = c order by id';
    create function public.st_asgeojson(feature record) returns text language plpgsql as $$
    begin
        return json_build_object('type', 'Feature', 'properties', to_json(feature))::text;
    end $$;"#;

async fn accept(node: &Node, target: &str, media: &str) -> Response {
    node.rest().get(target).header("accept", media).send().await
}

#[tokio::test]
async fn what_the_database_makes_is_sent_as_it_is() {
    let database = shop(MADE).await;
    let node = node(&database, &[]).await;
    for (target, asked, made, body) in [
        ("/rpc/greeting", "text/plain", "text/plain; charset=utf-8", &b"hello"[..]),
        ("/rpc/bytes", "*/*", "application/octet-stream", b"\x00\xff\x01"),
        ("/rpc/bytes", "image/png", "application/octet-stream", b"\x00\xff\x01"),
        ("/projects?id=lt.3&order=id", "application/vnd.names", "application/vnd.names", b"Mill;Dam;"),
        ("/rpc/projects_of?c=1", "application/vnd.names", "application/vnd.names", b"Mill;Dam;"),
        ("/clients?order=id", "text/plain", "text/plain; charset=utf-8", b"Ann;Bob;Cy;"),
        ("/rpc/greeting", "application/json", "application/json; charset=utf-8", b"\"hello\""),
    ] {
        for _ in 0..3 {
            let answer = accept(&node, target, asked).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, made), "{target}: {}", answer.text());
            assert_eq!(answer.body, body, "{target} as {asked}");
        }
    }
    for (target, asked) in
        [("/clients", "application/vnd.names"), ("/rpc/greeting", "text/html"), ("/clients", "image/png")]
    {
        let refused = accept(&node, target, asked).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (415, Some("PGRST107")), "{target} as {asked}");
    }
}

#[tokio::test]
async fn an_immutable_result_is_cached_and_what_a_users_aggregate_makes_is_not() {
    let database = shop(MADE).await;
    let node = node(&database, &[]).await;
    accept(&node, "/rpc/greeting", "text/plain").await;
    let hit = accept(&node, "/rpc/greeting", "text/plain").await;
    assert!(hit.header("cache-status").starts_with("transom; hit"), "{hit:?}");
    for (target, media) in [("/clients", "text/plain"), ("/clients", "application/geo+json")] {
        let answer = accept(&node, target, media).await;
        assert_eq!(answer.header("cache-status"), "transom; fwd=bypass; detail=function", "{media}");
    }
}

#[tokio::test]
async fn features_are_collected_also_from_what_a_write_returns() {
    let database = shop(MADE).await;
    let node = node(&database, &[]).await;
    let collection = json!({"type": "FeatureCollection", "features":
        [{"type": "Feature", "properties": {"id": 3, "name": "Cy"}}]});
    let read = accept(&node, "/clients?id=eq.3", "application/geo+json").await;
    assert_eq!((read.header("content-type"), read.json()), ("application/geo+json; charset=utf-8", collection.clone()));
    let patch = node.rest().patch("/clients?id=eq.3", &json!({"name": "Cy"})).header("prefer", "return=representation");
    assert_eq!(patch.header("accept", "application/geo+json").send().await.expect_status(200).json(), collection);
}

#[tokio::test]
async fn a_plan_is_shown_if_a_setting_grants_it_and_is_never_cached() {
    let database = shop("").await;
    let (plain, open) = (node(&database, &[]).await, node(&database, &[("db_plan_enabled", "true")]).await);
    let refused = accept(&plain, "/projects", "application/vnd.pgrst.plan").await;
    let message = "None of these media types are available: application/vnd.pgrst.plan+text; for=\"application/json\"";
    assert_eq!((refused.status, refused.json()["message"].as_str()), (415, Some(message)));
    for _ in 0..2 {
        let asked = "application/vnd.pgrst.plan+json; for=\"text/csv\"; options=verbose|analyze";
        let answer = accept(&open, "/projects?id=eq.1", asked).await;
        let media = "application/vnd.pgrst.plan+json; for=\"text/csv\"; options=analyze|verbose; charset=utf-8";
        assert_eq!((answer.status, answer.header("content-type")), (200, media));
        assert_eq!(answer.header("cache-status"), "transom; fwd=bypass; detail=execution-plan");
        assert!(answer.json()[0]["Plan"]["Actual Rows"].is_number(), "{}", answer.text());
    }
    let text = accept(&open, "/projects", "application/vnd.pgrst.plan").await;
    assert!(text.text().starts_with("Aggregate  (cost="), "{}", text.text());
}

#[tokio::test]
async fn the_plan_of_a_write_changes_nothing_unless_it_is_analyzed() {
    let database = shop("").await;
    let node = node(&database, &[("db_plan_enabled", "true")]).await;
    let read = async || node.rest().get("/clients?id=eq.9&select=name").send().await.json();
    let insert = async |media: &str| {
        let row: Value = json!({"id": 9, "name": "Io"});
        node.rest().post("/clients", &row).header("accept", media).send().await.expect_status(200)
    };
    assert_eq!(read().await, json!([]));
    assert!(insert("application/vnd.pgrst.plan").await.text().contains("Insert on clients"));
    assert_eq!(read().await, json!([]));
    insert("application/vnd.pgrst.plan; options=analyze").await;
    assert_eq!(read().await, json!([{"name": "Io"}]));
}
