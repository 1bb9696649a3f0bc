//! Existence, cardinality and nearness: what one node is told, all know, and what goes wrong is said.

use std::time::{Duration, Instant};

use cache_core::redis::RedisLink;
use cache_core::state::cardinality::Cardinality;
use cache_core::state::existence::{Existence, ExistenceError, Reserved, Shape};
use cache_core::state::nearness::{Area, Middle, Nearness, Point, Unit};
use cache_core::state::{Keyspace, Name};
use serde_json::{Value, json};
use transom_tests::{Node, Postgres, Redis, RedisCluster, Reply, Response, eventually};

use super::*;

async fn world() -> (Database, Redis, [Node; 3]) {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let nodes = three(&builder(&database, &redis)).await;
    (database, redis, nodes)
}

async fn get(node: &Node, target: &str) -> Response {
    keyed(at(node.port()).get(target)).send().await
}

async fn delete(node: &Node, target: &str) -> Value {
    keyed(at(node.port()).delete(target)).send().await.expect_status(200).json()
}

async fn done(node: &Node, target: &str, body: &Value) -> Value {
    post(node, target, body).await.expect_status(200).json()
}

fn keyspace(url: &str) -> Keyspace {
    Keyspace::new(RedisLink::open(url, Duration::from_secs(5)).expect("a URL"), "default")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

async fn texts(redis: &Redis, words: &[&str]) -> Vec<String> {
    match redis.command(words).await.expect("it answers") {
        Reply::Array(replies) => replies.iter().filter_map(Reply::text).collect(),
        other => panic!("{words:?}: {other:?}"),
    }
}

fn numbered(word: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{word}-{number}")).collect()
}

#[tokio::test]
async fn what_one_node_adds_no_node_calls_absent() {
    let (_database, _redis, [a, b, c]) = world().await;
    let made_for = json!({ "capacity": 1000, "error_rate": 0.01, "ttl_ms": 600_000 });
    let made = done(&a, "/existence/orders", &made_for).await;
    assert_eq!((&made["created"], &made["bytes"]), (&json!(true), &json!(1239)));
    assert_eq!(done(&b, "/existence/orders", &made_for).await["created"], false);
    let differs = json!({ "capacity": 2000, "error_rate": 0.01 });
    let refused = post(&c, "/existence/orders", &differs).await.expect_status(409).json();
    assert_eq!(refused["code"], "TRANSOM51");
    assert!(refused["details"].as_str().is_some_and(|said| said.contains("1000 items at an error rate of 0.01")));

    let added = done(&a, "/existence/orders/add", &json!({ "items": ["one", "two", "one", ""] })).await;
    assert_eq!(added["were_absent"], json!([true, true, false, true]));
    let asked = json!({ "items": ["three", "two", "one", "", "four"] });
    for node in [&a, &b, &c] {
        let absent = done(node, "/existence/orders/check", &asked).await;
        assert_eq!(absent["absent"], json!([true, false, false, false, true]));
    }
    let filter = get(&c, "/existence/orders").await.expect_status(200).json();
    assert_eq!((&filter["added"], &filter["full"]), (&json!(3), &json!(false)), "{filter}");
    assert!(filter["ttl_ms"].as_u64().is_some_and(|left| (1..=600_000).contains(&left)), "{filter}");
    done(&b, "/existence/orders", &json!({ "capacity": 1000, "error_rate": 0.01 })).await;
    assert_eq!(get(&c, "/existence/orders").await.json()["ttl_ms"], Value::Null, "it was reserved without an end");

    assert_eq!(delete(&b, "/existence/orders").await["deleted"], true);
    assert_eq!(delete(&b, "/existence/orders").await["deleted"], false);
    for (target, body) in [("/existence/orders/check", &asked), ("/existence/orders/add", &asked)] {
        assert_eq!(post(&a, target, body).await.expect_status(404).json()["code"], "TRANSOM50");
    }
    assert_eq!(get(&a, "/existence/orders").await.expect_status(404).json()["code"], "TRANSOM50");
    let refused = a.metric("transom_structures_total{operation=\"existence-check\",result=\"refused\"}").await;
    let done = a.metric("transom_structures_total{operation=\"existence-check\",result=\"done\"}").await;
    assert_eq!((refused, done), (1.0, 1.0));
}

/// As many ids as it is made for: none is forgotten, and of others as few are taken for one as was asked for.
#[tokio::test]
async fn a_large_filter_errs_as_seldom_as_it_says() {
    const COUNT: usize = 100_000;
    let redis = Redis::start().await;
    let (here, there) = (Existence::new(keyspace(&redis.url())), Existence::new(keyspace(&redis.url())));
    let (orders, shape) = (name("orders"), Shape::new(COUNT as u64, 0.01).expect("within bounds"));
    assert!(matches!(here.reserve(&orders, shape, None).await, Ok(Reserved::Created(_))));
    let ids = numbered("order", COUNT);
    let mut wrongly_present = 0;
    for page in ids.chunks(1_000) {
        let added = here.add(&orders, page).await.expect("it is there");
        wrongly_present += added.were_absent.iter().filter(|absent| !**absent).count();
    }
    assert!(wrongly_present < COUNT / 200, "{wrongly_present} were taken for others while it filled");
    for page in ids.chunks(1_000) {
        assert!(
            there.absent(&orders, page).await.expect("it is there").iter().all(|absent| !absent),
            "one is forgotten"
        );
    }
    let missing = numbered("missing", 20_000);
    let mut mistaken = 0;
    for page in missing.chunks(1_000) {
        mistaken += there.absent(&orders, page).await.expect("it is there").iter().filter(|absent| !**absent).count();
    }
    assert!((100..300).contains(&mistaken), "{mistaken} of 20000 are mistaken; 200 are as many as it says");
    let filter = there.look(&orders).await.expect("it is there");
    assert!(
        filter.error_rate_now() < 0.0101 && usize::try_from(filter.added) == Ok(COUNT - wrongly_present),
        "{filter:?}"
    );
}

#[tokio::test]
async fn a_filter_past_its_capacity_forgets_nothing_and_says_so() {
    let (_database, _redis, [a, b, _]) = world().await;
    done(&a, "/existence/small", &json!({ "capacity": 100, "error_rate": 0.01 })).await;
    let items = numbered("item", 300);
    assert_eq!(done(&a, "/existence/small/add", &json!({ "items": items[..50] })).await["full"], false);
    assert_eq!(done(&a, "/existence/small/add", &json!({ "items": items })).await["full"], true);
    let absent = done(&b, "/existence/small/check", &json!({ "items": items })).await;
    assert!(absent["absent"].as_array().is_some_and(|absent| absent.iter().all(|absent| *absent == json!(false))));
    let filter = get(&b, "/existence/small").await.json();
    assert_eq!(filter["full"], true);
    assert!(filter["error_rate_now"].as_f64().is_some_and(|rate| rate > 0.1), "{filter}");
}

#[tokio::test]
async fn what_lives_for_a_time_is_gone_after_it() {
    let (_database, redis, [a, b, _]) = world().await;
    done(&a, "/existence/brief", &json!({ "capacity": 100, "error_rate": 0.01, "ttl_ms": 300 })).await;
    done(&a, "/cardinality/brief/add", &json!({ "items": ["a"], "ttl_ms": 300 })).await;
    let bus = json!({ "members": [{ "member": "bus", "longitude": 1, "latitude": 2 }], "ttl_ms": 300 });
    done(&a, "/nearness/brief", &bus).await;
    eventually("they are gone", SOON, async || {
        get(&b, "/existence/brief").await.status == 404
            && get(&b, "/cardinality/brief").await.json()["count"] == 0
            && get(&b, "/nearness/brief").await.json()["members"] == 0
    })
    .await;
    assert_eq!(texts(&redis, &["KEYS", "*brief*"]).await, Vec::<String>::new());
}

#[tokio::test]
async fn everything_is_counted_once_on_whichever_node() {
    let (_database, _redis, [a, b, c]) = world().await;
    for (node, day, range) in [(&a, "monday", 0..600), (&b, "tuesday", 300..900), (&c, "monday", 0..600)] {
        let items: Vec<String> = range.map(|number| format!("visitor-{number}")).collect();
        done(node, &format!("/cardinality/{day}/add"), &json!({ "items": items })).await;
    }
    let about = |answer: &Value, count: f64| {
        let said = answer["count"].as_f64().unwrap_or_else(|| panic!("no count: {answer}"));
        assert!((said - count).abs() < count * 0.05, "{answer} and not about {count}");
    };
    about(&get(&b, "/cardinality/monday").await.json(), 600.0);
    let together = json!({ "with": ["tuesday", "never"] });
    about(&done(&c, "/cardinality/monday/count", &together).await, 900.0);
    about(&get(&b, "/cardinality/monday").await.json(), 600.0);
    about(&done(&a, "/cardinality/week/merge", &json!({ "from": ["monday", "tuesday"] })).await, 900.0);
    about(&get(&c, "/cardinality/week").await.json(), 900.0);
    assert_eq!(get(&c, "/cardinality/never").await.json()["count"], 0);
    assert_eq!(done(&a, "/cardinality/week/add", &json!({ "items": ["visitor-1"] })).await["changed"], false);
    assert_eq!(delete(&b, "/cardinality/week").await["deleted"], true);
    assert_eq!(get(&c, "/cardinality/week").await.json()["count"], 0);
}

fn at_place(member: &str, longitude: f64, latitude: f64) -> Value {
    json!({ "member": member, "longitude": longitude, "latitude": latitude })
}

fn members(answer: &Value) -> Vec<&str> {
    let members = answer["members"].as_array().unwrap_or_else(|| panic!("no members: {answer}"));
    members.iter().filter_map(|member| member["member"].as_str()).collect()
}

#[tokio::test]
async fn who_is_near_is_found_from_every_node() {
    let (_database, _redis, [a, b, c]) = world().await;
    let put = json!({ "members": [
        at_place("gate", 13.3777, 52.5163), at_place("tower", 13.4094, 52.5208), at_place("palace", 13.2956, 52.5208),
        at_place("dom in Köln", 6.9583, 50.9413),
    ] });
    assert_eq!(done(&a, "/nearness/sights", &put).await, json!({ "name": "sights", "added": 4, "moved": 0 }));
    let near = json!({ "longitude": 13.3761, "latitude": 52.5186, "radius": 10, "unit": "km" });
    let found = done(&b, "/nearness/sights/near", &near).await;
    assert_eq!((members(&found), &found["unit"]), (vec!["gate", "tower", "palace"], &json!("km")));
    let first = &found["members"][0];
    assert!((first["distance"].as_f64().expect("a number") - 0.278).abs() < 0.002, "{first}");
    assert!((first["longitude"].as_f64().expect("a number") - 13.3777).abs() < 1e-5, "{first}");
    let limited = json!({ "member": "tower", "radius": 10, "unit": "mi", "limit": 2 });
    assert_eq!(members(&done(&c, "/nearness/sights/near", &limited).await), ["tower", "gate"]);
    let around = json!({ "member": "gate", "width": 5000, "height": 2000 });
    assert_eq!(members(&done(&c, "/nearness/sights/within", &around).await), ["gate", "tower"]);
    let far =
        done(&b, "/nearness/sights/distance", &json!({ "from": "gate", "to": "dom in Köln", "unit": "km" })).await;
    assert!((far["distance"].as_f64().expect("a number") - 475.0).abs() < 5.0, "{far}");
    let nowhere = done(&b, "/nearness/sights/distance", &json!({ "from": "gate", "to": "moon" })).await;
    assert_eq!(nowhere["distance"], Value::Null);

    let moved = json!({ "members": [at_place("gate", 6.96, 50.94), at_place("zoo", 13.3376, 52.5079)] });
    assert_eq!(done(&b, "/nearness/sights", &moved).await, json!({ "name": "sights", "added": 1, "moved": 1 }));
    assert_eq!(members(&done(&a, "/nearness/sights/near", &near).await), ["tower", "zoo", "palace"]);
    assert_eq!(done(&c, "/nearness/sights/remove", &json!({ "members": ["zoo", "moon"] })).await["removed"], 1);
    assert_eq!(get(&a, "/nearness/sights").await.json()["members"], 4);
    let unknown = post(&a, "/nearness/sights/near", &json!({ "member": "zoo", "radius": 1 })).await.expect_status(404);
    assert_eq!(unknown.json()["code"], "TRANSOM50");
    assert_eq!(delete(&b, "/nearness/sights").await["deleted"], true);
    assert_eq!(members(&done(&c, "/nearness/sights/near", &near).await), Vec::<&str>::new());
}

/// Growing circles find whom one circle over all finds.
#[tokio::test]
async fn the_nearest_of_a_large_index_are_the_nearest() {
    let redis = Redis::start().await;
    let nearness = Nearness::new(keyspace(&redis.url()));
    let index = name("grid");
    let places: Vec<(String, Point)> = (0..5_000_u32)
        .map(|number| {
            let (x, y) = (f64::from(number % 100), f64::from(number / 100));
            // Denser to the west.
            (number.to_string(), Point::new(x * x / 100.0 - 50.0, y - 25.0).expect("on earth"))
        })
        .collect();
    for page in places.chunks(1_000) {
        nearness.put(&index, page, None).await.expect("it is put");
    }
    let middle = Middle::Point(Point::new(-40.0, 3.3).expect("on earth"));
    for (radius, limit) in [(20_000.0, 7), (20_000.0, 300), (300.0, 100), (1.0, 10)] {
        let area = Area::circle(radius, Unit::Kilometers).expect("a circle");
        let found = nearness.search(&index, &middle, area, Unit::Kilometers, limit).await.expect("it answers");
        let (radius, limit) = (radius.to_string(), limit.to_string());
        let words =
            ["GEOSEARCH", "transom:default:nearness:{grid}", "FROMLONLAT", "-40", "3.3", "BYRADIUS", &radius, "km"];
        let whole = texts(&redis, &[&words[..], &["ASC", "COUNT", &limit]].concat()).await;
        let found: Vec<String> = found.into_iter().map(|found| found.member).collect();
        assert_eq!(found, whole, "{limit} within {radius}");
    }
}

#[tokio::test]
async fn a_cluster_keeps_them_too() {
    let cluster = RedisCluster::start().await;
    let keys = || keyspace(&cluster.url());
    let (existence, cardinality, nearness) = (Existence::new(keys()), Cardinality::new(keys()), Nearness::new(keys()));
    let (items, shape) = (numbered("item", 100), Shape::new(100, 0.01).expect("within bounds"));
    let days: Vec<Name> = ["monday", "tuesday", "wednesday", "week"].map(name).to_vec();
    eventually("it answers", SOON, async || existence.reserve(&days[0], shape, None).await.is_ok()).await;
    existence.add(&days[0], &items).await.expect("it adds");
    assert!(existence.absent(&days[0], &items).await.expect("it checks").iter().all(|absent| !absent));
    assert!(matches!(existence.look(&days[1]).await, Err(ExistenceError::NoFilter)));
    // Days lie on different servers.
    for (number, day) in days[..3].iter().enumerate() {
        cardinality.add(day, &items[20 * number..20 * number + 40], None).await.expect("it adds");
    }
    assert_eq!(cardinality.count(&days[..3]).await.expect("it counts"), 80);
    assert_eq!(cardinality.count(&days[..1]).await.expect("it counts"), 40);
    let week = cardinality.merge(&days[3], &days[..3], Some(Duration::from_secs(60))).await.expect("it merges");
    assert_eq!((week, cardinality.count(&days[3..]).await.expect("it counts")), (80, 80));
    let point = Point::new(1.0, 2.0).expect("on earth");
    nearness.put(&days[0], &[("bus", point)], None).await.expect("it puts");
    let area = Area::circle(1.0, Unit::Meters).expect("a circle");
    let found = nearness.search(&days[0], &Middle::Point(point), area, Unit::Meters, 1).await.expect("it finds");
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn what_structures_cannot_understand_is_said() {
    let (_database, _redis, [node, ..]) = world().await;
    let many: Vec<String> = numbered("", 1_001);
    for (target, body, details) in [
        ("/existence/a", json!({ "capacity": 10 }), "missing field `error_rate`"),
        ("/existence/a", json!({ "capacity": 0, "error_rate": 0.1 }), "capacity must be from 1 to"),
        ("/existence/a", json!({ "capacity": 10, "error_rate": 0.9 }), "error_rate must be from 0.000001 to 0.5"),
        ("/existence/a", json!({ "capacity": 300_000_000, "error_rate": 0.001 }), "67108864 are the most"),
        (
            "/existence/a",
            json!({ "capacity": 10, "error_rate": 0.1, "ttl_ms": 1 }),
            "ttl_ms is 1, but must be from 100",
        ),
        ("/existence/a/add", json!({ "items": [] }), "items is empty"),
        ("/existence/a/add", json!({ "items": [1] }), "expected a string"),
        ("/existence/a/check", json!({ "items": many }), "1001 items, but 1000 at once are the most"),
        ("/cardinality/a/add", json!({ "items": many }), "1001 items, but there must be from 1 to 1000"),
        ("/cardinality/a/count", json!({ "with": many[..64] }), "65 counters, but there must be from 1 to 64"),
        ("/cardinality/a/count", json!({ "with": ["a b"] }), "no braces: \"a b\""),
        ("/cardinality/a/merge", json!({ "from": [] }), "0 counters"),
        ("/nearness/a", json!({ "members": [] }), "0 members"),
        ("/nearness/a", json!({ "members": [at_place("", 1.0, 1.0)] }), "a name of 1 to 256 bytes"),
        ("/nearness/a", json!({ "members": [at_place("x", 180.1, 1.0)] }), "longitude must be from -180 to 180: \"x\""),
        ("/nearness/a", json!({ "members": [at_place("x", 1.0, 86.0)] }), "latitude must be from -85.05112878 to"),
        ("/nearness/a/near", json!({ "longitude": 1, "radius": 1 }), "either member, or longitude and latitude"),
        ("/nearness/a/near", json!({ "member": "x", "radius": 0 }), "must be more than 0"),
        ("/nearness/a/near", json!({ "member": "x", "radius": 1, "unit": "yd" }), "unknown variant `yd`"),
        (
            "/nearness/a/near",
            json!({ "member": "x", "radius": 1, "limit": 0 }),
            "limit is 0, but must be from 1 to 1000",
        ),
        ("/nearness/a/within", json!({ "member": "x", "width": 1 }), "missing field `height`"),
    ] {
        let answer = post(&node, target, &body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("TRANSOM23")), "{target} {}", answer.text());
        assert!(answer.json()["details"].as_str().is_some_and(|said| said.contains(details)), "{}", answer.text());
    }
    let refused = get(&node, "/existence/a/add").await.expect_status(405);
    assert_eq!(refused.header("allow"), "POST");
    assert_eq!(post(&node, "/cardinality/a", &json!({})).await.expect_status(405).header("allow"), "GET, HEAD, DELETE");
    post(&node, "/nearness/a/far", &json!({})).await.expect_status(404);
    at(node.port()).get("/nearness/a").send().await.expect_status(401);
}

#[tokio::test]
async fn structures_without_redis_cost_one_timeout_and_come_back() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let alone = NodeBuilder::on(&database).set("state_service_key", KEY).start().await;
    for target in ["/existence/a", "/cardinality/a", "/nearness/a"] {
        assert_eq!(get(&alone, target).await.expect_status(503).json()["code"], "TRANSOM26");
    }
    let node = builder(&database, &redis).set("redis_timeout", "300ms").start().await;
    done(&node, "/existence/a", &json!({ "capacity": 10, "error_rate": 0.1 })).await;
    redis.pause();
    let began = Instant::now();
    let items = json!({ "items": ["a"] });
    for target in ["/existence/a/check", "/cardinality/a/add", "/existence/a/add", "/cardinality/a/add"] {
        let answer = post(&node, target, &items).await.expect_status(503);
        assert_eq!((answer.header("retry-after"), &answer.json()["code"]), ("1", &json!("TRANSOM26")));
    }
    assert!(began.elapsed() < Duration::from_millis(1_200), "four requests took {:?}", began.elapsed());
    redis.resume();
    eventually("redis is asked again", SOON, async || post(&node, "/existence/a/check", &items).await.status == 200)
        .await;
    let failed = node.metric("transom_structures_total{operation=\"existence-check\",result=\"failed\"}").await;
    assert!(failed >= 1.0);
}
