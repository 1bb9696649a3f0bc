//! Events and presence over WebSockets: as over server-sent events, and the client can speak too.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use transom_tests::{HaProxy, Node, Postgres, Redis, eventually};

use super::access::{SECRET, signed};
use super::*;

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn try_open(port: u16, target: &str, header: (&'static str, &str)) -> Result<Self, u16> {
        // Small buffers, so that a client that does not read is soon one to whom nothing can be sent.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
        let stream = socket.connect(([127, 0, 0, 1], port).into()).await.expect("it listens");
        let mut request = format!("ws://127.0.0.1:{port}/state/v1{target}").into_client_request().expect("a URL");
        request.headers_mut().insert(header.0, header.1.parse().expect("a header"));
        match client_async(request, stream).await {
            Ok((stream, response)) => {
                assert_eq!(response.status(), 101);
                Ok(Self(stream))
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn open(port: u16, target: &str) -> Self {
        Self::try_open(port, target, ("transom-service-key", KEY)).await.expect("it is let in")
    }

    async fn next(&mut self) -> Message {
        let message = timeout(SOON, self.0.next()).await.expect("something comes in time");
        message.expect("the socket goes on").unwrap_or_else(|error| panic!("{error}"))
    }

    /// The next text, as JSON.
    async fn said(&mut self) -> Value {
        loop {
            match self.next().await {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn say(&mut self, text: &Value) {
        self.0.send(Message::text(text.to_string())).await.expect("it is open");
    }

    /// The code with which the other side closes it.
    async fn closed(&mut self) -> CloseCode {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame.expect("it says why").code;
            }
        }
    }
}

async fn world(settings: &[(&str, &str)]) -> (Database, Redis, [Node; 3]) {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = settings.iter().fold(builder(&database, &redis), |builder, (name, value)| builder.set(name, *value));
    let nodes = three(&builder).await;
    (database, redis, nodes)
}

async fn publish(node: &Node, data: &str) -> String {
    let request = keyed(at(node.port()).request(reqwest::Method::POST, "/events/news"));
    let answer = request.body(data).send().await.expect_status(200).json();
    answer["id"].as_str().expect("an id").to_owned()
}

async fn streams(node: &Node) -> f64 {
    node.metric("transom_event_streams").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_hear_everything_in_one_order_and_speak() {
    let (_database, redis, nodes) = world(&[]).await;
    let mut sockets = Vec::new();
    for node in &nodes {
        sockets.push(Socket::open(node.port(), "/events/news").await);
    }
    let mut expected = Vec::new();
    for number in 0..30 {
        if number == 10 {
            redis.kill_pubsub_clients().await;
        }
        let text = format!("number {number}\nand \"a line\"");
        let id = if number % 2 == 0 {
            publish(&nodes[number % 3], &text).await
        } else {
            // Everybody hears it, its publisher too; which comes first does not matter.
            let socket = &mut sockets[0];
            socket.say(&json!({ "publish": text, "ref": number })).await;
            let mut id = None;
            while id.is_none() {
                let said = socket.said().await;
                if said["event"] == "published" {
                    assert_eq!(said["ref"], number);
                    id = said["id"].as_str().map(str::to_owned);
                } else {
                    expected.push(said);
                }
            }
            id.expect("it was just found")
        };
        for socket in &mut sockets[1..] {
            let heard = socket.said().await;
            assert_eq!(heard, json!({ "event": "message", "id": id, "data": text }));
        }
    }
    while expected.len() < 30 {
        expected.push(sockets[0].said().await);
    }
    for (number, heard) in expected.iter().enumerate() {
        assert_eq!(heard["data"], format!("number {number}\nand \"a line\""));
    }
    let delivered = nodes[1].metric("transom_events_total{what=\"delivered\"}").await;
    assert_eq!((delivered, streams(&nodes[1]).await), (30.0, 1.0));
    assert_eq!(nodes[0].metric("transom_events_total{what=\"published\"}").await, 20.0);
}

#[tokio::test]
async fn a_socket_goes_on_where_its_client_was_and_says_what_is_lost() {
    let (_database, _redis, nodes) = world(&[("events_kept", "10")]).await;
    let first = publish(&nodes[0], "0").await;
    for number in 1..=30 {
        publish(&nodes[0], &number.to_string()).await;
    }
    let mut socket = Socket::open(nodes[1].port(), &format!("/events/news?last_event_id={first}")).await;
    assert_eq!(socket.said().await, json!({ "event": "lost", "data": { "count": 20 } }));
    for number in 21..=30 {
        assert_eq!(socket.said().await["data"], number.to_string());
    }
    publish(&nodes[2], "live").await;
    assert_eq!(socket.said().await["data"], "live");
    assert_eq!(nodes[1].metric("transom_events_total{what=\"lost\"}").await, 20.0);
}

/// It does not read, so nothing is sent to it any more, and what the stream forgets meanwhile is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_socket_is_told_and_holds_up_nobody() {
    const EVENTS: usize = 600;
    let (_database, _redis, nodes) = world(&[("events_kept", "20")]).await;
    let mut slow = Socket::open(nodes[0].port(), "/events/news").await;
    let mut quick = Socket::open(nodes[0].port(), "/events/news").await;
    let filler = "x".repeat(60_000);
    for number in 0..EVENTS {
        publish(&nodes[1], &format!("{number} {filler}")).await;
        let heard = quick.said().await;
        assert!(heard["data"].as_str().is_some_and(|data| data.starts_with(&format!("{number} "))));
    }
    let (mut heard, mut lost) = (0, 0);
    while heard + lost < EVENTS {
        let said = slow.said().await;
        if said["event"] == "lost" {
            lost += usize::try_from(said["data"]["count"].as_u64().expect("it is known")).expect("few");
        } else {
            let data = said["data"].as_str().expect("a text");
            assert!(data.starts_with(&format!("{} ", heard + lost)), "{}", &data[..20]);
            heard += 1;
        }
    }
    assert!(lost > 0 && heard >= 20, "{heard} heard, {lost} lost");
}

#[tokio::test]
async fn sockets_are_bounded_and_told_that_their_node_is_drained() {
    let (_database, _redis, [node, other, _]) = world(&[("event_streams_max", "1")]).await;
    let port = node.port();
    let mut socket = Socket::open(port, "/events/news").await;
    let again = Socket::try_open(port, "/presence/room/changes", ("transom-service-key", KEY)).await;
    assert_eq!(again.err(), Some(503));
    let drained = tokio::spawn(node.drain());
    assert_eq!(socket.closed().await, CloseCode::Away);
    drop(socket);
    timeout(SOON, drained).await.expect("it does not wait for ever").expect("no panic");
    // A place is given back, also by a client that says nothing and is gone.
    drop(Socket::open(other.port(), "/events/news").await);
    eventually("the place is free", SOON, async || streams(&other).await == 0.0).await;
    let mut socket = Socket::open(other.port(), "/events/news").await;
    socket.0.close(None).await.expect("it is open");
    eventually("the place is free", SOON, async || streams(&other).await == 0.0).await;
}

/// Nothing more can be sent to a client that does not read: the drain does not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_up_no_drain() {
    let (_database, _redis, [node, other, _]) = world(&[("drain_timeout", "50s")]).await;
    let socket = Socket::open(node.port(), "/events/news").await;
    let filler = "x".repeat(60_000);
    for _ in 0..200 {
        publish(&other, &filler).await;
    }
    let began = std::time::Instant::now();
    node.drain().await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    drop(socket);
}

/// What is asked for, with these headers instead of those that it takes.
async fn handshake(port: u16, headers: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let request =
        format!("GET /state/v1/events/news HTTP/1.1\r\nhost: a\r\ntransom-service-key: {KEY}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = vec![0; 4096];
    let length = timeout(SOON, stream.read(&mut answer)).await.expect("in time").expect("it answers");
    String::from_utf8_lossy(&answer[..length]).to_lowercase()
}

#[tokio::test]
async fn a_bad_handshake_is_answered() {
    let (_database, _redis, [node, ..]) = world(&[]).await;
    let port = node.port();
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "sec-websocket-version: 13\r\n";
    let upgrade = "connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n";
    let good = handshake(port, &format!("{upgrade}{version}{key}")).await;
    assert!(good.starts_with("http/1.1 101 "), "{good}");
    // From RFC 6455, section 1.3.
    assert!(good.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{good}");
    let old = handshake(port, &format!("{upgrade}{key}sec-websocket-version: 8\r\n")).await;
    assert!(old.starts_with("http/1.1 426 ") && old.contains("sec-websocket-version: 13\r\n"), "{old}");
    assert!(old.contains("transom52"), "{old}");
    for wrong in [format!("{upgrade}{version}"), format!("{upgrade}{version}sec-websocket-key: short\r\n")] {
        let answer = handshake(port, &wrong).await;
        assert!(answer.starts_with("http/1.1 400 ") && answer.contains("sec-websocket-key"), "{answer}");
    }
    let alone = handshake(port, &format!("upgrade: websocket\r\n{version}{key}")).await;
    assert!(alone.starts_with("http/1.1 400 "), "{alone}");
    let refused = Socket::try_open(port, "/events/news", ("transom-service-key", "another")).await;
    assert_eq!(refused.err(), Some(401));
    let refused = Socket::try_open(port, "/events/news?last_event_id=yesterday", ("transom-service-key", KEY)).await;
    assert_eq!(refused.err(), Some(400));
    eventually("no place is kept", SOON, async || streams(&node).await == 0.0).await;
}

#[tokio::test]
async fn who_breaks_the_rules_is_told_which() {
    let (_database, _redis, [node, ..]) = world(&[]).await;
    let port = node.port();
    let open = async || Socket::open(port, "/events/news").await;
    let mut socket = open().await;
    // Sent while nobody reads the close, as a client in the middle of it does.
    drop(socket.0.send(Message::text("x".repeat(200_000))).await);
    assert_eq!(socket.closed().await, CloseCode::Size);
    let mut socket = open().await;
    socket.0.send(Message::binary(vec![1, 2, 3])).await.expect("it is open");
    assert_eq!(socket.closed().await, CloseCode::Unsupported);
    let mut socket = open().await;
    // A text that is none, masked with zeros; and one that is not masked at all (RFC 6455, section 5.1).
    socket.0.get_mut().write_all(&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]).await.expect("it is open");
    assert_eq!(socket.closed().await, CloseCode::Invalid);
    let mut socket = open().await;
    socket.0.get_mut().write_all(&[0x81, 0x02, b'{', b'}']).await.expect("it is open");
    assert_eq!(socket.closed().await, CloseCode::Protocol);

    // What is only no sense does not end anything.
    let mut socket = open().await;
    for (said, details) in [
        (json!([1]), "invalid"),
        (json!({ "publish": 1 }), "expected a string"),
        (json!({ "publish": "a", "to": "b" }), "unknown field `to`"),
        (json!({ "publish": "x".repeat(65_537), "ref": 7 }), "at most 65536 bytes"),
    ] {
        socket.say(&said).await;
        let refused = socket.said().await;
        assert_eq!((&refused["event"], &refused["code"]), (&json!("refused"), &json!("TRANSOM23")));
        assert_eq!(refused["ref"], said.get("ref").cloned().unwrap_or(Value::Null));
        assert!(refused["details"].as_str().is_some_and(|said| said.contains(details)), "{refused}");
    }
    socket.0.send(Message::Ping("are you there".into())).await.expect("it is open");
    assert_eq!(socket.next().await, Message::Pong("are you there".into()));
}

#[tokio::test]
async fn a_socket_ends_with_its_token() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = builder(&database, &redis).set("jwt_secret", SECRET).start().await;
    let token = |seconds: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is past 1970");
        // Tokens are believed for thirty seconds more than they say.
        let exp = i64::try_from(now.as_secs()).expect("a while yet") - 30 + seconds;
        let claims = json!({ "role": "clerk", "exp": exp });
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        format!("Bearer {}", jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("signed"))
    };
    let mut brief = Socket::try_open(node.port(), "/events/news", ("authorization", &token(4))).await.expect("it may");
    let lasting = format!("Bearer {}", signed(json!({ "role": "clerk" })));
    let mut lasting = Socket::try_open(node.port(), "/events/news", ("authorization", &lasting)).await.expect("it may");
    assert_eq!(brief.closed().await, CloseCode::Policy);
    lasting.say(&json!({ "publish": "still here" })).await;
    assert_eq!(lasting.said().await["event"], "published");
}

#[tokio::test]
async fn presence_is_watched_over_a_socket() {
    let (_database, _redis, nodes) = world(&[]).await;
    let mut socket = Socket::open(nodes[2].port(), "/presence/room/changes").await;
    let body = json!({ "user": "alice", "client": "tab-1" });
    post(&nodes[0], "/presence/room/join", &body).await.expect_status(200);
    post(&nodes[1], "/presence/room/leave", &body).await.expect_status(200);
    for event in ["join", "leave"] {
        let said = socket.said().await;
        assert_eq!((&said["event"], &said["data"]), (&json!(event), &body));
    }
    socket.say(&json!({ "publish": "hello" })).await;
    assert_eq!(socket.said().await["event"], "refused");
}

#[tokio::test]
async fn a_socket_outlives_a_redis_that_is_away() {
    let (database, mut redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = builder(&database, &redis).set("redis_timeout", "300ms").start().await;
    let mut socket = Socket::open(node.port(), "/events/news").await;
    redis.kill();
    socket.say(&json!({ "publish": "nobody hears it", "ref": 1 })).await;
    let refused = socket.said().await;
    assert_eq!((&refused["event"], &refused["code"]), (&json!("refused"), &json!("TRANSOM26")), "{refused}");
    redis.restart().await;
    eventually("it is published", SOON, async || {
        let request = keyed(at(node.port()).request(reqwest::Method::POST, "/events/news"));
        request.body("hello").send().await.status == 200
    })
    .await;
    assert_eq!(socket.said().await["data"], "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_carries_sockets() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let node = builder(&database, &redis).start().await;
    let haproxy = HaProxy::config("haproxy/proxy.cfg").listen("PROXY_PORT").listen("STATS_PORT");
    let admin_port = node.admin_address().rsplit(':').next().expect("an address ends with a port").to_owned();
    let haproxy = haproxy.set("NODE_1", format!("127.0.0.1:{}", node.port())).set("NODE_1_ADMIN", admin_port);
    let haproxy = haproxy.start().await;
    let port = haproxy.port("PROXY_PORT");
    let open = async || Socket::try_open(port, "/events/news", ("transom-service-key", KEY)).await.ok();
    let mut socket = eventually("the node is found", SOON, open).await;
    socket.say(&json!({ "publish": "hello" })).await;
    let mut events = [socket.said().await, socket.said().await].map(|said| said["event"].to_string());
    events.sort();
    assert_eq!(events, ["\"message\"", "\"published\""]);
    node.drain().await;
    assert_eq!(socket.closed().await, CloseCode::Away);
}
