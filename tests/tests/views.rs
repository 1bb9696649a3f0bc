//! Reads through views: what they depend on, and what they must not be cached for.

use serde_json::json;
use transom_tests::{CacheStatus, Database, Node, NodeBuilder, Postgres, Response};

const SCHEMA: &str = "
    create schema private;
    create table private.prices (carrier text primary key, price int not null);
    insert into private.prices values ('UA', 100), ('AA', 200);
    create view joined as select a.carrier, a.name, p.price from airlines a join private.prices p using (carrier);
    create view nested as select upper(name) as loud, price from joined where price > 50;
    create view prices as select * from private.prices;
    create materialized view totals as select count(*) as airlines from airlines;
    create view clock as select now() as now, name from airlines;
    create view dice as select random() as random, name from airlines;
    create function step() returns float language sql volatile as $$ select random() $$;
    create function label(text) returns text language sql immutable as $$ select '<' || $1 || '>' $$;
    create function peek() returns bigint language sql stable as $$ select count(*) from public.airports $$;
    create view stepped as select step() as step, name from airlines;
    create view labelled as select label(name) as label, carrier from airlines;
    create view peeked as select peek() as airports, carrier from airlines;
    create function peek_whole() returns bigint language sql stable begin atomic select count(*) from airports; end;
    create view seen_through as select peek_whole() as airports, carrier from airlines;
    create view whoami as select current_user::text as who, carrier from airlines;
    create table owned (id int primary key, owner text not null, note text);
    insert into owned values (1, 'web_anon', 'mine'), (2, 'somebody', 'not mine');
    alter table owned enable row level security;
    create policy own on owned using (owner = current_user);
    create view owned_by_postgres as select * from owned;
    create view owned_by_caller with (security_invoker) as select * from owned;
    grant select, insert, update, delete on joined, nested, prices, totals, clock, dice, stepped, labelled, peeked, seen_through, whoami,
        owned, owned_by_postgres, owned_by_caller to web_anon;
";

async fn node() -> (Database, Node) {
    let database = Postgres::shared().await.database().await;
    database.execute(SCHEMA).await;
    let node = NodeBuilder::on(&database).start().await;
    (database, node)
}

async fn read(node: &Node, target: &str) -> Response {
    node.rest().get(target).send().await.expect_status(200)
}

fn gist(response: &Response) -> String {
    CacheStatus::of(response).gist()
}

async fn cached(node: &Node, target: &str) {
    read(node, target).await;
    assert_eq!(gist(&read(node, target).await), "detail=l1; hit", "{target}");
}

#[tokio::test]
async fn a_view_depends_on_every_table_below_it_also_in_schemas_that_are_not_served() {
    let (_database, node) = node().await;
    for target in ["/joined?carrier=eq.UA", "/nested?order=price"] {
        for (write, news) in [
            (node.rest().patch("/airlines?carrier=eq.UA", &json!({ "name": "Untied" })), "UNTIED"),
            (node.rest().patch("/prices?carrier=eq.UA", &json!({ "price": 321 })), "321"),
            (node.rest().patch("/airlines?carrier=eq.UA", &json!({ "name": "United" })), "UNITED"),
            (node.rest().patch("/prices?carrier=eq.UA", &json!({ "price": 100 })), "100"),
        ] {
            cached(&node, target).await;
            cached(&node, "/airports?limit=1").await;
            write.send().await.expect_status(204);
            let after = read(&node, target).await;
            assert_eq!(gist(&after), "detail=incoherent; fwd=stale; stored", "{target}");
            assert!(after.text().to_uppercase().contains(news), "{target}: {}", after.text());
            assert_eq!(gist(&read(&node, "/airports?limit=1").await), "detail=l1; hit");
        }
    }
}

