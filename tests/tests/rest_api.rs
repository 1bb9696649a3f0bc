//! The API over the sample: embedding, functions and writes, each read asked three times, so that hits answer as misses do.
//! What is expected was written as SQL by hand, and Postgres says what it comes to.

use std::time::Duration;

use serde_json::{Value, json};
use transom_tests::{Database, Http, NodeBuilder, Postgres, Request, Response, eventually};

/// What is asked, and the SQL of the expected body.
type Case = (&'static str, &'static str);

async fn expected(database: &Database, sql: &str) -> Value {
    let text = database.value(&format!("select ({sql})::text")).await.unwrap_or_else(|| "null".to_owned());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{sql}: {error}: {text}"))
}

/// Asks three times: the first answer is a miss, the others hits with the same bytes.
pub(crate) async fn asked_thrice(rest: &Http, target: &str) -> Response {
    let first = rest.get(target).send().await;
    assert!(first.header("cache-status").contains("fwd=uri-miss; stored"), "{target}: {first:?}");
    for _ in 0..2 {
        let again = rest.get(target).send().await;
        assert!(again.header("cache-status").starts_with("transom; hit; detail=l1"), "{target}: {again:?}");
        assert_eq!((again.status, again.text()), (first.status, first.text()), "{target}");
    }
    first
}

/// Asks after a write: the first answer is a miss; hits follow as soon as the change feed has announced the write again.
async fn asked_after_a_write(rest: &Http, target: &str) -> Response {
    let first = rest.get(target).send().await;
    assert!(first.header("cache-status").contains("; stored"), "{target}: {first:?}");
    eventually("a hit with the same bytes", Duration::from_secs(10), async || {
        let again = rest.get(target).send().await;
        assert_eq!((again.status, again.text()), (first.status, first.text()), "{target}");
        again.header("cache-status").starts_with("transom; hit; detail=l1")
    })
    .await;
    first
}

async fn check_all(cases: &[Case]) {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    for (target, sql) in cases {
        let answer = asked_thrice(node.rest(), target).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_eq!(answer.json(), expected(&database, sql).await, "{target}");
    }
}

#[tokio::test]
async fn one_row_is_embedded_as_an_object() {
    check_all(&[
        (
            "/flights?select=id,airlines(name)&id=in.(1,2,3)&order=id",
            "select json_agg(json_build_object('id', f.id, 'airlines', json_build_object('name', a.name)) order by f.id)
             from flights f join airlines a using (carrier) where f.id <= 3",
        ),
        (
            "/flights?select=id,airline:airlines(*),from:airports(faa,name)&id=eq.5",
            "select json_agg(json_build_object('id', f.id, 'airline', row_to_json(a),
             'from', json_build_object('faa', p.faa, 'name', p.name)))
             from flights f join airlines a using (carrier) join airports p on p.faa = f.origin where f.id = 5",
        ),
        (
            "/flights?select=id,carrier(name),flights_origin_fkey(faa)&id=eq.1",
            "select json_agg(json_build_object('id', f.id, 'carrier', json_build_object('name', a.name),
             'flights_origin_fkey', json_build_object('faa', f.origin)))
             from flights f join airlines a using (carrier) where f.id = 1",
        ),
        (
            "/flights?select=id,planes(model)&id=lt.40&order=id",
            "select json_agg(json_build_object('id', f.id, 'planes',
             case when p.tailnum is not null then json_build_object('model', p.model) end) order by f.id)
             from flights f left join planes p using (tailnum) where f.id < 40",
        ),
        (
            "/flights?select=id,...airlines(airline:name)&id=eq.7",
            "select json_agg(json_build_object('id', f.id, 'airline', a.name))
             from flights f join airlines a using (carrier) where f.id = 7",
        ),
        (
            "/flights?select=id,...planes(model,engine),airports!flights_origin_fkey(faa)&id=eq.7",
            "select json_agg(json_build_object('id', f.id, 'model', p.model, 'engine', p.engine,
             'airports', json_build_object('faa', f.origin)))
             from flights f left join planes p using (tailnum) where f.id = 7",
        ),
    ])
    .await;
}

