//! Clients that write. Each key has one of them, so that its versions are totally ordered.
//!
//! A write says "this version, if what is there is older", and is repeated until it is known to have happened: so a
//! connection that breaks leaves no doubt, and a repetition that comes late does nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::Full;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::connection::Connection;
use crate::consistency::history::{Token, Version};
use crate::consistency::load::{Load, Way};
use crate::consistency::question::{Key, PARTS, Question, Table, ZEROS};

/// How long a statement of a writer may take until it is sent again.
const STATEMENT: Duration = Duration::from_secs(3);
/// Pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Writes come in bursts of so many...
const BURST: std::ops::Range<u32> = 1..8;
/// ...with so many milliseconds between two of them...
const BETWEEN_MS: std::ops::Range<u64> = 2..60;
/// ...and so many after a burst, per table: what was missed must have time to be noticed, because the next write to the
/// same table may make up for it.
const QUIET_MS: std::ops::Range<u64> = 500..3_500;

/// Writes a table until the load ends.
pub(super) async fn run(load: Arc<Load>, table: Table, number: u64) {
    let random = StdRng::seed_from_u64(load.seed ^ 0x77 ^ number << 24);
    let connections = load.ports.iter().map(|port| Connection::to(*port)).collect();
    let mut writer = Writer { load, random, client: None, connections };
    for burst in 0.. {
        if !writer.load.goes_on() {
            return;
        }
        if table == Table::Part {
            writer.write_what_is_new(burst).await;
        }
        for _ in 0..writer.random.random_range(BURST) {
            let key = Key { table, id: writer.random.random_range(0..table.keys()) };
            writer.write(key).await;
            sleep(Duration::from_millis(writer.random.random_range(BETWEEN_MS))).await;
        }
        sleep(Duration::from_millis(writer.random.random_range(QUIET_MS))).await;
    }
}

struct Writer {
    load: Arc<Load>,
    random: StdRng,
    client: Option<Client>,
    connections: Vec<Connection>,
}

impl Writer {
    /// Asks every node what nobody asked before, in a way that needs a new template, and at once changes the answer: does
    /// whoever announces the change know of the template?
    async fn write_what_is_new(&mut self, burst: u32) {
        let question = Question::Narrow(self.random.random_range(0..PARTS / 2), 1 + burst % ((1 << ZEROS) - 1));
        let target = format!("/rest/v1{}", question.target());
        for connection in &mut self.connections {
            let request = Request::get(&target).header(HOST, "checker").body(Full::default());
            // A node that does not answer knows no answer either.
            drop(timeout(STATEMENT, connection.send(request.expect("every part is a valid one"))).await);
        }
        if let Question::Narrow(item, _) = question {
            self.write(Key { table: Table::Part, id: 2 * item }).await;
        }
        self.load.ask_too(question);
    }

    async fn write(&mut self, key: Key) {
        let load = self.load.clone();
        let _open = load.gate.read().await;
        let version = load.judge.invoke(key, Instant::now());
        let mut way = match key.table {
            Table::Item | Table::Part if key.id % 2 == 1 => Way::Proxy,
            _ => Way::Sql,
        };
        loop {
            let done = match way {
                Way::Proxy => self.through_a_node(key, version).await,
                Way::Sql => self.by_sql(key, version).await.map(|()| None),
            };
            if let Some(token) = done {
                if let Some(token) = &token {
                    load.keep_token(token.clone());
                }
                load.judge.acknowledge(key, token, Instant::now());
                load.count_write(way);
                return;
            }
            // Whether it happened can be told by Postgres alone.
            way = Way::Sql;
            sleep(AFTER_FAILURE).await;
        }
    }

    /// `None` if it is not known to have happened.
    async fn through_a_node(&mut self, key: Key, version: Version) -> Option<Option<Token>> {
        let node = self.random.random_range(0..self.connections.len());
        let target = format!("/rest/v1/{}?id=eq.{}&version=lt.{version}&select=id", key.table.name(), key.id);
        let request = Request::patch(target)
            .header(HOST, "checker")
            .header(CONTENT_TYPE, "application/json")
            .header("prefer", "return=representation")
            .body(Full::new(Bytes::from(format!("{{\"version\":{version}}}"))))
            .expect("every part is a valid one");
        let answer = timeout(STATEMENT, self.connections[node].send(request)).await;
        let Ok(answer) = answer else {
            self.connections[node] = Connection::to(self.load.ports[node]);
            return None;
        };
        let answer = answer.ok().filter(|answer| answer.status == 200 && answer.body.len() > 2)?;
        Some(Token::parse(answer.header("transom-token")))
    }

    async fn by_sql(&mut self, key: Key, version: Version) -> Option<()> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = Some(timeout(STATEMENT, self.load.postgres()).await.ok()??);
        }
        let client = self.client.as_ref()?;
        let done = timeout(STATEMENT, statement(client, key, version)).await;
        let Ok(Ok(now)) = done else {
            self.client = None;
            return None;
        };
        (now == i64::try_from(version).ok()?).then_some(())
    }
}

/// Writes, and says which version is there now.
async fn statement(client: &Client, key: Key, version: Version) -> Result<i64, tokio_postgres::Error> {
    let (table, id) = (key.table.name(), key.id);
    let (write, read) = match key.table {
        Table::Ledger => {
            (format!("select aside.post({id}, {version})"), format!("select max(version) from ledger where grp = {id}"))
        }
        _ => (
            format!("update {table} set version = {version} where id = {id} and version < {version}"),
            format!("select version from {table} where id = {id}"),
        ),
    };
    client.batch_execute(&write).await?;
    client.query_one(&read, &[]).await?.try_get(0)
}