/// It changes when it is refreshed, and not when the tables below it do: serving it again is right.
#[tokio::test]
async fn a_materialized_view_stands_for_itself() {
    let (database, node) = node().await;
    cached(&node, "/totals").await;
    node.rest().post("/airlines", &json!({ "carrier": "ZZ", "name": "Zz" })).send().await.expect_status(201);
    let after = read(&node, "/totals").await;
    assert_eq!(after.text(), r#"[{"airlines":16}]"#);
    database.execute("refresh materialized view totals").await;
    let purge = json!({ "tables": ["public.totals"] });
    let purged = node.admin().post("/purge", &purge).send().await;
    assert!(purged.status < 300, "{purged:?}");
    assert_eq!(read(&node, "/totals").await.text(), r#"[{"airlines":17}]"#);
}

#[tokio::test]
async fn a_view_that_calls_something_opaque_is_not_cached_and_says_so() {
    let (_database, node) = node().await;
    for view in ["clock", "dice", "stepped", "peeked"] {
        let target = format!("/{view}?limit=1");
        let (one, other) = (read(&node, &target).await, read(&node, &target).await);
        for answer in [&one, &other] {
            assert_eq!(gist(answer), "detail=function; fwd=bypass", "{view}");
        }
        if ["clock", "dice", "stepped"].contains(&view) {
            assert_ne!(one.text(), other.text(), "{view}");
        }
        let refused = node.rest().get(&target).header("cache-control", "only-if-cached").send().await;
        assert_eq!(refused.status, 504, "{view}");
    }
    cached(&node, "/labelled?limit=1").await;
    // The role is part of the key.
    cached(&node, "/whoami?limit=1").await;
    assert!(read(&node, "/whoami?limit=1").await.text().contains("web_anon"));
}

/// PostgreSQL keeps the parsed body of such a function, and with it what the function reads.
#[tokio::test]
async fn a_view_depends_on_what_its_functions_read_if_that_is_known() {
    let (_database, node) = node().await;
    let target = "/seen_through?limit=1";
    cached(&node, target).await;
    let airport = json!({ "faa": "ZZZ", "name": "Nowhere", "lat": 0, "lon": 0, "alt": 0, "tz": 0, "dst": "N" });
    node.rest().post("/airports", &airport).send().await.expect_status(201);
    let after = read(&node, target).await;
    assert_eq!(gist(&after), "detail=incoherent; fwd=stale; stored");
}

#[tokio::test]
async fn rows_behind_a_policy_are_only_the_callers_own_also_from_the_cache() {
    let (_database, node) = node().await;
    for (target, mine, foreign) in [
        ("/owned?order=id", true, false),
        ("/owned_by_caller?order=id", true, false),
        // The view reads as its owner, a superuser, whom no policy binds.
        ("/owned_by_postgres?order=id", true, true),
    ] {
        for _ in 0..2 {
            let answer = read(&node, target).await;
            assert_eq!(
                (answer.text().contains("\"mine"), answer.text().contains("not mine")),
                (mine, foreign),
                "{target}"
            );
        }
        cached(&node, target).await;
    }
    // A write that the policy hides the row from changes nothing.
    node.rest().patch("/owned?id=eq.2", &json!({ "note": "taken" })).send().await.expect_status(204);
    assert!(!read(&node, "/owned_by_postgres").await.text().contains("taken"));
    node.rest().patch("/owned?id=eq.1", &json!({ "note": "still mine" })).send().await.expect_status(204);
    assert!(read(&node, "/owned_by_postgres").await.text().contains("still mine"));
    let refused = node.rest().post("/owned", &json!({ "id": 3, "owner": "somebody" })).send().await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("42501")));
}

#[tokio::test]
async fn values_that_mean_now_are_not_cached() {
    let (_database, node) = node().await;
    for target in ["/flights?time_hour=lt.now&limit=1", "/flights?time_hour=lt.today&limit=1"] {
        for _ in 0..2 {
            assert_eq!(gist(&read(&node, target).await), "detail=current-time; fwd=bypass", "{target}");
        }
    }
    cached(&node, "/flights?time_hour=lt.2013-01-02T00:00:00Z&limit=1").await;
}

#[tokio::test]
async fn a_table_made_after_the_start_is_served_and_not_cached() {
    let (database, node) = node().await;
    node.rest().get("/late").send().await.expect_status(404);
    database.execute("create table late as select 1 as id; grant select on late to web_anon").await;
    for _ in 0..2 {
        let answer = read(&node, "/late").await;
        assert_eq!(
            (gist(&answer).as_str(), answer.text().as_str()),
            ("detail=unknown-relation; fwd=bypass", r#"[{"id":1}]"#)
        );
    }
}