#[tokio::test]
async fn many_rows_are_embedded_as_a_list() {
    check_all(&[
        (
            "/airlines?select=carrier,flights(id)&carrier=eq.HA&flights.order=id",
            "select json_build_array(json_build_object('carrier', 'HA', 'flights',
             (select json_agg(json_build_object('id', id) order by id) from flights where carrier = 'HA')))",
        ),
        (
            "/airlines?select=name,flights(id,dest)&order=carrier&flights.order=dep_delay.desc.nullslast,id&flights.limit=2",
            "select json_agg(json_build_object('name', name, 'flights', coalesce((select json_agg(x) from (
             select id, dest from flights f where f.carrier = a.carrier order by dep_delay desc nulls last, id limit 2) x),
             '[]')) order by carrier) from airlines a",
        ),
        (
            "/airlines?select=carrier,flights(id)&carrier=in.(HA,OO)&order=carrier&flights.dest=eq.XYZ",
            "select json_build_array(json_build_object('carrier', 'HA', 'flights', '[]'::json),
             json_build_object('carrier', 'OO', 'flights', '[]'::json))",
        ),
        (
            "/airports?select=faa,weather(temp,time_hour)&faa=eq.JFK&weather.order=time_hour&weather.limit=3&weather.offset=1",
            "select json_build_array(json_build_object('faa', 'JFK', 'weather', (select json_agg(x) from (
             select temp, time_hour from weather where origin = 'JFK' order by time_hour limit 3 offset 1) x)))",
        ),
        (
            "/airports?select=faa,flights(id,planes(model))&faa=eq.LGA&flights.order=id.desc&flights.limit=4",
            "select json_build_array(json_build_object('faa', 'LGA', 'flights', (select json_agg(json_build_object('id', x.id,
             'planes', case when p.tailnum is not null then json_build_object('model', p.model) end) order by x.id desc)
             from (select * from flights where origin = 'LGA' order by id desc limit 4) x left join planes p using (tailnum))))",
        ),
        (
            "/planes?select=tailnum,flights(id,airlines(name),airports(faa,weather(temp)))&tailnum=eq.N14228\
             &flights.order=id&flights.limit=1&flights.airports.weather.order=time_hour&flights.airports.weather.limit=1",
            "select json_build_array(json_build_object('tailnum', 'N14228', 'flights', json_build_array(json_build_object(
             'id', f.id, 'airlines', json_build_object('name', a.name), 'airports', json_build_object('faa', f.origin,
             'weather', (select json_agg(x) from (select temp from weather w where w.origin = f.origin
             order by time_hour limit 1) x)))))) from flights f join airlines a using (carrier)
             where f.tailnum = 'N14228' order by f.id limit 1",
        ),
    ])
    .await;
}

#[tokio::test]
async fn rows_are_chosen_and_ordered_by_what_is_embedded() {
    check_all(&[
        (
            "/airlines?select=carrier,flights!inner(id)&flights.dest=eq.HNL&order=carrier&flights.order=id",
            "select json_agg(json_build_object('carrier', carrier, 'flights', flights) order by carrier) from (
             select carrier, json_agg(json_build_object('id', id) order by id) as flights from flights where dest = 'HNL'
             group by carrier) x",
        ),
        (
            "/airlines?select=carrier,flights()&flights=is.null&order=carrier",
            "select coalesce(json_agg(json_build_object('carrier', carrier) order by carrier), '[]') from airlines a
             where not exists (select from flights f where f.carrier = a.carrier)",
        ),
        (
            "/flights?select=id,planes()&planes=is.null&order=id&limit=5",
            "select json_agg(x) from (select id from flights f where not exists (select from planes p
             where p.tailnum = f.tailnum) order by id limit 5) x",
        ),
        (
            "/flights?select=id,planes(year)&order=planes(year).desc.nullslast,id&limit=3",
            "select json_agg(json_build_object('id', id, 'planes', json_build_object('year', year)) order by year desc, id)
             from (select f.id, p.year from flights f join planes p using (tailnum)
             order by p.year desc nulls last, f.id limit 3) x",
        ),
        (
            "/airlines?select=carrier,flights(id)&carrier=eq.UA&flights.or=(id.eq.1,and(id.gt.1,id.lt.3))&flights.order=id",
            "select json_build_array(json_build_object('carrier', 'UA', 'flights', (select json_agg(json_build_object('id', id)
             order by id) from flights where carrier = 'UA' and id < 3)))",
        ),
        (
            "/flights?select=id,airlines!inner(carrier)&airlines.name=like.United*&order=id&limit=2",
            "select json_agg(json_build_object('id', id, 'airlines', json_build_object('carrier', 'UA')) order by id)
             from (select id from flights where carrier = 'UA' order by id limit 2) x",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_count_counts_what_the_embedded_resources_leave() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let target = "/airlines?select=carrier,flights!inner(id)&flights.dest=eq.HNL&limit=1&order=carrier";
    let total = database.value("select count(distinct carrier) from flights where dest = 'HNL'").await.unwrap();
    for _ in 0..3 {
        let answer = node.rest().get(target).header("prefer", "count=exact").send().await;
        assert_eq!(answer.header("content-range"), format!("0-0/{total}"));
    }
}

