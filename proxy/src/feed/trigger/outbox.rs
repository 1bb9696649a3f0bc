//! Reading the outbox, and sweeping it.
//!
//! Readers keep no cursor in the database. What a reader has not seen yet is what its last snapshot did not see and its
//! present one does: ids are given before a commit, so a lower one may turn up later, but a snapshot knows. So several
//! readers (each node without Redis, each namespace) need not know of each other; what everybody has had the time to see is
//! deleted by whoever comes by.

use std::{sync::LazyLock, time::SystemTime};

use cache_core::coherence::WriteId;
use tokio_postgres::Row;

use super::{Ended, coverage::VERSION_SQL, line::Line, objects::RECORDED_MAX};
use crate::{
    feed::snapshot::{SNAPSHOT_SQL, Snapshot},
    rest::TableId,
};

/// Statements of one read at most; of more only the tables are read. Whose they were is of no interest by then: no write is
/// waited for that long.
const STATEMENTS_MAX: u32 = 4_096;

/// A snapshot that saw nothing.
pub(super) const NOTHING_SEEN: &str = "1:1:";

/// What a read brought.
pub(super) struct Batch {
    /// what it saw, as Postgres writes it
    pub(super) seen: String,
    /// the same, to be asked
    pub(super) snapshot: Snapshot,
    pub(super) marks: Marks,
    /// the version of what is covered, if it was asked for
    pub(super) covers: String,
    pub(super) records: Vec<Record>,
}

/// Positions in the log, which tell what was before what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// where the flushed log ended just after the snapshot was taken
    pub(super) place: u64,
    /// the same for the last snapshot whose rows were swept
    pub(super) swept: u64,
}

/// What was recorded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) what: What,
    /// the write through a proxy that it is part of, if that left its name here
    pub(super) write: Option<WriteId>,
    pub(super) recorded_at: SystemTime,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// rows of a table, by one statement
    Rows {
        table: TableId,
        /// old and new rows; `None` is the whole table
        images: Option<String>,
    },
    /// a definition: no table is what it was
    Definition,
}

/// How much of what is read is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versioned {
    /// the version too: somebody is to vouch
    Yes,
    /// only what is new
    No,
}

/// All in one snapshot. The last one saw everything of transactions below its `xmin`: the index skips them.
static READ_SQL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH fresh AS NOT MATERIALIZED (SELECT o.schema_name, o.table_name, o.images, o.recorded_at, o.write_id \
         FROM transom.outbox o WHERE o.xid >= pg_snapshot_xmin($1::text::pg_snapshot) \
         AND NOT pg_visible_in_snapshot(o.xid, $1::text::pg_snapshot)), \
         many AS (SELECT count(*) > {STATEMENTS_MAX} AS are FROM (SELECT FROM fresh LIMIT {STATEMENTS_MAX} + 1) AS few), \
         body AS (SELECT schema_name, table_name, images::text, recorded_at, replace(write_id::text, '-', '') AS write \
         FROM fresh WHERE NOT (SELECT are FROM many) \
         UNION ALL SELECT schema_name, table_name, NULL, min(recorded_at), NULL FROM fresh \
         WHERE (SELECT are FROM many) GROUP BY 1, 2), \
         header AS (SELECT pg_current_snapshot()::text AS seen, {PLACE_SQL} AS place, {SWEPT_SQL} AS swept, \
         CASE WHEN $2 THEN {VERSION_SQL} ELSE '' END AS covers) \
         SELECT h.seen, h.place, h.swept, h.covers, b.schema_name::text, b.table_name::text, b.images, b.recorded_at, b.write \
         FROM header h LEFT JOIN body b ON true"
    )
});

/// Flushed and not only written: a crash takes nothing of that back, so it never runs backward.
const PLACE_SQL: &str = "(pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::text";
const SWEPT_SQL: &str = "(SELECT (s.at - '0/0'::pg_lsn)::text FROM transom.swept s)";

/// What was recorded since the snapshot `seen`.
pub(super) async fn read(line: &Line, seen: &str, versioned: Versioned) -> Result<Batch, Ended> {
    let rows = line.ask(&READ_SQL, &[&seen, &(versioned == Versioned::Yes)]).await?;
    let first = rows.first().ok_or_else(|| Ended::Postgres("postgres answered with nothing".to_owned()))?;
    let seen: String = first.try_get(0)?;
    let snapshot = parse(&seen)?;
    let marks = Marks { place: position(first, 1)?, swept: position(first, 2)? };
    let covers = first.try_get(3)?;
    let records = rows.iter().filter_map(|row| record(row).transpose()).collect::<Result<_, _>>()?;
    Ok(Batch { seen, snapshot, marks, covers, records })
}

