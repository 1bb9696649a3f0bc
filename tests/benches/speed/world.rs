//! The node under test, with all that it needs, and what its answers are made of.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Request;
use http_body_util::Full;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use transom_tests::bench::Answer;
use transom_tests::connection::Connection;
use transom_tests::{Database, Http, Lease, NodeBuilder, NodeProcess, Postgres, Redis};

use super::scenario::Asking;

const SECRET: &str = "a secret of at least thirty-two bytes";

/// A Postgres, a Redis, and one node with the settings that a node has by default.
pub(super) struct World {
    pub(super) node: NodeProcess,
    pub(super) database: Database,
    pub(super) redis: Redis,
    _postgres: Postgres,
}

impl World {
    pub(super) async fn start() -> Self {
        let postgres = Postgres::own().await;
        let database = postgres.database().await;
        database
            .execute(
                "create table item (id int primary key, body text not null);
                 create table large (id int primary key, body text not null);
                 insert into item select id, repeat('x', 990) from generate_series(1, 10000) as id;
                 insert into large values (1, repeat('x', 10200));
                 grant select on item, large to web_anon",
            )
            .await;
        database.execute("vacuum analyze item, large").await;
        let redis = Redis::start().await;
        let node = NodeBuilder::on(&database).redis(&redis).set("feed", "logical").set("workers", "1");
        let node = node.unset("audit_share").set("jwt_secret", SECRET).start_process().await;
        node.until_lease(Lease::Held).await;
        Self { node, database, redis, _postgres: postgres }
    }

    /// The headers of a request.
    pub(super) async fn headers(&self, asking: Asking, target: &str) -> Vec<(String, String)> {
        let header = match asking {
            Asking::Plainly => return Vec::new(),
            Asking::IfNoneMatch => {
                ("If-None-Match".to_owned(), ask(self.node.port(), target, &[]).await.header("etag").to_owned())
            }
            Asking::WithToken => ("Authorization".to_owned(), format!("Bearer {}", token())),
            Asking::Once => ("Connection".to_owned(), "close".to_owned()),
        };
        vec![header]
    }

    /// Hits that the node counted, and all requests.
    pub(super) async fn hits(&self) -> [u64; 2] {
        counted(self.node.admin(), "outcome=\"hit_l1\"").await
    }
}

/// Requests with this label that a node counted, and all requests.
pub(super) async fn counted(admin: &Http, label: &str) -> [u64; 2] {
    let text = admin.get("/metrics").send().await.text();
    let series = text.lines().filter(|line| line.starts_with("transom_requests_total{"));
    let mut counts = [0, 0];
    for line in series {
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        counts[0] += if line.contains(label) { count } else { 0 };
        counts[1] += count;
    }
    counts
}

/// A token that is good for an hour, for the role that everybody has.
fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = json!({ "role": "web_anon", "sub": "6f1c2f0a-5b0e-4d5f-9f43-0a4c5e6d7b8a", "exp": now + 3_600 });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("claims are JSON")
}

/// Asks the server on this port.
///
/// # Panics
/// If there is no answer.
pub(super) async fn ask(port: u16, target: &str, headers: &[(String, String)]) -> Answer {
    send(&mut Connection::to(port), port, target, headers).await
}

/// As the load asks: caches know an answer by its host too.
async fn send(connection: &mut Connection, port: u16, target: &str, headers: &[(String, String)]) -> Answer {
    let mut request = Request::get(target).header("host", format!("127.0.0.1:{port}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::default()).expect("a well-formed request");
    connection.send(request).await.expect("an answer")
}

/// Asks for each target once.
///
/// # Panics
/// If an answer is an error: nothing would be in the cache.
pub(super) async fn warm(port: u16, targets: &[String], headers: &[(String, String)]) {
    let mut connection = Connection::to(port);
    for target in targets {
        let answer = send(&mut connection, port, target, headers).await;
        assert!(answer.status < 400, "{target}: {}", answer.status);
    }
}
