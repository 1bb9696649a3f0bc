//! Columns and relationships that functions of a row compute: what the answers depend on, and what they must not be cached for.

use std::time::Duration;

use serde_json::{Value, json};
use transom_tests::{CacheStatus, Database, Node, NodeBuilder, Postgres, Response, eventually};

/// Milliseconds are the aim; a busy machine takes longer.
const SOON: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    create table people (id int primary key, first text not null, last text not null, age int not null, born date);
    insert into people values (1, 'Ada', 'L', 36, '1815-12-10'), (2, 'Alan', 'T', 41, '1912-06-23'), (3, 'Grace', 'H', 85, null);
    create table pets (id int primary key, owner int not null, name text not null);
    insert into pets values (1, 1, 'Bit'), (2, 2, 'Byte');
    create function full_name(people) returns text language sql immutable as $$ select $1.first || ' ' || $1.last $$;
    create function birthday(people) returns date language sql immutable as $$ select $1.born $$;
    create function pet_count(person people) returns bigint language sql stable
        return (select count(*) from pets where owner = person.id);
    create function older(person people) returns bigint language sql stable
        return (select count(*) from people p where p.age > person.age);
    create function pets_of(person people) returns setof pets language sql stable
        begin atomic select * from pets where owner = person.id; end;
    create function dice(people) returns float language sql volatile as $$ select random() $$;
    create function twice(people) returns int language sql immutable as $$ select 2 * $1.age $$;
    create function twice(people, by int) returns int language sql immutable as $$ select by * $1.age $$;
    create function anything(anyelement) returns int language sql immutable as $$ select 1 $$;
    grant select, insert, update on people, pets to web_anon;
";

async fn node() -> (Database, Node) {
    let database = Postgres::shared().await.database().await;
    database.execute(SCHEMA).await;
    let node = NodeBuilder::on(&database).set("db_channel_enabled", "true").start().await;
    (database, node)
}

async fn read(node: &Node, target: &str) -> Response {
    node.rest().get(target).send().await.expect_status(200)
}

fn gist(response: &Response) -> String {
    CacheStatus::of(response).gist()
}

async fn cached(node: &Node, target: &str) -> Value {
    read(node, target).await;
    let hit = read(node, target).await;
    assert_eq!(gist(&hit), "detail=l1; hit", "{target}");
    hit.json()
}

#[tokio::test]
async fn an_answer_depends_on_what_its_computed_columns_read() {
    let (_database, node) = node().await;
    let people = |id: u32, change: Value| node.rest().patch(&format!("/people?id=eq.{id}"), &change);
    let pet = |id: u32| node.rest().post("/pets", &json!({ "id": id, "owner": 1, "name": "Nibble" }));
    for (target, before, write, after) in [
        ("select=full_name", json!("Ada L"), people(1, json!({ "last": "Lovelace" })), json!("Ada Lovelace")),
        ("select=pet_count", json!(1), pet(3), json!(2)),
        ("select=id,pet_count::text&pet_count=gt.0", json!("2"), pet(4), json!("3")),
        // Of the same table: another row matters than the one that is asked for.
        ("select=older", json!(2), people(2, json!({ "age": 7 })), json!(1)),
        ("select=pets_of(name)", json!([{ "name": "Bit" }, { "name": "Nibble" }, { "name": "Nibble" }]), pet(5), {
            json!([{ "name": "Bit" }, { "name": "Nibble" }, { "name": "Nibble" }, { "name": "Nibble" }])
        }),
    ] {
        let target = format!("/people?id=eq.1&{target}");
        let value = |answer: &Value| answer[0].as_object().and_then(|row| row.values().next_back().cloned());
        assert_eq!(value(&cached(&node, &target).await), Some(before), "{target}");
        let status = write.send().await.status;
        assert!(matches!(status, 201 | 204), "{target}: {status}");
        assert_eq!(value(&read(&node, &target).await.json()), Some(after), "{target}");
    }
}

#[tokio::test]
async fn what_only_orders_or_filters_counts_as_well() {
    let (_database, node) = node().await;
    for (target, pets, before, after) in [
        ("/people?select=id&order=pet_count.desc,id", [11, 12], vec![1, 2, 3], vec![3, 1, 2]),
        ("/people?select=id&or=(pet_count.gt.2,id.eq.9)", [13, 14], vec![], vec![3]),
    ] {
        let ids = |answer: &Value| -> Vec<i64> {
            answer.as_array().expect("a list").iter().filter_map(|row| row["id"].as_i64()).collect()
        };
        assert_eq!(ids(&cached(&node, target).await), before, "{target}");
        let pets: Vec<Value> = pets.iter().map(|id| json!({ "id": id, "owner": 3, "name": "Nibble" })).collect();
        node.rest().post("/pets", &json!(pets)).send().await.expect_status(201);
        assert_eq!(ids(&read(&node, target).await.json()), after, "{target}");
    }
}

#[tokio::test]
async fn what_is_not_certain_is_not_cached() {
    let (database, node) = node().await;
    for (query, reason) in [
        ("select=dice", "function"),
        ("order=dice", "function"),
        ("select=twice", "unknown-column"),
        ("select=anything", "unknown-column"),
        ("birthday=lt.today", "current-time"),
    ] {
        let target = format!("/people?{query}");
        for _ in 0..2 {
            let gist = gist(&node.rest().get(&target).send().await);
            assert_eq!(gist, format!("detail={reason}; fwd=bypass"), "{target}");
        }
    }
    assert_eq!(
        cached(&node, "/people?birthday=lt.1900-01-01&select=birthday").await,
        json!([{ "birthday": "1815-12-10" }])
    );
    assert_eq!(cached(&node, "/people?id=eq.1&select=full_name").await, json!([{ "full_name": "Ada L" }]));
    let redefined =
        "create or replace function full_name(people) returns text language sql immutable return 'X'; notify pgrst";
    database.execute(redefined).await;
    eventually("the function as it is now", SOON, async || {
        let answer = read(&node, "/people?id=eq.1&select=full_name").await.json();
        if answer == json!([{ "full_name": "X" }]) { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
}
