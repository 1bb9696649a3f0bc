//! Requests of every wrong kind: each is refused in PostgREST's shape, none breaks anything.

mod cases;
mod shapes;

use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::Value;
use transom_tests::{Database, NodeBuilder, NodeProcess, Postgres, Wire};

/// A column of every kind whose input can fail.
const SCHEMA: &str = "
    create schema other;
    create type mood as enum ('good', 'bad');
    create domain positive as int check (value > 0);
    create table kinds (
        id int primary key, n numeric, f double precision, b bool, u uuid, d date, ts timestamptz, t time, iv interval,
        ip inet, j json, jb jsonb, a int[], r int4range, v tsvector, y bytea, e mood, p positive, bits bit(4), x xml,
        s text, c char(3)
    );
    insert into kinds (id, n, f, b, d, jb, a, s) values (1, 1.5, 2.5, true, '2013-01-01', '{\"a\": [1]}', '{1,2}', 'text');
    grant all on kinds to web_anon;
";

async fn node() -> (Database, NodeProcess) {
    let database = Postgres::shared().await.database().await;
    database.execute(SCHEMA).await;
    let node = NodeBuilder::on(&database).set("db_schemas", "public,other").start_process().await;
    (database, node)
}

/// Sends one request as bytes and takes the answer apart.
async fn ask(port: u16, method: &str, path: &[u8], headers: &str, body: &[u8]) -> Result<(u16, String), String> {
    let mut request = [method.as_bytes(), b" ", path, b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"].concat();
    request.extend_from_slice(headers.as_bytes());
    if !body.is_empty() || !matches!(method, "GET" | "HEAD" | "DELETE") {
        request.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    let answer = Wire::to(port).await.send(request).await.read_to_end().await;
    let status = answer.get(9..12).and_then(|digits| digits.parse().ok());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = status.ok_or_else(|| format!("no answer: {answer:?}"))?;
    if head.contains("cache-status:") || body.is_empty() { Ok((status, body.to_owned())) } else { Err(answer) }
}

/// Why the answer is not a refusal in PostgREST's shape, if it is not.
fn objection(status: u16, body: &str) -> Option<String> {
    let problem: Option<Value> = serde_json::from_str(body).ok();
    let complete = problem.as_ref().and_then(Value::as_object).is_some_and(|object| {
        object.len() == 4
            && ["details", "hint"].iter().all(|key| object.contains_key(*key))
            && ["code", "message"].iter().all(|key| object.get(*key).is_some_and(Value::is_string))
    });
    (!(400..500).contains(&status) || !complete).then(|| format!("{status} {}", body.get(..300).unwrap_or(body)))
}

#[tokio::test]
async fn what_is_malformed_is_refused_in_postgrests_shape() {
    let (_database, mut node) = node().await;
    let mut objections = Vec::new();
    let cases = cases::all();
    assert!(cases.len() >= 150, "{}", cases.len());
    for case in &cases {
        let (status, body) = ask(node.port(), case.method, &case.path, &case.headers, &case.body)
            .await
            .unwrap_or_else(|reason| panic!("{case:?}: {reason}"));
        // What HTTP itself refuses has no body: the parser below the proxy found it.
        let objection = if body.is_empty() && case.by_http { None } else { objection(status, &body) };
        objections.extend(objection.map(|objection| format!("{case:?}: {objection}")));
    }
    assert!(objections.is_empty(), "{} of {}:\n{}", objections.len(), cases.len(), objections.join("\n"));
    still_well(&mut node).await;
}

async fn still_well(node: &mut NodeProcess) {
    node.rest().get("/airlines?carrier=eq.UA").header("cache-control", "no-store").send().await.expect_status(200);
    node.process().expect_running();
    let log = node.process().log();
    assert!(!log.contains("panicked"), "{log}");
}

/// Requests from fragments of the grammar and from noise. Cases: `PROPTEST_CASES`, else 500.
#[test]
fn whatever_is_asked_nothing_fails_inside() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_database, mut node) = runtime.block_on(node());
    let mut config = Config { failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 500;
    }
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let port = node.port();
    let property = |(method, table, query, body): (&str, &str, Vec<u8>, String)| {
        let path = [b"/rest/v1/", table.as_bytes(), b"?", &query].concat();
        let headers = "content-type: application/json\r\nprefer: count=exact\r\n";
        let body = if matches!(method, "POST" | "PATCH") { body } else { String::new() };
        let answer = runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(20), ask(port, method, &path, headers, body.as_bytes())).await
        });
        let fails =
            |reason: String| TestCaseError::fail(format!("{} {body}: {reason}", String::from_utf8_lossy(&path)));
        let (status, body) = answer.map_err(|_| fails("it hangs".to_owned()))?.map_err(&fails)?;
        let objection = if status < 400 || body.is_empty() { None } else { objection(status, &body) };
        // PostgREST has a 416 with the same four members, so that is no exception.
        let broken = status >= 500 || objection.is_some();
        if broken { Err(fails(format!("{status} {body}"))) } else { Ok(()) }
    };
    runner.run(&request(), property).unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(still_well(&mut node));
}

fn request() -> impl Strategy<Value = (&'static str, &'static str, Vec<u8>, String)> {
    let method =
        prop_oneof![6 => Just("GET"), 1 => Just("HEAD"), 1 => Just("DELETE"), 2 => Just("PATCH"), 2 => Just("POST")];
    let table = prop_oneof![8 => Just("kinds"), 2 => Just("airlines"), 1 => Just("none")];
    let parameter = proptest::collection::vec(fragment(), 1..9).prop_map(|pieces| pieces.concat());
    let query = proptest::collection::vec(prop_oneof![filter(), parameter], 0..5).prop_map(|pieces| pieces.join(&b'&'));
    let body =
        proptest::collection::vec(proptest::sample::select(cases::JSON), 0..9).prop_map(|pieces| pieces.concat());
    (method, table, query, body)
}

/// A filter that is almost right.
fn filter() -> impl Strategy<Value = Vec<u8>> {
    let column = proptest::sample::select(cases::COLUMNS);
    let not = prop_oneof![4 => Just(""), 1 => Just("not.")];
    let operator = proptest::sample::select(cases::OPERATORS);
    let value = proptest::sample::select(cases::VALUES);
    (column, not, operator, value)
        .prop_map(|(column, not, operator, value)| format!("{column}={not}{operator}.{value}").into_bytes())
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let encoded = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>().into_bytes();
    prop_oneof![
        8 => proptest::sample::select(cases::GRAMMAR).prop_map(|text| text.as_bytes().to_vec()),
        4 => proptest::sample::select(cases::COLUMNS).prop_map(|text| text.as_bytes().to_vec()),
        2 => proptest::sample::select(cases::VALUES).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6).prop_map(encoded),
        1 => "[!-~&&[^#]]{0,6}".prop_map(String::into_bytes),
    ]
}
