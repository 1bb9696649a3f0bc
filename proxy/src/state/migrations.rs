//! The tables of shared state, as migrations up and down: applied in order by `transom setup --state`, each in a
//! transaction with the note that it was.

use tokio_postgres::Client;

/// One step of the schema.
struct Migration {
    version: i32,
    up: &'static str,
    down: &'static str,
    /// what a node needs of it, as the object of a GRANT
    granted: &'static [&'static str],
}

/// Never changed once released: what is to be different is another step.
const MIGRATIONS: [Migration; 3] = [
    Migration {
        version: 1,
        up: include_str!("migrations/01_locks.up.sql"),
        down: include_str!("migrations/01_locks.down.sql"),
        granted: &[
            "EXECUTE ON FUNCTION transom.acquire_lock(text, text, bigint), transom.renew_lock(text, text, bigint), \
             transom.release_lock(text, text), transom.look_at_lock(text)",
        ],
    },
    Migration {
        version: 2,
        up: include_str!("migrations/02_sessions.up.sql"),
        down: include_str!("migrations/02_sessions.down.sql"),
        granted: &["EXECUTE ON FUNCTION transom.create_session(text, text, bigint, bigint, bigint, text), \
             transom.read_session(text), transom.touch_sessions(text[]), transom.refresh_session(text), \
             transom.revoke_session(text), transom.revoke_session_of(text, bigint), \
             transom.revoke_sessions_of(text, text), transom.list_sessions(text, bigint), \
             transom.read_revocations(text), transom.tell_revocations(text, bigint[]), \
             transom.sweep_sessions(text)"],
    },
    Migration {
        version: 3,
        up: include_str!("migrations/03_standings.up.sql"),
        down: include_str!("migrations/03_standings.down.sql"),
        granted: &["EXECUTE ON FUNCTION transom.read_standing(text), transom.change_user(text, text, text, text)"],
    },
];

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// to the newest version
    Up,
    /// to nothing at all
    Down,
}

/// The version of the tables there are; 0: none.
///
/// # Errors
/// If Postgres refuses.
pub async fn version(client: &Client) -> Result<i32, tokio_postgres::Error> {
    let there: bool =
        client.query_one("SELECT to_regclass('transom.migrations') IS NOT NULL", &[]).await?.try_get(0)?;
    if !there {
        return Ok(0);
    }
    client.query_one("SELECT coalesce(max(version), 0) FROM transom.migrations", &[]).await?.try_get(0)
}

/// The version that this release needs.
#[must_use]
pub fn newest() -> i32 {
    MIGRATIONS[MIGRATIONS.len() - 1].version
}

/// The scripts that lead from a version to the end of that direction. Each is to be run as one transaction.
#[must_use]
pub fn scripts(from: i32, direction: Direction) -> Vec<String> {
    match direction {
        Direction::Up => {
            MIGRATIONS.iter().filter(|migration| migration.version > from).map(Migration::rising).collect()
        }
        Direction::Down => {
            let there = MIGRATIONS.iter().rev().filter(|migration| migration.version <= from);
            let mut scripts: Vec<String> = there.map(Migration::falling).collect();
            if from > 0 {
                scripts.push("DROP TABLE transom.migrations".to_owned());
            }
            scripts
        }
    }
}

/// The rights of a role as which nodes connect, if it is not the one that runs the setup.
#[must_use]
pub fn grants(role: &str) -> Vec<String> {
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let rights = MIGRATIONS.iter().flat_map(|migration| migration.granted);
    let schema = std::iter::once(format!("GRANT USAGE ON SCHEMA transom TO {role}"));
    schema.chain(rights.map(|right| format!("GRANT {right} TO {role}"))).collect()
}

impl Migration {
    fn rising(&self) -> String {
        let Self { version, up, .. } = self;
        let first = "CREATE SCHEMA IF NOT EXISTS transom;\n\
            CREATE TABLE IF NOT EXISTS transom.migrations (\
            version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp());\n";
        format!("{first}{up}INSERT INTO transom.migrations (version) VALUES ({version})")
    }

    fn falling(&self) -> String {
        let Self { version, down, .. } = self;
        format!("{down}DELETE FROM transom.migrations WHERE version = {version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_steps_of_one() {
        assert!(MIGRATIONS.iter().zip(1..).all(|(migration, version)| migration.version == version));
        let newest = i32::try_from(MIGRATIONS.len()).unwrap();
        assert!(scripts(newest, Direction::Up).is_empty());
        assert!(scripts(0, Direction::Down).is_empty());
        assert_eq!(scripts(newest, Direction::Down).len(), MIGRATIONS.len() + 1);
    }

    #[test]
    fn the_name_of_a_role_is_quoted() {
        assert!(grants("a\"b").iter().all(|sql| sql.ends_with("TO \"a\"\"b\"")));
    }
}