#[tokio::test]
async fn a_write_to_any_table_of_the_tree_invalidates() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let rest = node.rest();
    let read = "/flights?select=id,airlines(*),airports(name)&id=eq.1";
    let deep = "/airlines?select=carrier,flights(id,planes(model))&carrier=eq.UA&flights.id=eq.1";
    let unrelated = "/planes?select=tailnum&tailnum=eq.N14228";
    asked_thrice(rest, unrelated).await;
    for (table, change, path) in [
        ("/airlines?carrier=eq.UA", json!({"name": "Untied"}), "/0/airlines/name"),
        ("/airports?faa=eq.EWR", json!({"name": "Newark"}), "/0/airports/name"),
    ] {
        rest.get(read).send().await.expect_status(200);
        rest.patch(table, &change).send().await.expect_status(204);
        let after = asked_after_a_write(rest, read).await.json();
        let value = change.as_object().unwrap().values().next().unwrap();
        assert_eq!(after.pointer(path), Some(value), "{table}");
    }
    let still = rest.get(unrelated).send().await;
    assert!(still.header("cache-status").starts_with("transom; hit"), "{still:?}");
    rest.get(deep).send().await.expect_status(200);
    rest.patch("/planes?tailnum=eq.N14228", &json!({"model": "kite"})).send().await.expect_status(204);
    assert_eq!(asked_after_a_write(rest, deep).await.json().pointer("/0/flights/0/planes/model"), Some(&json!("kite")));
}

#[tokio::test]
async fn mistakes_about_relationships_have_the_codes_of_postgrest() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    for (target, status, code) in [
        ("/flights?select=id,airline(*)", 400, "PGRST200"),
        ("/airlines?select=*,planes(*)", 400, "PGRST200"),
        ("/flights?select=id&airlines.name=eq.x", 400, "PGRST108"),
        ("/airlines?select=*,flights(id)&order=flights(id)", 400, "PGRST118"),
        ("/airlines?select=*,...flights(count())", 400, "PGRST123"),
        ("/flights?select=id,airlines(nope)", 400, "42703"),
    ] {
        let answer = node.rest().get(target).send().await.expect_status(status);
        assert_eq!(answer.json()["code"], code, "{target}");
    }
    let hint = node.rest().get("/flights?select=id,airline(*)").send().await.json()["hint"].clone();
    assert_eq!(hint, "Perhaps you meant 'airlines' instead of 'airline'.");
}

#[tokio::test]
async fn two_relationships_are_ambiguous_until_a_hint_says_which() {
    let database = Postgres::shared().await.database().await;
    database
        .execute(
            "create table trips (id int primary key, there text constraint there_fkey references airports,
             back text constraint back_fkey references airports);
             insert into trips values (1, 'JFK', 'LGA'); grant select on trips to web_anon",
        )
        .await;
    let node = NodeBuilder::on(&database).start().await;
    let refused = node.rest().get("/trips?select=airports(faa)").send().await.expect_status(300).json();
    assert_eq!(refused["code"], "PGRST201");
    assert_eq!(refused["details"][0]["relationship"], "back_fkey using trips(back) and airports(faa)");
    let answer = asked_thrice(node.rest(), "/trips?select=to:airports!there_fkey(faa),from:airports!back(faa)").await;
    assert_eq!(answer.json(), json!([{"to": {"faa": "JFK"}, "from": {"faa": "LGA"}}]));
}

