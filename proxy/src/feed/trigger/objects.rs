//! The objects of the trigger feed, as SQL.
//!
//! ```text
//! statement -> transom_<kind> trigger -> transom.record_<oid>() -> transom.keep() -> transom.outbox
//! ```
//!
//! One row of the outbox per statement and table, and not per row. The functions run with the rights of whoever installed
//! them: writers need no right to the tables of `transom`, and get none. **They must never fail a write** for a reason of their
//! own: what cannot be told of the rows is recorded as a change of the whole table.

use crate::origin::SIGN_FUNCTION;

/// The schema of all of it.
pub(super) const SCHEMA: &str = "transom";

/// Row images that one statement records; more of them count as a change of the whole table.
const IMAGES_MAX: usize = 256;

/// Longer texts are left out of an image: nobody asks for them by equality, and the outbox is no second copy of the data.
const TEXT_BYTES_MAX: usize = 200;

/// A function takes 100 arguments at most.
const COLUMNS_PER_CALL: usize = 40;

/// Statements recorded since the outbox was last swept, from which on no more are: nobody reads it, and it must not fill the
/// disk. Readers take half of it for lost, so that none can be in doubt.
pub(super) const RECORDED_MAX: i64 = 250_000;

/// The tables, once. `recorded` and `swept_to` are sequences because those are read and written outside of snapshots and
/// transactions: a writer that decides by them decides by the present.
pub(super) const TABLES: [&str; 9] = [
    "CREATE SCHEMA IF NOT EXISTS transom",
    // Whoever writes may sign; there is no other right in it.
    "GRANT USAGE ON SCHEMA transom TO PUBLIC",
    // A row without a table is a change of definition. Many rows that live for seconds: vacuum has to come by number, not by share.
    "CREATE TABLE IF NOT EXISTS transom.outbox (\
     xid xid8 NOT NULL DEFAULT pg_current_xact_id(), recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(), \
     schema_name name, table_name name, images jsonb, write_id uuid) \
     WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, \
     autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000)",
    "CREATE INDEX IF NOT EXISTS outbox_xid ON transom.outbox (xid)",
    // `at`: what was swept was over when the log was there. `flips`: how often recording had stopped.
    "CREATE TABLE IF NOT EXISTS transom.swept (at pg_lsn NOT NULL, flips bigint NOT NULL) WITH (fillfactor = 10)",
    "INSERT INTO transom.swept SELECT '0/0', 0 WHERE NOT EXISTS (SELECT FROM transom.swept)",
    "CREATE SEQUENCE IF NOT EXISTS transom.recorded",
    "CREATE SEQUENCE IF NOT EXISTS transom.swept_to",
    "REVOKE ALL ON ALL TABLES IN SCHEMA transom FROM PUBLIC",
];

/// What all recording functions call. A transaction that notifies cannot be prepared for two-phase commit, so where such
/// transactions are allowed nobody is woken and the readers' clocks do.
pub(super) fn keep() -> String {
    format!(
        "CREATE OR REPLACE FUNCTION transom.keep(schema_name name, table_name name, images jsonb) RETURNS void \
         LANGUAGE plpgsql AS $transom$
BEGIN
  IF nextval('transom.recorded') - (SELECT last_value FROM transom.swept_to) > {RECORDED_MAX} THEN
    RETURN;
  END IF;
  INSERT INTO transom.outbox (schema_name, table_name, images) VALUES (schema_name, table_name, images);
  IF current_setting('max_prepared_transactions') = '0' THEN
    PERFORM pg_notify('{SCHEMA}', '');
  END IF;
END
$transom$"
    )
}

/// The calls are made by the functions below, and by the event trigger, alone.
pub(super) const KEEP_REVOKED: &str = "REVOKE ALL ON FUNCTION transom.keep(name, name, jsonb) FROM PUBLIC";

/// What a write through a proxy calls right before its commit: it puts the name of the write on something that its own
/// transaction recorded, and can do nothing else, so every role may. Such a transaction is never prepared, so that here
/// somebody is always woken.
pub(super) fn sign() -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {SIGN_FUNCTION}(name uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path = pg_catalog, pg_temp AS $transom$
BEGIN
  UPDATE transom.outbox o SET write_id = $1
    WHERE o.ctid = (SELECT n.ctid FROM transom.outbox n WHERE n.xid = pg_current_xact_id() LIMIT 1);
  IF FOUND THEN
    PERFORM pg_notify('{SCHEMA}', '');
  END IF;
END
$transom$"
    )
}

