//! Events and presence: heard on every node, in one order, and whoever misses something is told.

use std::time::Duration;

use cache_core::redis::RedisLink;
use cache_core::state::events::{Events, Heard, Retention};
use cache_core::state::{Keyspace, Name};
use serde_json::{Value, json};
use transom_tests::{Node, Postgres, Redis, RedisCluster, Signal, eventually};

use super::*;

/// A stream of server-sent events.
struct Stream {
    response: reqwest::Response,
    read: String,
}

/// What it says: the name of the event, its id, its data.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    event: String,
    id: String,
    data: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Stream {
    async fn open(port: u16, target: &str, after: Option<&str>) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a plain client can be built");
        let request = client.get(format!("http://127.0.0.1:{port}/state/v1{target}"));
        let request = request.header("transom-service-key", KEY);
        let request = after.into_iter().fold(request, |request, id| request.header("last-event-id", id));
        let response = request.send().await.expect("it answers");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self { response, read: String::new() }
    }

    /// The next message, whatever comments are in between; `None` if the stream is over.
    async fn next(&mut self) -> Option<Said> {
        loop {
            while let Some((message, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = message.lines().filter_map(|line| line.strip_prefix(name));
                    lines.collect::<Vec<_>>().join("\n")
                };
                let said = Said { event: field("event: "), id: field("id: "), data: field("data: ") };
                let is_message = message.lines().any(|line| line.starts_with("data: "));
                self.read = rest.to_owned();
                if is_message {
                    return Some(said);
                }
            }
            let chunk = tokio::time::timeout(SOON, self.response.chunk()).await.expect("something comes in time");
            match chunk {
                Ok(Some(chunk)) => self.read.push_str(&String::from_utf8_lossy(&chunk)),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    async fn said(&mut self) -> Said {
        self.next().await.expect("the stream goes on")
    }
}

async fn publish(node: &Node, channel: &str, data: &str) -> String {
    let request = keyed(at(node.port()).request(reqwest::Method::POST, &format!("/events/{channel}")));
    let answer = request.body(data).send().await.expect_status(200).json();
    answer["id"].as_str().expect("an id").to_owned()
}

async fn world(settings: &[(&str, &str)]) -> (Database, Redis, [Node; 3]) {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = settings.iter().fold(builder(&database, &redis), |builder, (name, value)| builder.set(name, *value));
    let nodes = three(&builder).await;
    (database, redis, nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_everything_in_one_order() {
    let (_database, redis, nodes) = world(&[]).await;
    let mut streams = Vec::new();
    for number in 0..6 {
        streams.push(Stream::open(nodes[number % 3].port(), "/events/news", None).await);
    }
    let mut ids = Vec::new();
    for number in 0..60 {
        // Whoever is woken by messages loses some.
        if number % 20 == 10 {
            redis.kill_pubsub_clients().await;
        }
        ids.push(publish(&nodes[number % 3], "news", &format!("{{\"number\": {number}}}\nand a line")).await);
        publish(&nodes[number % 3], "other", "not for them").await;
    }
    for stream in &mut streams {
        for (number, id) in ids.iter().enumerate() {
            let data = format!("{{\"number\": {number}}}\nand a line");
            assert_eq!(stream.said().await, Said { event: String::new(), id: id.clone(), data });
        }
    }
    let delivered = nodes[0].metric("transom_events_total{what=\"delivered\"}").await;
    assert_eq!((delivered, nodes[0].metric("transom_event_streams").await), (120.0, 2.0));
}

#[tokio::test]
async fn who_comes_back_goes_on_where_it_was() {
    let (_database, _redis, nodes) = world(&[]).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(publish(&nodes[0], "news", &number.to_string()).await);
    }
    let mut stream = Stream::open(nodes[1].port(), "/events/news", Some(&ids[1])).await;
    for number in 2..5 {
        assert_eq!(stream.said().await.data, number.to_string());
    }
    publish(&nodes[2], "news", "live").await;
    assert_eq!(stream.said().await.data, "live");
    let by_query = format!("/events/news?last_event_id={}", ids[4]);
    assert_eq!(Stream::open(nodes[0].port(), &by_query, None).await.said().await.data, "live");
    let wrong = keyed(at(nodes[0].port()).get("/events/news")).header("last-event-id", "yesterday").send().await;
    assert_eq!(wrong.expect_status(400).json()["code"], "TRANSOM23");
}

#[tokio::test]
async fn who_was_away_too_long_is_told_how_much_it_lost() {
    let (_database, _redis, nodes) = world(&[("events_kept", "10")]).await;
    let first = publish(&nodes[0], "news", "0").await;
    for number in 1..=30 {
        publish(&nodes[0], "news", &number.to_string()).await;
    }
    let mut stream = Stream::open(nodes[1].port(), "/events/news", Some(&first)).await;
    let lost = stream.said().await;
    assert_eq!((lost.event.as_str(), lost.json()), ("lost", json!({ "count": 20 })));
    for number in 21..=30 {
        assert_eq!(stream.said().await.data, number.to_string());
    }
    assert_eq!(nodes[1].metric("transom_events_total{what=\"lost\"}").await, 20.0);
}

/// It does not read, so nothing is sent to it any more, and what the stream forgets meanwhile is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_told_and_holds_up_nobody() {
    const EVENTS: usize = 600;
    let (_database, _redis, nodes) = world(&[("events_kept", "20")]).await;
    let mut slow = Stream::open(nodes[0].port(), "/events/news", None).await;
    let mut quick = Stream::open(nodes[0].port(), "/events/news", None).await;
    let filler = "x".repeat(60_000);
    for number in 0..EVENTS {
        publish(&nodes[1], "news", &format!("{number} {filler}")).await;
        let heard = quick.said().await;
        assert!(heard.data.starts_with(&format!("{number} ")), "{}", &heard.data[..20]);
    }
    let (mut heard, mut lost) = (0, 0);
    while heard + lost < EVENTS {
        let said = slow.said().await;
        if said.event == "lost" {
            lost += usize::try_from(said.json()["count"].as_u64().expect("it is known")).expect("it is small");
        } else {
            assert!(said.data.starts_with(&format!("{} ", heard + lost)), "{}", &said.data[..20]);
            heard += 1;
        }
    }
    assert!(lost > 0 && heard >= 20, "{heard} heard, {lost} lost");
}

#[tokio::test]
async fn a_redis_that_forgot_everything_is_listened_to_again() {
    let (_database, mut redis, nodes) = world(&[]).await;
    for _ in 0..3 {
        publish(&nodes[0], "news", "before").await;
    }
    let mut stream = Stream::open(nodes[1].port(), "/events/news", None).await;
    redis.restart_empty().await;
    eventually("redis takes events again", SOON, async || {
        let request = keyed(at(nodes[0].port()).request(reqwest::Method::POST, "/events/news"));
        request.body("after").send().await.status == 200
    })
    .await;
    let said = stream.said().await;
    assert_eq!((said.event.as_str(), said.json()), ("lost", json!({ "count": null })), "what was lost is not known");
    assert_eq!(stream.said().await.data, "after");
}

#[tokio::test]
async fn a_cluster_carries_events_too() {
    let cluster = RedisCluster::start().await;
    let events = || {
        let link = RedisLink::open(&cluster.url(), Duration::from_secs(5)).expect("a URL");
        let retention = Retention { events: 100, lasts_for: Duration::from_secs(600) };
        Events::new(Keyspace::new(link, "default"), retention)
    };
    let (here, there) = (events(), events());
    for channel in 0..4 {
        let channel = Name::new(&format!("channel-{channel}")).expect("a name");
        let mut listener = eventually("it listens", SOON, async || here.listen(&channel, None).await).await;
        let id = eventually("it publishes", SOON, async || there.publish(&channel, "hello".into()).await).await;
        let heard = tokio::time::timeout(SOON, listener.next()).await.expect("in time");
        assert!(matches!(&heard, Heard::Event(event) if event.id == id && event.data == "hello"), "{heard:?}");
    }
}

#[tokio::test]
async fn streams_are_bounded_and_end_with_their_node() {
    let (_database, _redis, [node, ..]) = world(&[("event_streams_max", "1")]).await;
    let port = node.port();
    let mut stream = Stream::open(port, "/events/news", None).await;
    let refused = keyed(at(port).get("/presence/room/changes")).send().await.expect_status(503);
    assert_eq!(refused.json()["code"], "TRANSOM29");
    at(port).get("/events/news").send().await.expect_status(401);
    node.drain().await;
    assert_eq!(stream.next().await, None, "the client comes again, to another node");
}

async fn join(node: &Node, user: &str, client: &str) -> Value {
    let body = json!({ "user": user, "client": client });
    post(node, "/presence/room/join", &body).await.expect_status(200).json()
}

async fn members(node: &Node) -> Value {
    keyed(at(node.port()).get("/presence/room")).send().await.expect_status(200).json()
}

#[tokio::test]
async fn who_is_there_is_seen_from_every_node() {
    let (_database, _redis, nodes) = world(&[]).await;
    let mut changes = Stream::open(nodes[2].port(), "/presence/room/changes", None).await;
    let joined = join(&nodes[0], "alice", "tab-1").await;
    assert_eq!(joined, json!({ "user": "alice", "client": "tab-1", "came": true, "ttl_ms": 60_000 }));
    assert_eq!(join(&nodes[1], "alice", "tab-1").await["came"], false, "she says that she is still there");
    join(&nodes[1], "alice", "phone").await;
    join(&nodes[2], "bob", "tab-1").await;
    let there = json!({ "channel": "room", "members": 3, "users": [
        { "user": "alice", "clients": ["phone", "tab-1"] }, { "user": "bob", "clients": ["tab-1"] },
    ] });
    assert_eq!(members(&nodes[1]).await, there);
    post(&nodes[0], "/presence/lobby/join", &json!({ "user": "alice", "client": "phone" })).await.expect_status(200);
    let places =
        async |node: &Node| keyed(at(node.port()).get("/users/alice/presence")).send().await.expect_status(200).json();
    let everywhere = json!({ "user": "alice", "places": 3, "channels": [
        { "channel": "lobby", "clients": ["phone"] }, { "channel": "room", "clients": ["phone", "tab-1"] },
    ] });
    assert_eq!(places(&nodes[2]).await, everywhere);
    let body = json!({ "user": "alice", "client": "tab-1" });
    assert_eq!(post(&nodes[2], "/presence/room/leave", &body).await.json()["left"], true);
    assert_eq!(post(&nodes[0], "/presence/room/leave", &body).await.json()["left"], false);
    assert_eq!(members(&nodes[0]).await["members"], 2);
    assert_eq!(places(&nodes[1]).await["places"], 2);
    for (event, user, client) in
        [("join", "alice", "tab-1"), ("join", "alice", "phone"), ("join", "bob", "tab-1"), ("leave", "alice", "tab-1")]
    {
        let said = changes.said().await;
        assert_eq!((said.event.as_str(), said.json()), (event, json!({ "user": user, "client": client })));
    }
    let unnamed = post(&nodes[0], "/presence/room/join", &json!({ "user": "carol" })).await.expect_status(200).json();
    assert_eq!(unnamed["client"].as_str().map(str::len), Some(32));
    post(&nodes[0], "/presence/room/join", &json!({ "user": "with a space" })).await.expect_status(400);
}

/// Nobody says goodbye: neither the client nor the node that it spoke to.
#[tokio::test]
async fn who_dies_is_gone_when_its_time_is_up() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = builder(&database, &redis).set("presence_ttl", "8s");
    let mut dying = builder.start_process().await;
    let nodes = [builder.start().await, builder.start().await];
    let mut changes = Stream::open(nodes[1].port(), "/presence/room/changes", None).await;
    let body = json!({ "user": "alice", "client": "tab-1" });
    keyed(at(dying.port()).post("/presence/room/join", &body)).send().await.expect_status(200);
    join(&nodes[0], "bob", "tab-1").await;
    dying.process().signal(Signal::Kill);
    assert_eq!(changes.said().await.event, "join");
    assert_eq!(changes.said().await.json()["user"], "bob");
    // Nobody asks for the members: a node on which somebody watches notices by itself.
    let renewing = async {
        loop {
            join(&nodes[0], "bob", "tab-1").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let said = tokio::select! {
        said = changes.said() => said,
        () = renewing => unreachable!("it goes on"),
    };
    assert_eq!((said.event.as_str(), said.json()["user"].as_str()), ("leave", Some("alice")));
    assert_eq!(members(&nodes[1]).await["users"][0]["user"], "bob");
    let nowhere = keyed(at(nodes[0].port()).get("/users/alice/presence")).send().await.expect_status(200).json();
    assert_eq!(nowhere, json!({ "user": "alice", "places": 0, "channels": [] }));
}