#[tokio::test]
async fn junctions_and_views_relate() {
    let database = Postgres::shared().await.database().await;
    database
        .execute(
            "create table crew (id int primary key, name text);
             create table flies (crew_id int references crew, flight_id bigint references flights,
             primary key (crew_id, flight_id));
             create view departures as select id as number, carrier as by_whom from flights;
             insert into crew values (1, 'Amelia'), (2, 'Charles'); insert into flies values (1, 1), (1, 2), (2, 1);
             grant select, insert, delete on crew, flies, departures to web_anon",
        )
        .await;
    let node = NodeBuilder::on(&database).start().await;
    let rest = node.rest();
    let both = "/crew?select=name,flights(id)&order=id&flights.order=id";
    let expected =
        json!([{"name": "Amelia", "flights": [{"id": 1}, {"id": 2}]}, {"name": "Charles", "flights": [{"id": 1}]}]);
    assert_eq!(asked_thrice(rest, both).await.json(), expected);
    rest.delete("/flies?crew_id=eq.1&flight_id=eq.2").send().await.expect_status(204);
    assert_eq!(asked_after_a_write(rest, both).await.json()[0]["flights"], json!([{"id": 1}]), "the junction changed");
    let view = "/departures?select=number,airlines(name),crew(name)&number=eq.1&crew.order=id";
    let expected = json!([{"number": 1, "airlines": {"name": "United Air Lines Inc."},
        "crew": [{"name": "Amelia"}, {"name": "Charles"}]}]);
    assert_eq!(asked_after_a_write(rest, view).await.json(), expected);
    rest.patch("/airlines?carrier=eq.UA", &json!({"name": "Untied"})).send().await.expect_status(204);
    assert_eq!(asked_after_a_write(rest, view).await.json()[0]["airlines"]["name"], "Untied");
}

const FUNCTIONS: &str = "
    create function add_up(a int, b int default 10) returns int language sql immutable as 'select a + b';
    create function of_carrier(code text) returns setof flights language sql stable
    as 'select * from flights where carrier = code';
    create function rename_airline(code text, new_name text) returns text language sql
    as 'update airlines set name = new_name where carrier = code returning name';
    create function clock() returns timestamptz language sql volatile as 'select clock_timestamp()';
    create function echo(json) returns json language sql immutable as 'select $1'";

#[tokio::test]
async fn functions_answer_and_only_immutable_ones_are_cached() {
    let database = Postgres::shared().await.database().await;
    database.execute(FUNCTIONS).await;
    let node = NodeBuilder::on(&database).start().await;
    let rest = node.rest();
    assert_eq!(asked_thrice(rest, "/rpc/add_up?a=1&b=2").await.text(), "3");
    assert_eq!(asked_thrice(rest, "/rpc/add_up?a=1").await.text(), "11");
    let rows = "/rpc/of_carrier?code=HA&select=id,airlines(name)&order=id.desc&limit=1";
    let newest = "select json_agg(x) from (select id, json_build_object('name', 'Hawaiian Airlines Inc.') as airlines
                  from flights where carrier = 'HA' order by id desc limit 1) x";
    for _ in 0..3 {
        let answer = rest.get(rows).send().await.expect_status(200);
        assert_eq!(answer.json(), expected(&database, newest).await);
        assert!(answer.header("cache-status").ends_with("detail=function"), "{answer:?}");
        assert_eq!(answer.header("content-location"), "");
    }
    let times = [rest.get("/rpc/clock").send().await.text(), rest.get("/rpc/clock").send().await.text()];
    assert_ne!(times[0], times[1]);
    for (request, status, body) in [
        (rest.post("/rpc/add_up", &json!({"a": 2})), 200, json!(12)),
        (rest.post("/rpc/echo", &json!({"any": [1]})), 200, json!({"any": [1]})),
        (rest.post("/rpc/of_carrier?select=id&limit=0", &json!({"code": "HA"})), 200, json!([])),
    ] as [(Request, u16, Value); 3]
    {
        let answer = request.send().await.expect_status(status);
        assert_eq!(answer.json(), body);
    }
    for (request, status, code) in [
        (rest.get("/rpc/add_up?b=1"), 404, "PGRST202"),
        (rest.get("/rpc/rename_airline?code=UA&new_name=x"), 405, "25006"),
        (rest.delete("/rpc/add_up"), 405, "PGRST101"),
    ] {
        assert_eq!(request.send().await.expect_status(status).json()["code"], code);
    }
}