/// See [`sign`].
pub(super) fn sign_granted() -> String {
    format!("GRANT EXECUTE ON FUNCTION {SIGN_FUNCTION}(uuid) TO PUBLIC")
}

/// A column whose text may be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// How its text is made: as the server itself prints the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// integers, uuid, enums
    Plain,
    /// `t` or `f`
    Boolean,
    /// of any length
    Text,
}

impl Column {
    /// Name and text, as arguments.
    fn pair(&self) -> String {
        let (literal, name) = (literal(&self.name), identifier(&self.name));
        let text = match self.kind {
            Kind::Plain => format!("r.{name}::text"),
            Kind::Boolean => format!("CASE r.{name} WHEN true THEN 't' WHEN false THEN 'f' END"),
            Kind::Text => format!(
                "CASE WHEN octet_length(r.{name}) > {TEXT_BYTES_MAX} THEN jsonb 'false' ELSE to_jsonb(r.{name}::text) END"
            ),
        };
        format!("{literal}, {text}")
    }
}

/// A table that is to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) oid: u32,
    /// quoted, with its schema
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

impl Recorded {
    /// The body of its function. A column that was renamed or dropped since makes the images fail, which the block catches:
    /// it costs no transaction id, because it writes nothing.
    pub(super) fn body(&self) -> String {
        let image = self.image();
        let images =
            |rows: &str| format!("SELECT jsonb_agg({image}) INTO images FROM ({rows} LIMIT {}) AS r", IMAGES_MAX + 1);
        let (inserted, deleted) = (images("SELECT * FROM transom_new"), images("SELECT * FROM transom_old"));
        let updated = images("SELECT * FROM transom_old UNION ALL SELECT * FROM transom_new");
        format!(
            "
DECLARE
  images jsonb := 'null';
BEGIN
  BEGIN
    IF TG_OP = 'INSERT' THEN
      {inserted};
    ELSIF TG_OP = 'DELETE' THEN
      {deleted};
    ELSIF TG_OP = 'UPDATE' THEN
      {updated};
    END IF;
    IF jsonb_typeof(images) = 'array' AND jsonb_array_length(images) > {IMAGES_MAX} THEN
      images := 'null';
    END IF;
  EXCEPTION WHEN OTHERS THEN
    images := 'null';
  END;
  IF images IS NOT NULL THEN
    PERFORM transom.keep(TG_TABLE_SCHEMA, TG_TABLE_NAME, nullif(images, 'null'));
  END IF;
  RETURN NULL;
END
"
        )
    }

    /// One object per row: a text, or null for NULL; `false` for a text that is left out.
    fn image(&self) -> String {
        let objects: Vec<String> = self
            .columns
            .chunks(COLUMNS_PER_CALL)
            .map(|columns| {
                let pairs: Vec<String> = columns.iter().map(Column::pair).collect();
                format!("jsonb_build_object({})", pairs.join(", "))
            })
            .collect();
        if objects.is_empty() { "jsonb '{}'".to_owned() } else { objects.join(" || ") }
    }

    /// Makes or replaces the function and the triggers. Transition tables want a trigger per kind of change. Always enabled:
    /// also where a session says that it replays changes (`session_replication_role = replica`).
    pub(super) fn statements(&self) -> Vec<String> {
        let Self { oid, name, .. } = self;
        let function = format!("transom.record_{oid}()");
        let trigger = |kind: &str, change: &str, tables: &str| {
            format!(
                "CREATE OR REPLACE TRIGGER transom_{kind} AFTER {change} ON {name}{tables} FOR EACH STATEMENT \
                 EXECUTE FUNCTION {function}; ALTER TABLE {name} ENABLE ALWAYS TRIGGER transom_{kind}"
            )
        };
        vec![
            format!(
                "CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
                 SET search_path = pg_catalog, pg_temp AS $transom${}$transom$",
                self.body()
            ),
            format!("REVOKE ALL ON FUNCTION {function} FROM PUBLIC"),
            trigger("insert", "INSERT", " REFERENCING NEW TABLE AS transom_new"),
            trigger("update", "UPDATE", " REFERENCING OLD TABLE AS transom_old NEW TABLE AS transom_new"),
            trigger("delete", "DELETE", " REFERENCING OLD TABLE AS transom_old"),
            trigger("truncate", "TRUNCATE", ""),
        ]
    }
}

pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// With an escape where a backslash could be taken for one.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
