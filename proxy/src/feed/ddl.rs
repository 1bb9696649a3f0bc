//! Changes of definition, which no table's stream of rows shows: an event trigger writes them to the log, in the order of
//! commits, and to where triggers record changes if there is such a place, and notifies whoever listens that the schema is
//! another one.
//!
//! Whoever leads announces everything when it comes by this: the new fingerprint of the schema makes everything that was
//! stored before unreachable anyway. Without the trigger a definition is noticed by `NOTIFY` alone, or with the next row.

use tokio_postgres::Client;

use crate::origin::LOG_PREFIX;

/// What the message says.
const CONTENT: &[u8] = b"ddl";

/// Whether a message of the log says that a definition was changed in its transaction.
pub(super) fn is_change(prefix: &str, content: &[u8]) -> bool {
    prefix == LOG_PREFIX && content == CONTENT
}

/// What is there of the event trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// all of it
    Present,
    /// nothing
    Absent,
    /// it is disabled, or another release or another `db_channel` made it
    Outdated,
}

const FUNCTION: &str = "transom.definition_changed";
const TRIGGERS: [(&str, &str); 2] =
    [("transom_definition_changed", "ddl_command_end"), ("transom_definition_dropped", "sql_drop")];

/// The statements that make the trigger, to be run in one transaction by a superuser, or by whoever else the server lets
/// make event triggers. `DROP SCHEMA transom CASCADE` takes all of it back.
#[must_use]
pub fn statements(channel: Option<&str>) -> Vec<String> {
    let function = format!(
        "CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path = pg_catalog, pg_temp AS $transom${}$transom$",
        body(channel)
    );
    let triggers = TRIGGERS.into_iter().flat_map(|(name, event)| {
        [
            format!("DROP EVENT TRIGGER IF EXISTS {name}"),
            format!("CREATE EVENT TRIGGER {name} ON {event} EXECUTE FUNCTION {FUNCTION}()"),
        ]
    });
    ["CREATE SCHEMA IF NOT EXISTS transom".to_owned(), function].into_iter().chain(triggers).collect()
}

/// Where triggers record changes it is recorded as well, with the rights of whoever made this; without them only the log and
/// the notification tell. What a session does with its own temporary objects, and what makes queries faster or their plans better, changes no
/// answer.
fn body(channel: Option<&str>) -> String {
    let notify = channel.map_or_else(String::new, |channel| {
        format!("\n    PERFORM pg_notify('{}', 'reload schema');", channel.replace('\'', "''"))
    });
    format!(
        "
DECLARE
  matters boolean;
BEGIN
  IF TG_EVENT = 'sql_drop' THEN
    matters := EXISTS (SELECT FROM pg_event_trigger_dropped_objects() o
      WHERE o.original AND NOT o.is_temporary AND o.object_type <> 'index');
  ELSE
    matters := EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c
      WHERE c.schema_name IS DISTINCT FROM 'pg_temp' AND c.command_tag NOT IN
        ('CREATE INDEX', 'ALTER INDEX', 'REINDEX', 'REFRESH MATERIALIZED VIEW', 'CREATE STATISTICS', 'ALTER STATISTICS'));
  END IF;
  IF matters THEN
    PERFORM pg_logical_emit_message(true, '{LOG_PREFIX}', '{}');{notify}
    IF to_regprocedure('transom.keep(name, name, jsonb)') IS NOT NULL THEN
      BEGIN
        PERFORM transom.keep(NULL, NULL, NULL);
      EXCEPTION WHEN insufficient_privilege THEN
        NULL;
      END;
    END IF;
  END IF;
END
",
        String::from_utf8_lossy(CONTENT)
    )
}

const LOOK_SQL: &str = "\
SELECT p.prosrc, (SELECT count(*) FROM pg_catalog.pg_event_trigger t \
WHERE t.evtfoid = p.oid AND t.evtenabled IN ('O', 'A')) \
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
WHERE n.nspname = 'transom' AND p.proname = 'definition_changed'";

/// Looks what is there.
///
/// # Errors
/// If Postgres refuses.
pub async fn look(client: &Client, channel: Option<&str>) -> Result<Trigger, tokio_postgres::Error> {
    let Some(row) = client.query_opt(LOOK_SQL, &[]).await? else { return Ok(Trigger::Absent) };
    let (text, enabled): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
    let all = usize::try_from(enabled) == Ok(TRIGGERS.len());
    Ok(if all && text == body(channel) { Trigger::Present } else { Trigger::Outdated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_message_counts() {
        assert!(is_change("transom", b"ddl"));
        for (prefix, content) in [("transom", &b"beat 1"[..]), ("other", b"ddl"), ("transom", b"ddl\0")] {
            assert!(!is_change(prefix, content));
        }
    }

    #[test]
    fn the_channel_cannot_break_out_of_the_function() {
        let made = statements(Some("it's")).join(";\n");
        assert!(made.contains("pg_notify('it''s', 'reload schema')"), "{made}");
        assert!(!statements(None).join(";\n").contains("pg_notify"));
    }
}
