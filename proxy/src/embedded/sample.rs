//! The sample data, compiled in: see `proxy/sample/README.md` for its order and its source.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use futures_util::SinkExt as _;
use tokio_postgres::{Client, NoTls};

use super::EmbeddedError;

const SCHEMA: &str = include_str!("../../sample/nycflights13/schema.sql");
const CONSTRAINTS: &str = include_str!("../../sample/nycflights13/constraints.sql");
const GRANTS: &str = include_str!("../../sample/nycflights13/grants.sql");

/// Compressed CSV, by table, in an order that respects foreign keys.
const TABLES: [(&str, &[u8]); 5] = [
    ("airlines", include_bytes!("../../sample/nycflights13/airlines.csv.gz")),
    ("airports", include_bytes!("../../sample/nycflights13/airports.csv.gz")),
    ("planes", include_bytes!("../../sample/nycflights13/planes.csv.gz")),
    ("flights", include_bytes!("../../sample/nycflights13/flights.csv.gz")),
    ("weather", include_bytes!("../../sample/nycflights13/weather.csv.gz")),
];

/// Loads everything through one connection, which is closed again before this returns: there is only one.
pub(super) fn load(url: &str) -> Result<(), EmbeddedError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| EmbeddedError::Start(error.to_string()))?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(|e| refused("connect", &e))?;
        let connection = tokio::spawn(connection);
        copy_all(&client).await?;
        drop(client);
        match connection.await {
            Ok(Err(error)) => Err(refused("disconnect", &error)),
            _ => Ok(()),
        }
    })
}

async fn copy_all(client: &Client) -> Result<(), EmbeddedError> {
    run(client, "schema.sql", SCHEMA).await?;
    for (table, packed) in TABLES {
        copy(client, table, packed).await?;
    }
    run(client, "constraints.sql", CONSTRAINTS).await?;
    run(client, "grants.sql", GRANTS).await
}

async fn copy(client: &Client, table: &'static str, packed: &[u8]) -> Result<(), EmbeddedError> {
    let mut csv = String::new();
    GzDecoder::new(packed).read_to_string(&mut csv).expect("the sample is gzip and UTF-8");
    // The header names the columns that the file has: `flights.id` is not among them.
    let header = csv.lines().next().expect("the sample has a header");
    let statement = format!("copy {table} ({header}) from stdin (format csv, header true)");
    let copied = async {
        let mut sink = Box::pin(client.copy_in::<_, Bytes>(&statement).await?);
        sink.send(Bytes::from(csv)).await?;
        sink.as_mut().finish().await
    };
    copied.await.map(drop).map_err(|error| refused(table, &error))
}

async fn run(client: &Client, step: &'static str, sql: &str) -> Result<(), EmbeddedError> {
    client.batch_execute(sql).await.map_err(|error| refused(step, &error))
}

fn refused(step: &'static str, error: &tokio_postgres::Error) -> EmbeddedError {
    let problem = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
    EmbeddedError::Sample { step, problem }
}
