//! The ceiling of a miss: a server that looks into Redis, asks Postgres and keeps the answer in Redis, and does nothing else.
//! No request is understood, no role taken, nothing is judged or kept in memory; one statement is prepared, and sent without a
//! transaction. It runs in a process of its own, as this program called by another name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{env, process::Command};

use fred::interfaces::{ClientLike as _, KeysInterface as _};
use fred::types::Expiration;
use fred::types::config::Config;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use tokio_postgres::{NoTls, Statement};
use transom_tests::bench::{Server, bare};
use transom_tests::{Database, Folder, Redis, free_port};

/// What this program is called by to be that server.
pub(super) const NAME: &str = "bare-miss";
/// As many as the others have.
const CONNECTIONS: usize = 10;
const KEPT_FOR_SECONDS: i64 = 60;

/// Starts it and waits until it accepts connections.
pub(super) async fn start(redis: &Redis, database: &Database, sql: &str) -> Server {
    let port = free_port();
    let mut command = Command::new(env::current_exe().expect("a running program has a path"));
    command.args([NAME, &port.to_string(), &redis.url(), &database.url(), sql]);
    Server::start("hyper, Redis, Postgres", port, command, Folder::new("bare")).await
}

/// Serves until it is ended.
pub(super) fn serve(port: &str, redis: &str, postgres: &str, sql: &str) -> ! {
    let port: u16 = port.parse().expect("a port");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        let pillar = Arc::new(Pillar::connect(redis, postgres, sql).await);
        let answer = move |request| {
            let pillar = pillar.clone();
            async move { pillar.answer(&request).await }
        };
        bare::serve(port, answer).await
    })
}

/// Redis and Postgres.
struct Pillar {
    redis: fred::clients::Client,
    sessions: Vec<(tokio_postgres::Client, Statement)>,
    next: AtomicUsize,
}

impl Pillar {
    async fn connect(redis: &str, postgres: &str, sql: &str) -> Self {
        let config = Config::from_url(redis).expect("the URL of a Redis");
        let redis = fred::clients::Client::new(config, None, None, None);
        redis.init().await.expect("Redis is there");
        let mut sessions = Vec::new();
        for _ in 0..CONNECTIONS {
            let (client, connection) = tokio_postgres::connect(postgres, NoTls).await.expect("Postgres is there");
            tokio::spawn(connection);
            client.batch_execute("set role web_anon").await.expect("the role may be taken");
            let statement = client.prepare(sql).await.expect("the statement is right");
            sessions.push((client, statement));
        }
        Self { redis, sessions, next: AtomicUsize::new(0) }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let target = request.uri().to_string();
        let stored: Option<Bytes> = self.redis.get(&target).await.expect("Redis answers");
        let body = match stored {
            Some(body) => body,
            None => self.fill(target).await,
        };
        let mut response = Response::new(Full::new(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn fill(&self, target: String) -> Bytes {
        let (client, statement) = &self.sessions[self.next.fetch_add(1, Relaxed) % CONNECTIONS];
        let row = client.query_one(statement, &[&number(&target)]).await.expect("Postgres answers");
        let body = Bytes::from(row.get::<_, String>(0));
        let (redis, kept) = (self.redis.clone(), body.clone());
        tokio::spawn(async move {
            let kept = redis.set::<(), _, _>(target, kept, Some(Expiration::EX(KEPT_FOR_SECONDS)), None, false).await;
            kept.expect("Redis keeps it");
        });
        body
    }
}

/// What `id` is compared with.
fn number(target: &str) -> i32 {
    let condition = target.split(['?', '&']).find_map(|part| part.strip_prefix("id=")).expect("a condition");
    let (_, number) = condition.split_once('.').expect("an operator and a value");
    number.parse().expect("a number")
}
