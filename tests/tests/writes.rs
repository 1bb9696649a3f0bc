//! Writes through the proxy: status, headers, what is in the database, and what is read afterwards.

use std::time::Duration;

use serde_json::json;
use transom_tests::{CacheStatus, Database, Node, NodeBuilder, Postgres, Request, Response, eventually};

const SOON: Duration = Duration::from_secs(10);

/// Tables whose changes reach further than the statement says.
const SCHEMA: &str = "
    create table parents (id int primary key, name text not null unique);
    create table children (id int primary key, parent int not null references parents on delete cascade on update cascade);
    create table logs (id int generated always as identity primary key, text text);
    create table logged (id int primary key, name text, amount int check (amount >= 0));
    create function log() returns trigger language plpgsql security definer as
        $$ begin insert into public.logs (text) values (tg_op); return null; end $$;
    create trigger log after insert or update or delete on logged for each row execute function log();
    create view named_parents as select id, name from parents;
    create table parts (id int, region text not null, name text, primary key (id, region)) partition by list (region);
    create table parts_eu partition of parts for values in ('eu');
    create table parts_us partition of parts for values in ('us');
    create table deferred (id int primary key, parent int references parents deferrable initially deferred);
    create table pairs (a int, b int, name text default 'unnamed', primary key (a, b));
    create table secrets (id int primary key);
    insert into parents values (1, 'one'), (2, 'two'), (3, 'three');
    insert into children values (10, 1), (20, 2);
    insert into logged values (1, 'a', 1), (2, 'b', 2);
    insert into parts values (1, 'eu', 'a'), (1, 'us', 'b');
    grant all on parents, children, logged, named_parents, parts, parts_eu, parts_us, deferred, pairs to web_anon;
    grant select on logs, secrets to web_anon;
";

async fn node() -> (Database, Node) {
    node_after("").await
}

async fn node_after(more: &str) -> (Database, Node) {
    let database = Postgres::shared().await.database().await;
    database.execute(&format!("{SCHEMA}{more}")).await;
    let node = NodeBuilder::on(&database).start().await;
    (database, node)
}

async fn read(node: &Node, target: &str) -> Response {
    node.rest().get(target).send().await.expect_status(200)
}

fn hit(response: &Response) -> bool {
    CacheStatus::of(response).has("hit")
}

/// Fills every target, lets `write` happen, and says which targets hit afterwards.
async fn hits_after(node: &Node, targets: &[&str], write: Request) -> Vec<bool> {
    for target in targets {
        read(node, target).await;
        assert!(hit(&read(node, target).await), "{target} is cached before the write");
    }
    let written = write.send().await;
    assert!(written.status < 300, "{written:?}");
    let mut hits = Vec::new();
    for target in targets {
        hits.push(hit(&read(node, target).await));
    }
    hits
}

fn prefer(request: Request, value: &str) -> Request {
    if value.is_empty() { request } else { request.header("prefer", value) }
}