#[tokio::test]
async fn what_a_volatile_function_changes_is_announced() {
    let database = Postgres::shared().await.database().await;
    database.execute(FUNCTIONS).await;
    let node = NodeBuilder::on(&database).start().await;
    let read = "/flights?select=id,airlines(name)&id=eq.1";
    asked_thrice(node.rest(), read).await;
    let call = node.rest().post("/rpc/rename_airline", &json!({"code": "UA", "new_name": "Untied"}));
    assert_eq!(call.send().await.expect_status(200).json(), "Untied");
    assert_eq!(asked_after_a_write(node.rest(), read).await.json()[0]["airlines"]["name"], "Untied");
}

#[tokio::test]
async fn upserts_and_puts_are_seen_at_once() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let rest = node.rest();
    let read = "/airlines?carrier=in.(UA,ZZ)&order=carrier";
    asked_thrice(rest, read).await;
    let rows = json!([{"carrier": "UA", "name": "Untied"}, {"carrier": "ZZ", "name": "Zz Air"}]);
    let merge = |rows: &Value| rest.post("/airlines", rows).header("prefer", "resolution=merge-duplicates");
    merge(&rows).send().await.expect_status(201);
    assert_eq!(asked_after_a_write(rest, read).await.json(), rows);
    merge(&rows).send().await.expect_status(200);
    let ignored = rest.post("/airlines", &json!({"carrier": "UA", "name": "x"}));
    ignored.header("prefer", "resolution=ignore-duplicates").send().await.expect_status(201);
    assert_eq!(rest.get(read).send().await.json(), rows);
    let put = rest.request(http::Method::PUT, "/airlines?carrier=eq.ZZ").body(r#"{"carrier":"ZZ","name":"Put"}"#);
    let put = put.header("content-type", "application/json").header("prefer", "return=representation");
    assert_eq!(put.send().await.expect_status(200).json(), json!([{"carrier": "ZZ", "name": "Put"}]));
    assert_eq!(asked_after_a_write(rest, read).await.json()[1]["name"], "Put");
    let mismatch = rest.request(http::Method::PUT, "/airlines?carrier=eq.ZZ").body(r#"{"carrier":"YY","name":"Put"}"#);
    let refused = mismatch.header("content-type", "application/json").send().await.expect_status(400);
    assert_eq!(refused.json()["code"], "PGRST115");
    let csv = rest.request(http::Method::POST, "/airlines?select=carrier").body("carrier,name\nYY,\"Y, Air\"\n");
    let csv = csv.header("content-type", "text/csv").header("prefer", "return=representation");
    assert_eq!(csv.send().await.expect_status(201).json(), json!([{"carrier": "YY"}]));
    assert_eq!(rest.get("/airlines?carrier=eq.YY").send().await.json()[0]["name"], "Y, Air");
}

#[tokio::test]
async fn a_returned_row_has_what_is_embedded_in_it() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let target = "/flights?id=eq.1&select=id,airlines(name),airports(weather(temp))\
                  &airports.weather.order=time_hour&airports.weather.limit=1";
    let patch = node.rest().patch(target, &json!({"carrier": "AA"})).header("prefer", "return=representation");
    let sql = "select json_build_array(json_build_object('id', 1, 'airlines', json_build_object('name',
               'American Airlines Inc.'), 'airports', json_build_object('weather', (select json_agg(x) from (
               select temp from weather where origin = 'EWR' order by time_hour limit 1) x))))";
    assert_eq!(patch.send().await.expect_status(200).json(), expected(&database, sql).await);
}
