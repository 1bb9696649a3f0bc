//! The replication slot. Whoever holds it leads: Postgres gives it to one session at a time.

use tokio_postgres::{Client, error::SqlState};
use xxhash_rust::xxh3::xxh3_64;

/// Names in Postgres are shorter than 64 bytes; what is longer keeps its beginning and gets a hash of all of it.
const NAME_MAX: usize = 63;

/// The slot of a namespace on a database. Slots belong to the whole server, so the database is part of the name.
pub(super) fn name(namespace: &str, database: &str) -> String {
    let wanted = format!("transom_{namespace}_{database}");
    // https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS-MANIPULATION
    let plain = |c: char| if c.is_ascii_digit() || c.is_ascii_lowercase() { c } else { '_' };
    let name: String = wanted.chars().map(plain).collect();
    if name == wanted && name.len() <= NAME_MAX {
        return name;
    }
    let hash = format!("_{:016x}", xxh3_64(wanted.as_bytes()));
    let kept = name.len().min(NAME_MAX - hash.len());
    format!("{}{hash}", &name[..kept])
}

/// A name for a slot that ends with its session.
pub(super) fn temporary_name(namespace: &str, database: &str) -> String {
    let hash = format!("_{:016x}", rand::random::<u64>());
    let name = name(namespace, database);
    let kept = name.len().min(NAME_MAX - hash.len());
    format!("{}{hash}", &name[..kept])
}

/// What there is under the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// nothing
    Absent,
    /// something that is not ours to use: of another kind, or of another database
    Foreign,
    /// a slot whose log the server has thrown away
    Lost,
    /// a slot that somebody reads
    Taken,
    /// a slot that nobody reads
    Free,
}

const SLOT_SQL: &str = "\
SELECT slot_type = 'logical' AND plugin = 'pgoutput' AND database = current_database(), \
coalesce(wal_status = 'lost', false), active FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";

pub(super) async fn look(client: &Client, name: &str) -> Result<Slot, tokio_postgres::Error> {
    let Some(row) = client.query_opt(SLOT_SQL, &[&name]).await? else { return Ok(Slot::Absent) };
    let (ours, lost, active): (Option<bool>, bool, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(match (ours, lost, active) {
        (Some(true), _, true) => Slot::Taken,
        (Some(true), true, false) => Slot::Lost,
        (Some(true), false, false) => Slot::Free,
        (Some(false) | None, ..) => Slot::Foreign,
    })
}

/// Makes the slot, unless another node was faster. Waits for the transactions that are running.
pub(super) async fn create(client: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    let sql = "SELECT pg_catalog.pg_create_logical_replication_slot($1::text::name, 'pgoutput')";
    match client.execute(sql, &[&name]).await {
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_OBJECT) => Ok(()),
        made => made.map(drop),
    }
}

pub(super) async fn remove(client: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    client.execute("SELECT pg_catalog.pg_drop_replication_slot($1::text::name)", &[&name]).await.map(drop)
}

/// Where the stream of a slot begins: every commit behind it will be sent.
pub(super) async fn position(client: &Client, name: &str) -> Result<u64, tokio_postgres::Error> {
    let sql = "SELECT (confirmed_flush_lsn - '0/0'::pg_lsn)::text FROM pg_catalog.pg_replication_slots \
               WHERE slot_name = $1";
    let text: String = client.query_one(sql, &[&name]).await?.try_get(0)?;
    // What is no number is after everything, so that it counts as a break.
    Ok(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_postgres_takes() {
        assert_eq!(name("default", "shop"), "transom_default_shop");
        let long = "x".repeat(64);
        for (namespace, database) in [("Eu-1", "shop"), ("eu.1", "shop"), (long.as_str(), "shop"), ("a", "Größe")] {
            let name = name(namespace, database);
            assert!(name.len() <= NAME_MAX && name.starts_with("transom_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        }
        assert_ne!(name("Eu-1", "shop"), name("eu.1", "shop"));
        assert_ne!(temporary_name("a", "b"), temporary_name("a", "b"));
        assert!(temporary_name(&long, "b").len() <= NAME_MAX);
    }
}
