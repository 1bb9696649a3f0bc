//! Who leads: whoever holds an advisory lock, as long as it is heard of.

use tokio_postgres::error::SqlState;
use xxhash_rust::xxh3::xxh3_64;

use super::{Ended, line::Line};

/// The lock of a namespace. Locks belong to a database, so that is no part of the name.
pub(super) fn key(namespace: &str) -> i64 {
    xxh3_64(format!("transom feed {namespace}").as_bytes()).cast_signed()
}

/// Whether this session leads from now on, until it ends.
pub(super) async fn stand(line: &Line, key: i64) -> Result<Elected, Ended> {
    let row = line.ask_one("SELECT pg_try_advisory_lock($1)", &[&key]).await?;
    Ok(if row.try_get(0)? { Elected::Yes } else { Elected::No })
}

/// See [`stand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elected {
    Yes,
    No,
}

/// A leader asks something several times a second. One that is frozen, or cut off without a word, keeps its lock; its session
/// is ended by whoever notices. Postgres allows that to the same role. It shows when another session asked last to the
/// same role too, and to no other, which then never comes into it.
const DEPOSE_SQL: &str = "\
SELECT pg_terminate_backend(a.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) \
AND (l.classid::bigint << 32 | l.objid::bigint) = $1 AND a.pid <> pg_backend_pid() \
AND clock_timestamp() - greatest(a.query_start, a.state_change) > interval '2 s'";

/// Ends the session of a leader that nobody heard of for two seconds.
pub(super) async fn depose_if_silent(line: &Line, key: i64) -> Result<(), Ended> {
    match line.ask(DEPOSE_SQL, &[&key]).await {
        Ok(rows) if rows.is_empty() => Ok(()),
        Ok(_) => {
            tracing::warn!("change feed: the leader was silent for 2s; its session was ended");
            Ok(())
        }
        // Of a superuser, say. Then it is for the operator.
        Err(Ended::Refused(state, reason)) if state == SqlState::INSUFFICIENT_PRIVILEGE => {
            tracing::warn!(%reason, "change feed: the leader is silent, and this role may not end its session");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_a_lock_of_its_own() {
        assert_eq!(key("a"), key("a"));
        assert_ne!(key("a"), key("b"));
    }
}