/// `None` if nothing was recorded: then there is a header and no body.
fn record(row: &Row) -> Result<Option<Record>, tokio_postgres::Error> {
    let Some(recorded_at) = row.try_get(7)? else { return Ok(None) };
    let names: (Option<&str>, Option<&str>) = (row.try_get(4)?, row.try_get(5)?);
    let what = match names {
        (Some(schema), Some(name)) => {
            What::Rows { table: TableId { schema: schema.into(), name: name.into() }, images: row.try_get(6)? }
        }
        _ => What::Definition,
    };
    let write: Option<&str> = row.try_get(8)?;
    Ok(Some(Record { what, write: write.and_then(|write| write.parse().ok()), recorded_at }))
}

/// What everybody sees from now on.
pub(super) async fn snapshot(line: &Line) -> Result<Snapshot, Ended> {
    parse(line.ask_one(SNAPSHOT_SQL, &[]).await?.try_get(0)?)
}

fn parse(text: &str) -> Result<Snapshot, Ended> {
    Snapshot::parse(text).ok_or_else(|| Ended::Postgres(format!("{text:?} is no snapshot")))
}

static MARKS_SQL: LazyLock<String> = LazyLock::new(|| format!("SELECT {PLACE_SQL}, {SWEPT_SQL}"));

/// Where the log and the outbox stand.
pub(super) async fn marks(line: &Line) -> Result<Marks, Ended> {
    let row = line.ask_one(&MARKS_SQL, &[]).await?;
    Ok(Marks { place: position(&row, 0)?, swept: position(&row, 1)? })
}

fn position(row: &Row, column: usize) -> Result<u64, Ended> {
    let text: Option<&str> = row.try_get(column)?;
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Ended::Postgres(format!("{text:?} is no position")))
}

/// Whether every statement is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    /// they are, and this many were, since ever
    All {
        /// what to sweep to
        count: i64,
    },
    /// nobody swept for so long that the recording may have stopped
    Stopped,
}

/// To be asked **before** a snapshot on which somebody vouches. A transaction that recorded nothing asked after the
/// recording had stopped. If that was before this question, this question shows it, or the version does, which is flipped
/// before the recording goes on; and if it was after, the transaction was not visible yet when this was asked.
pub(super) async fn recording(line: &Line) -> Result<Recording, Ended> {
    let sql = "SELECT r.last_value, r.last_value - s.last_value FROM transom.recorded r, transom.swept_to s";
    let row = line.ask_one(sql, &[]).await?;
    let (count, unswept): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    // Half of what writers go by: whoever sweeps to `count` cannot hide that they stopped in the meantime, because then
    // more than half will have been recorded since.
    Ok(if unswept > RECORDED_MAX / 2 { Recording::Stopped } else { Recording::All { count } })
}

/// Lets the recording go on. Two statements, in this order: whoever sees that it goes on sees that it had stopped.
pub(super) async fn resume(line: &Line) -> Result<(), Ended> {
    line.ask("UPDATE transom.swept SET flips = flips + 1", &[]).await?;
    line.ask("SELECT setval('transom.swept_to', (SELECT last_value FROM transom.recorded))", &[]).await?;
    Ok(())
}

/// Rows that one statement deletes at most, so that each is short.
const SWEPT_MAX: i64 = 10_000;
/// Such statements of one sweep at most.
const SWEEPS_MAX: usize = 10;

/// One at a time, and without waiting: what is not deleted now is later. That it was is told in the same transaction.
static SWEEP_SQL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH mine AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtextextended('transom sweep', 0)) AS got), \
         due AS (SELECT o.ctid FROM transom.outbox o WHERE (SELECT got FROM mine) \
         AND o.xid < pg_snapshot_xmax($1::text::pg_snapshot) \
         AND pg_visible_in_snapshot(o.xid, $1::text::pg_snapshot) LIMIT {SWEPT_MAX}), \
         gone AS (DELETE FROM transom.outbox o USING due WHERE o.ctid = due.ctid RETURNING 1), \
         told AS (UPDATE transom.swept s SET at = greatest(s.at, '0/0'::pg_lsn + $2::text::numeric) \
         WHERE EXISTS (SELECT FROM gone)) \
         SELECT (SELECT count(*) FROM gone), setval('transom.swept_to', greatest($3, s.last_value)) FROM transom.swept_to s"
    )
});

/// Deletes what a snapshot saw that was taken before the log reached `place`. `count` is what was recorded by then or later,
/// and found to be [`Recording::All`].
pub(super) async fn sweep(line: &Line, seen: &str, place: u64, count: i64) -> Result<(), Ended> {
    for _ in 0..SWEEPS_MAX {
        let row = line.ask_one(&SWEEP_SQL, &[&seen, &place.to_string(), &count]).await?;
        if row.try_get::<_, i64>(0)? < SWEPT_MAX {
            break;
        }
    }
    Ok(())
}