#[tokio::test]
async fn an_insert_answers_as_it_is_asked_to() {
    let (database, node) = node().await;
    for (id, preference, body, location, content_range) in [
        (11, "", "", "", "*/*"),
        (12, "return=minimal", "", "", "*/*"),
        (13, "return=headers-only", "", "/parents?id=eq.13", "*/*"),
        (14, "return=representation", r#"[{"id":14,"name":"n14"}]"#, "", "*/*"),
        (15, "return=representation,count=exact", r#"[{"id":15,"name":"n15"}]"#, "", "*/1"),
    ] {
        let row = json!({ "id": id, "name": format!("n{id}") });
        let answer = prefer(node.rest().post("/parents", &row), preference).send().await.expect_status(201);
        assert_eq!(answer.text(), body, "{preference}");
        assert_eq!(answer.header("location"), location, "{preference}");
        assert_eq!(answer.header("content-range"), content_range, "{preference}");
        assert_eq!(answer.header("content-type").is_empty(), body.is_empty(), "{preference}");
        assert_eq!(CacheStatus::of(&answer).gist(), "fwd=method");
        let applied = answer.header("preference-applied").replace(' ', "");
        assert_eq!(applied, preference, "{answer:?}");
    }
    assert_eq!(database.value("select count(*) from parents where id between 11 and 15").await.unwrap(), "5");
    let two_keys = prefer(node.rest().post("/pairs", &json!({ "a": 1, "b": 2 })), "return=headers-only").send().await;
    assert_eq!(two_keys.header("location"), "/pairs?a=eq.1&b=eq.2");
}

#[tokio::test]
async fn an_update_and_a_delete_answer_as_they_are_asked_to() {
    let (database, node) = node().await;
    let name = |name: &str| json!({ "name": name });
    let one = "/parents?id=eq.1";
    let minimal = node.rest().patch(one, &name("uno")).send().await.expect_status(204);
    assert_eq!((minimal.text().as_str(), minimal.header("content-range")), ("", "0-0/*"));
    let shown = prefer(node.rest().patch(one, &name("eins")), "return=representation").send().await.expect_status(200);
    assert_eq!(shown.text(), r#"[{"id":1,"name":"eins"}]"#);
    let part = node.rest().patch("/parents?id=eq.1&select=name", &name("un"));
    assert_eq!(prefer(part, "return=representation").send().await.text(), r#"[{"name":"un"}]"#);
    let none =
        prefer(node.rest().patch("/parents?id=eq.99", &name("x")), "count=exact").send().await.expect_status(204);
    assert_eq!(none.header("content-range"), "*/0");
    let none = prefer(node.rest().patch("/parents?id=eq.99", &name("x")), "return=representation").send().await;
    assert_eq!((none.status, none.text().as_str()), (200, "[]"));
    let object = node.rest().patch("/parents?id=gt.0", &json!({ "name": "same" }));
    let object = object.header("accept", "application/vnd.pgrst.object+json").send().await;
    assert!(object.status == 406 || object.status == 409, "{object:?}");
    assert_eq!(database.value("select count(*) from parents where name = 'same'").await.unwrap(), "0", "rolled back");

    let gone = prefer(node.rest().delete("/parents?id=eq.3"), "return=representation").send().await.expect_status(200);
    assert_eq!(gone.text(), r#"[{"id":3,"name":"three"}]"#);
    let counted = prefer(node.rest().delete("/children?id=eq.20"), "count=exact").send().await.expect_status(204);
    assert_eq!(counted.header("content-range"), "*/1");
    node.rest().delete("/children?id=eq.20").send().await.expect_status(204);
}

#[tokio::test]
async fn many_rows_at_once_defaults_forms_and_csv() {
    let (database, node) = node().await;
    let rows: Vec<_> = (0..2_000).map(|id| json!({ "a": id, "b": -id, "name": format!("n{id}") })).collect();
    node.rest().post("/pairs", &json!(rows)).send().await.expect_status(201);
    assert_eq!(database.value("select count(*) from pairs").await.unwrap(), "2000");
    // The 2 000th clashes: none of them stays.
    let mut rows: Vec<_> = (3_000..4_999).map(|id| json!({ "a": id, "b": 0 })).collect();
    rows.push(json!({ "a": 1, "b": -1 }));
    let clash = node.rest().post("/pairs", &json!(rows)).send().await.expect_status(409);
    assert_eq!(clash.json()["code"], "23505");
    assert_eq!(database.value("select count(*) from pairs").await.unwrap(), "2000");
    let default = node.rest().post("/pairs?columns=a,b,name", &json!({ "a": 9_001, "b": 1 }));
    prefer(default, "missing=default").send().await.expect_status(201);
    assert_eq!(database.value("select name from pairs where a = 9001").await.unwrap(), "unnamed");
    let form = node.rest().request("POST".parse().unwrap(), "/pairs");
    let form = form.header("content-type", "application/x-www-form-urlencoded").body("a=9002&b=1&name=f%26g+h");
    form.send().await.expect_status(201);
    assert_eq!(database.value("select name from pairs where a = 9002").await.unwrap(), "f&g h");
}

#[tokio::test]
async fn a_write_invalidates_its_table_at_once_and_no_other() {
    let (_database, node) = node().await;
    let targets = ["/parents?id=eq.1", "/parents?order=id", "/named_parents?id=eq.1", "/logs", "/airlines?limit=1"];
    let update = node.rest().patch("/parents?id=eq.1", &json!({ "name": "uno" }));
    assert_eq!(hits_after(&node, &targets, update).await, [false, false, false, true, true]);
    assert!(read(&node, "/parents?id=eq.1").await.text().contains("uno"));
    let insert = node.rest().post("/parents", &json!({ "id": 4, "name": "four" }));
    assert_eq!(hits_after(&node, &targets, insert).await, [false, false, false, true, true]);
    let delete = node.rest().delete("/parents?id=eq.4");
    assert_eq!(hits_after(&node, &targets, delete).await, [false, false, false, true, true]);
    let nothing = node.rest().delete("/pairs?a=eq.4");
    assert_eq!(hits_after(&node, &["/pairs", "/parents"], nothing).await, [true; 2], "nothing changed");
}

#[tokio::test]
async fn cascades_reach_the_tables_behind_the_foreign_key() {
    let (_database, node) = node().await;
    let targets = ["/children?order=id", "/logs", "/airlines?limit=1"];
    let renumbered = node.rest().patch("/parents?id=eq.2", &json!({ "id": 22 }));
    assert_eq!(hits_after(&node, &targets, renumbered).await, [false, true, true]);
    assert!(read(&node, "/children?order=id").await.text().contains("22"));
    let deleted = node.rest().delete("/parents?id=eq.1");
    assert_eq!(hits_after(&node, &targets, deleted).await, [false, true, true]);
    assert_eq!(read(&node, "/children?order=id").await.text(), r#"[{"id":20,"parent":22}]"#);
}

#[tokio::test]
async fn triggers_reach_the_tables_that_they_write() {
    let (_database, node) = node().await;
    let targets = ["/logged?id=eq.1", "/logs?order=id", "/parents", "/airlines?limit=1"];
    for (write, logged) in [
        (node.rest().patch("/logged?id=eq.1", &json!({ "name": "c" })), "UPDATE"),
        (node.rest().post("/logged", &json!({ "id": 3 })), "INSERT"),
        (node.rest().delete("/logged?id=eq.3"), "DELETE"),
    ] {
        assert_eq!(hits_after(&node, &targets, write).await, [false, false, true, true], "{logged}");
        assert!(read(&node, "/logs?order=id").await.text().contains(logged));
    }
}

#[tokio::test]
async fn writes_through_views_and_partitions_reach_the_tables_behind_them() {
    let (_database, node) = node().await;
    let targets = ["/parents?id=eq.1", "/named_parents?id=eq.1", "/logs"];
    let through_view = node.rest().patch("/named_parents?id=eq.1", &json!({ "name": "uno" }));
    assert_eq!(hits_after(&node, &targets, through_view).await, [false, false, true]);
    assert!(read(&node, "/parents?id=eq.1").await.text().contains("uno"));
    let targets = ["/parts?order=region", "/parts_eu", "/parts_us"];
    let through_parent = node.rest().patch("/parts?region=eq.eu", &json!({ "name": "x" }));
    let hits = hits_after(&node, &targets, through_parent).await;
    assert!(!hits[0] && !hits[1], "{hits:?}");
    let into_partition = node.rest().patch("/parts_us?id=eq.1", &json!({ "name": "y" }));
    let hits = hits_after(&node, &targets, into_partition).await;
    assert!(!hits[0] && !hits[2], "{hits:?}");
    let moved = node.rest().patch("/parts?region=eq.eu", &json!({ "id": 7, "region": "us" }));
    assert_eq!(hits_after(&node, &targets, moved).await, [false; 3]);
    assert_eq!(read(&node, "/parts_eu").await.text(), "[]");
}

#[tokio::test]
async fn what_postgres_refuses_gets_postgrests_status_and_changes_nothing() {
    let (database, node) = node().await;
    let rest = node.rest();
    let before = read(&node, "/parents?order=id").await.text();
    for (write, status, code) in [
        (rest.post("/parents", &json!({ "id": 1, "name": "again" })), 409, "23505"),
        (rest.post("/parents", &json!({ "id": 9, "name": "one" })), 409, "23505"),
        (rest.post("/parents", &json!({ "id": 9 })), 400, "23502"),
        (rest.post("/parents", &json!({ "id": "x", "name": "x" })), 400, "22P02"),
        (rest.post("/parents", &json!({ "id": 99_999_999_999_i64, "name": "x" })), 400, "22003"),
        (rest.post("/children", &json!({ "id": 1, "parent": 99 })), 409, "23503"),
        (rest.post("/logged", &json!({ "id": 9, "amount": -1 })), 400, "23514"),
        (rest.post("/deferred", &json!({ "id": 1, "parent": 99 })), 409, "23503"),
        (rest.patch("/parents?id=eq.1", &json!({ "name": null })), 400, "23502"),
        (rest.patch("/parents?id=eq.1", &json!({ "name": "two" })), 409, "23505"),
        (rest.post("/parts", &json!({ "id": 1, "region": "none" })), 400, "23514"),
        (rest.post("/parents", &json!({ "id": 9, "name": "x", "nonsense": 1 })), 400, "PGRST204"),
        (rest.patch("/parents?id=eq.1", &json!({ "nonsense": 1 })), 400, "PGRST204"),
        (rest.patch("/parents?nonsense=eq.1", &json!({ "name": "x" })), 400, "42703"),
        (rest.post("/nonsense", &json!({ "id": 1 })), 404, ""),
        (rest.delete("/nonsense"), 404, ""),
        (rest.post("/secrets", &json!({ "id": 1 })), 401, "42501"),
        (rest.delete("/secrets"), 401, "42501"),
        (rest.post("/logs", &json!({ "text": "x" })), 401, "42501"),
    ] {
        let shown = format!("{write:?}");
        let answer = write.send().await;
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        let body = answer.json();
        assert!(code.is_empty() || body["code"] == code, "{shown}: {body}");
        for key in ["message", "details", "hint"] {
            assert!(body.get(key).is_some(), "{shown}: {body}");
        }
        assert_eq!(answer.header("transom-token"), "");
        assert_eq!(answer.header("www-authenticate").is_empty(), status != 401);
    }
    let after = read(&node, "/parents?order=id").await;
    assert_eq!(after.text(), before);
    assert!(hit(&after), "what changed nothing announces nothing");
    assert_eq!(database.value("select count(*) from deferred").await.unwrap(), "0");
}

#[tokio::test]
async fn a_write_that_loses_a_deadlock_is_tried_again() {
    let database = Postgres::shared().await.database().await;
    let gate = "pg_advisory_xact_lock(1)";
    let touch = format!(
        "create function touch() returns trigger language plpgsql as
            $$ begin perform {gate}; update public.parents set name = name || '!' where id = new.a; return new; end $$;
         create trigger touch before update on pairs for each row when (new.name = 'proxy') execute function touch();
         insert into pairs values (1, 1);"
    );
    // Whose patience ends looks for a circle, and gives way if there is one: the proxy at once, the other never.
    let impatient = format!("alter database {} set deadlock_timeout = '10ms'", database.name());
    database.execute(&format!("{SCHEMA}{touch}{impatient}")).await;
    let node = NodeBuilder::on(&database).start().await;
    let (keeper, other) = (database.client().await, database.client().await);
    keeper.batch_execute(&format!("begin; select {gate}")).await.unwrap();
    let hold = "set application_name = 'other'; set deadlock_timeout = '1min'; begin;";
    other.batch_execute(&format!("{hold} update parents set name = 'other' where id = 1")).await.unwrap();
    // The proxy has the row of `pairs` and waits before it goes for that of `parents`.
    let write = tokio::spawn(node.rest().patch("/pairs?a=eq.1", &json!({ "name": "proxy" })).send());
    eventually("the proxy waits at the gate", SOON, async || database.waiting_for_locks().await == 1).await;
    let wins = tokio::spawn(async move {
        other.batch_execute("update pairs set name = 'other' where a = 1; commit").await.expect("it wins");
    });
    let waits = "select 1 from pg_stat_activity where application_name = 'other' and wait_event_type = 'Lock'
                 and datname = current_database()";
    eventually("the other waits for the proxy", SOON, async || database.value(waits).await).await;
    keeper.batch_execute("rollback").await.unwrap();
    wins.await.unwrap();
    write.await.unwrap().expect_status(204);
    assert_eq!(database.value("select name from pairs where a = 1").await.unwrap(), "proxy");
    assert_eq!(database.value("select name from parents where id = 1").await.unwrap(), "other!", "once, and after");
}

#[tokio::test]
async fn a_serialization_failure_is_tried_again_until_patience_ends() {
    let (database, node) = node_after(
        "create sequence tries;
         grant usage on sequence tries to web_anon;
         create function fail() returns trigger language plpgsql as
            $$ begin if nextval('tries') <= new.amount then raise serialization_failure; end if; return new; end $$;
         create trigger fail before insert on logged for each row execute function fail();",
    )
    .await;
    node.rest().post("/logged", &json!({ "id": 50, "amount": 3 })).send().await.expect_status(201);
    assert_eq!(database.value("select last_value from tries").await.unwrap(), "4", "the fourth try succeeded");
    assert_eq!(database.value("select count(*) from logged where id = 50").await.unwrap(), "1");
    let refused = node.rest().post("/logged", &json!({ "id": 51, "amount": 1_000 })).send().await.expect_status(500);
    assert_eq!(refused.json()["code"], "40001");
    assert_eq!(database.value("select last_value from tries").await.unwrap(), "10", "six tries");
}

#[tokio::test]
async fn many_writers_of_one_row_lose_nothing() {
    let (database, node) = node_after(
        "create table counters (id int primary key, hits int not null);
         insert into counters values (1, 0);
         create function hit() returns trigger language plpgsql as
            $$ begin new.hits := old.hits + 1; return new; end $$;
         create trigger hit before update on counters for each row execute function hit();
         grant all on counters to web_anon;",
    )
    .await;
    let body = json!({ "hits": 0 });
    let writes = (0..100).map(|_| node.rest().patch("/counters?id=eq.1", &body).send());
    let answers = futures_util::future::join_all(writes).await;
    assert!(answers.iter().all(|answer| answer.status == 204), "{answers:?}");
    assert_eq!(database.value("select hits from counters").await.unwrap(), "100");
    assert_eq!(read(&node, "/counters?select=hits").await.text(), r#"[{"hits":100}]"#);
}
