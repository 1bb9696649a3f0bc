//! Whether this server and this role can have a feed at all.

use std::fmt;

use tokio_postgres::Client;

use super::PUBLICATION;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unable {
    /// the log does not hold what has to be decoded
    WalLevel(String),
    /// the server is too old
    Version(String),
    /// the role may not replicate
    Role(String),
    /// there is no publication, and the role may not make one
    Publication(String),
}

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WalLevel(found) => {
                write!(f, "wal_level is {found}: set it to logical in postgresql.conf and restart Postgres")
            }
            Self::Version(found) => write!(f, "PostgreSQL {found}: the change feed wants 15 or later"),
            Self::Role(role) => write!(f, "the role {role} may not replicate: ALTER ROLE \"{role}\" REPLICATION"),
            Self::Publication(role) => {
                write!(
                    f,
                    "there is no publication, and the role {role} may not make one: run `transom setup` as the owner"
                )
            }
        }
    }
}

/// Messages in the stream come with 14; publications of schemas and row filters, which must be looked for, with 15.
const VERSION_MIN: i32 = 150_000;

/// On RDS the right to replicate is a role of its own.
const ABILITY_SQL: &str = "\
SELECT current_setting('wal_level'), current_setting('server_version_num')::int, current_setting('server_version'), \
current_user::text, r.rolreplication OR r.rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_roles s \
WHERE s.rolname = 'rds_replication' AND pg_has_role(s.oid, 'USAGE')), \
EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1) \
OR has_database_privilege(current_database(), 'CREATE') FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

/// Asks a server; `None` if it can.
///
/// # Errors
/// If it does not answer.
pub async fn ability(client: &Client) -> Result<Option<Unable>, tokio_postgres::Error> {
    let row = client.query_one(ABILITY_SQL, &[&PUBLICATION]).await?;
    let (wal_level, version): (String, i32) = (row.try_get(0)?, row.try_get(1)?);
    let (may_replicate, may_publish): (bool, bool) = (row.try_get(4)?, row.try_get(5)?);
    Ok(if version < VERSION_MIN {
        Some(Unable::Version(row.try_get(2)?))
    } else if wal_level != "logical" {
        Some(Unable::WalLevel(wal_level))
    } else if !may_replicate {
        Some(Unable::Role(row.try_get(3)?))
    } else if !may_publish {
        Some(Unable::Publication(row.try_get(3)?))
    } else {
        None
    })
}
