//! Over a limit: a clear answer in good time, and afterwards the node is as before.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use transom_tests::{CacheStatus, Database, Node, NodeBuilder, Postgres, Wire, eventually};

const UNITED: &str = "/airlines?carrier=eq.UA";
const SOON: Duration = Duration::from_secs(10);

async fn node(settings: &[(&str, &str)]) -> (Database, Node) {
    let database = Postgres::shared().await.database().await;
    let builder = settings.iter().fold(NodeBuilder::on(&database), |builder, (name, value)| builder.set(name, *value));
    let node = builder.start().await;
    (database, node)
}

/// Keeps everybody else out of the table until it is dropped.
async fn locked(database: &Database, table: &str) -> tokio_postgres::Client {
    let client = database.client().await;
    client.batch_execute(&format!("begin; lock table {table}")).await.expect("nobody holds it");
    client
}

async fn until_waiting(database: &Database, count: usize) {
    eventually("queries wait for the lock", SOON, async || database.waiting_for_locks().await == count).await;
}

async fn works(node: &Node) {
    node.rest().get(UNITED).header("cache-control", "no-store").send().await.expect_status(200);
}

fn code(response: &transom_tests::Response) -> String {
    let body = response.json();
    for key in ["message", "details", "hint"] {
        assert!(body.get(key).is_some(), "{body}");
    }
    body["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let (database, node) = node(&[("body_bytes_max", "1KiB")]).await;
    let row = |length: usize| json!({ "carrier": "ZZ", "name": "z".repeat(length) }).to_string();
    // Far more than the buffers of the sockets hold: the answer must survive what the client is still sending.
    for length in [1_024, 100_000, 30_000_000] {
        let request =
            node.rest().request("POST".parse().unwrap(), "/airlines").header("content-type", "application/json");
        let refused = request.body(row(length)).send().await.expect_status(413);
        assert_eq!(code(&refused), "TRANSOM05");
        assert_eq!(CacheStatus::of(&refused).gist(), "detail=body-too-large");
    }
    let mut wire = Wire::to(node.port()).await;
    wire.send("POST /rest/v1/airlines HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        .await;
    for _ in 0..4 {
        wire.send(format!("200\r\n{}\r\n", " ".repeat(0x200))).await;
    }
    let answer = wire.send("0\r\n\r\n").await.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("TRANSOM05"), "{answer}");
    // Whoever asks first is spared the sending.
    let mut wire = Wire::to(node.port()).await;
    wire.send("POST /rest/v1/airlines HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5000\r\n\r\n")
        .await;
    let answer = wire.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(database.value("select count(*) from airlines where carrier = 'ZZ'").await.unwrap(), "0");
    node.rest().post("/airlines", &json!({ "carrier": "ZZ", "name": "small" })).send().await.expect_status(201);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_an_error_that_says_what_to_do() {
    let (_database, node) = node(&[("response_bytes_max", "2KiB"), ("entry_bytes_max", "2KiB")]).await;
    let refused = node.rest().get("/airports").send().await.expect_status(500);
    assert_eq!(code(&refused), "TRANSOM07");
    assert!(refused.json()["hint"].as_str().unwrap().contains("response_bytes_max"));
    node.rest().get("/airports?limit=5").send().await.expect_status(200);
}

#[tokio::test]
async fn requests_beyond_in_flight_max_are_shed_at_once() {
    let (database, node) = node(&[("in_flight_max", "2")]).await;
    let lock = locked(&database, "airlines").await;
    // Not the same question twice: while the pool opens its connections one transaction would answer both.
    let held = ["carrier", "name"].map(|column| {
        let request = node.rest().get(&format!("/airlines?select={column}&carrier=eq.UA"));
        tokio::spawn(request.send())
    });
    until_waiting(&database, 2).await;
    let began = Instant::now();
    let shed = node.rest().get("/airports?limit=1").send().await.expect_status(503);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((code(&shed), shed.header("retry-after")), ("TRANSOM04".to_owned(), "1"));
    assert_eq!(CacheStatus::of(&shed).gist(), "detail=overloaded");
    lock.batch_execute("rollback").await.unwrap();
    for request in held {
        request.await.unwrap().expect_status(200);
    }
    works(&node).await;
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_told_and_closed_and_the_others_work_on() {
    let (_database, node) = node(&[("connections_max", "2")]).await;
    let request = "GET /rest/v1/airlines?carrier=eq.UA HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut places = [Wire::to(node.port()).await, Wire::to(node.port()).await];
    for place in &mut places {
        place.send(request).await.read_until("United").await;
    }
    for _ in 0..20 {
        // With a request on its way: closing over it would reset the connection before the answer is read.
        let answer = Wire::to(node.port()).await.send(request).await.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("connections_max"), "{answer:?}");
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    }
    for place in &mut places {
        place.send(request).await.read_until("United").await;
    }
    drop(places);
    eventually("a place is free", SOON, async || {
        Wire::to(node.port()).await.send(request).await.finish().await.read_to_end().await.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn a_request_that_gets_no_connection_to_postgres_is_told_so() {
    let (database, node) = node(&[("db_pool_max", "1"), ("db_pool_wait_max", "200ms")]).await;
    let lock = locked(&database, "airlines").await;
    let held = tokio::spawn(node.rest().get(UNITED).send());
    until_waiting(&database, 1).await;
    let refused = node.rest().get("/airports?limit=1").send().await.expect_status(504);
    assert_eq!((code(&refused), refused.header("retry-after")), ("PGRST003".to_owned(), "1"));
    assert_eq!(CacheStatus::of(&refused).gist(), "detail=pool-exhausted");
    node.rest().patch("/airports?faa=eq.EWR", &json!({ "alt": 1 })).send().await.expect_status(504);
    lock.batch_execute("rollback").await.unwrap();
    held.await.unwrap().expect_status(200);
    works(&node).await;
}

#[tokio::test]
async fn a_request_over_its_deadline_is_given_up_here_and_in_postgres() {
    // Long enough for a busy machine to answer in time what it can answer.
    let deadline = "1500ms";
    let (database, node) =
        node(&[("request_deadline", deadline), ("db_pool_wait_max", deadline), ("collapse_wait_max", deadline)]).await;
    node.rest().get("/airports?limit=1").send().await.expect_status(200);
    let lock = locked(&database, "airlines").await;
    for round in 0..2 {
        let began = Instant::now();
        let late = [
            node.rest().get(&format!("/airlines?limit={round}")).send().await.expect_status(504),
            node.rest().patch(UNITED, &json!({ "name": "late" })).send().await.expect_status(504),
        ];
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        for answer in &late {
            assert_eq!((code(answer), answer.header("retry-after")), ("TRANSOM01".to_owned(), "1"));
        }
    }
    // The lock is still held: it was Postgres that gave up.
    until_waiting(&database, 0).await;
    node.rest().get("/airports?limit=2").send().await.expect_status(200);
    lock.batch_execute("rollback").await.unwrap();
    for _ in 0..10 {
        works(&node).await;
        node.rest().patch(UNITED, &json!({ "name": "in time" })).send().await.expect_status(204);
    }
    assert_eq!(database.value("select name from airlines where carrier = 'UA'").await.unwrap(), "in time");
}

#[tokio::test]
async fn collapse_wait_max_bounds_the_wait_for_a_fill_of_somebody_else_only() {
    let (database, node) = node(&[("collapse_wait_max", "200ms"), ("collapse_leader_max", "10s")]).await;
    let lock = locked(&database, "airlines").await;
    let leader = tokio::spawn(node.rest().get(UNITED).send());
    until_waiting(&database, 1).await;
    let waiter = node.rest().get(UNITED).send().await.expect_status(504);
    assert_eq!(code(&waiter), "TRANSOM02");
    lock.batch_execute("rollback").await.unwrap();
    leader.await.unwrap().expect_status(200);
}

#[tokio::test]
async fn a_body_that_never_comes_ends_with_the_deadline() {
    let (_database, node) =
        node(&[("request_deadline", "300ms"), ("db_pool_wait_max", "300ms"), ("collapse_wait_max", "300ms")]).await;
    let mut wire = Wire::to(node.port()).await;
    wire.send("POST /rest/v1/airlines HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"carrier\"").await;
    let answer = wire.read_until("TRANSOM01").await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    works(&node).await;
}

#[tokio::test]
async fn who_does_not_finish_a_head_is_cut_off() {
    let (_database, node) = node(&[("header_read_timeout", "300ms")]).await;
    let began = Instant::now();
    for start in [
        "",
        "G",
        "GET /rest/v1/airlines HT",
        "GET /rest/v1/airlines HTTP/1.1\r\nhost: x\r\n",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
        "PRI * HTTP/2.0\r\n\r\nSX",
    ] {
        Wire::to(node.port()).await.send(start).await.read_to_end().await;
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // One that drips has no more time than one that stops.
    let mut wire = Wire::to(node.port()).await;
    let dripped = Instant::now();
    for byte in "GET /rest/v1/airlines HTTP/1.1\r\nhost: x\r\n".repeat(100).bytes().take(20) {
        wire.send([byte]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    wire.read_to_end().await;
    assert!(dripped.elapsed() < Duration::from_secs(5));
    works(&node).await;
}

#[tokio::test]
async fn heads_beyond_all_measure_are_refused() {
    let (_database, node) = node(&[]).await;
    let many: String = (0..500).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = "x".repeat(1_000_000);
    for (request, statuses) in [
        (format!("GET /rest/v1/airlines HTTP/1.1\r\nhost: x\r\n{many}\r\n"), ["431"]),
        (format!("GET /rest/v1/airlines HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"), ["431"]),
        (format!("GET /rest/v1/airlines?carrier=eq.{} HTTP/1.1\r\nhost: x\r\n\r\n", &long[..70_000]), ["414"]),
    ] {
        let answer = Wire::to(node.port()).await.send(&request).await.finish().await.read_to_end().await;
        assert!(statuses.iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status} "))), "{answer:?}");
    }
    works(&node).await;
}

#[tokio::test]
async fn a_fill_outlives_the_client_that_asked_for_it() {
    let (database, node) = node(&[]).await;
    let lock = locked(&database, "airlines").await;
    let mut wire = Wire::to(node.port()).await;
    wire.send("GET /rest/v1/airlines?carrier=eq.UA HTTP/1.1\r\nhost: x\r\n\r\n").await;
    until_waiting(&database, 1).await;
    drop(wire);
    lock.batch_execute("rollback").await.unwrap();
    let hit = eventually("the answer is stored", SOON, async || {
        let read = node.rest().get(UNITED).header("cache-control", "only-if-cached").send().await;
        (read.status == 200).then_some(read)
    })
    .await;
    assert_eq!(CacheStatus::of(&hit).gist(), "detail=l1; hit");
    assert_eq!(database.calls("%from%airlines%carrier%").await, 1);
}

#[tokio::test]
async fn a_write_outlives_the_client_that_asked_for_it_and_is_announced() {
    let (database, node) = node(&[]).await;
    node.rest().get(UNITED).send().await.expect_status(200);
    let lock = locked(&database, "airlines").await;
    let mut wire = Wire::to(node.port()).await;
    let head = "PATCH /rest/v1/airlines?carrier=eq.UA HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    wire.send(format!("{head}\r\ncontent-length: 17\r\n\r\n{{\"name\":\"Untied\"}}")).await;
    until_waiting(&database, 1).await;
    drop(wire);
    lock.batch_execute("rollback").await.unwrap();
    eventually("the new name is served", SOON, async || node.rest().get(UNITED).send().await.text().contains("Untied"))
        .await;
    assert_eq!(database.value("select name from airlines where carrier = 'UA'").await.unwrap(), "Untied");
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let (database, node) = node(&[]).await;
    let head = "PATCH /rest/v1/airlines?carrier=eq.UA HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    for body in [
        "content-length: 500\r\n\r\n{\"name\":\"Untied\"}",
        "transfer-encoding: chunked\r\n\r\n11\r\n{\"name\":\"Untied\"}\r\n",
    ] {
        let answer =
            Wire::to(node.port()).await.send(format!("{head}\r\n{body}")).await.finish().await.read_to_end().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    works(&node).await;
    assert_eq!(
        database.value("select name from airlines where carrier = 'UA'").await.unwrap(),
        "United Air Lines Inc."
    );
}

#[tokio::test]
async fn garbage_is_refused_and_harms_nobody() {
    let (_database, node) = node(&[("header_read_timeout", "500ms")]).await;
    let cases: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello, more or less \r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /rest/v1/airlines HTTP/9.9\r\n\r\n",
        b"GET /rest/v1/air lines HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /rest/v1/airlines HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /rest/v1/airlines HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZZ\r\n\r\n",
    ];
    for case in cases {
        let answer = Wire::to(node.port()).await.send(case).await.read_to_end().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{:?}: {answer}", String::from_utf8_lossy(case));
        works(&node).await;
    }
}

#[tokio::test]
async fn http_1_0_pipelining_and_h2c_are_spoken() {
    let (_database, node) = node(&[]).await;
    let target = "/rest/v1/airlines?select=carrier&carrier=eq.";
    let answer = Wire::to(node.port()).await.send(format!("GET {target}UA HTTP/1.0\r\n\r\n")).await.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with(r#"[{"carrier":"UA"}]"#), "{answer}");

    let requests: String =
        ["AA", "UA", "none", "B6"].map(|carrier| format!("GET {target}{carrier} HTTP/1.1\r\nhost: x\r\n\r\n")).concat();
    let answers = Wire::to(node.port()).await.send(requests).await.read_until("B6").await;
    let bodies: Vec<_> = answers.match_indices("[").map(|(at, _)| &answers[at..(at + 16).min(answers.len())]).collect();
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 4, "{answers}");
    let order = ["AA", "UA", "B6"].map(|carrier| answers.find(&format!(":\"{carrier}\"")));
    assert!(order.is_sorted() && order[0].is_some(), "{bodies:?}");

    let stream = tokio::net::TcpStream::connect(("127.0.0.1", node.port())).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let streams = (0..50).map(|number| {
        let mut sender = sender.clone();
        let uri = format!("http://x/rest/v1/airlines?limit=1&offset={}", number % 5);
        async move {
            let request = http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
            assert!(answer.headers().contains_key("cache-status"));
            answer.into_body().collect().await.unwrap().to_bytes().len()
        }
    });
    assert!(futures_util::future::join_all(streams).await.into_iter().all(|length| length > 10));
    drop(sender);
    driver.abort();
}
