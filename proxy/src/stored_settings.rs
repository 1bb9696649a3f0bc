//! Settings that are kept in the database, for the role that connects, as PostgREST keeps them
//! (<https://docs.postgrest.org/en/v12/references/configuration.html#in-database-configuration>). Read once, at the start.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::timeout;
use tokio_postgres::Client;

use crate::{
    config::{Config, ConfigErrors, Loaded, STORED_NAMES, STORED_PREFIX, Stored},
    origin::{self, describe, quoted},
};

/// Longest wait for the connection, and for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why they do not count.
#[derive(Debug, thiserror::Error)]
pub enum StoredSettingsError {
    /// Postgres is not there
    #[error("no connection to postgres to read its settings: {0}")]
    Unreachable(String),
    /// Postgres does not tell
    #[error("the settings in the database cannot be read: {0}; correct db_pre_config, or set db_config = false")]
    Unreadable(String),
    /// they are wrong
    #[error(transparent)]
    Wrong(#[from] ConfigErrors),
}

/// The settings with what the database says of them laid over, if that is wanted.
///
/// # Errors
/// See [`StoredSettingsError`].
pub async fn complete(config: Config) -> Result<Loaded, StoredSettingsError> {
    let Stored::Read { pre_config } = &config.database.stored else {
        return Ok(Loaded { config, warnings: Vec::new() });
    };
    let silent = || format!("no answer within {PATIENCE:?}");
    let client = match timeout(PATIENCE, origin::client(&config.database.connection)).await {
        Ok(connected) => connected.map_err(|error| StoredSettingsError::Unreachable(describe(&error)))?,
        Err(_) => return Err(StoredSettingsError::Unreachable(silent())),
    };
    let said = match timeout(PATIENCE, read(&client, pre_config)).await {
        Ok(said) => said.map_err(|error| StoredSettingsError::Unreadable(describe(&error)))?,
        Err(_) => return Err(StoredSettingsError::Unreadable(silent())),
    };
    if said.is_empty() {
        return Ok(Loaded { config, warnings: Vec::new() });
    }
    Ok(config.with_stored(&said)?)
}

async fn read(client: &Client, pre_config: &[String]) -> Result<BTreeMap<String, String>, tokio_postgres::Error> {
    let mut said = of_function(client, pre_config).await?;
    said.extend(of_role(client).await?);
    Ok(said)
}

/// What the function sets, in a transaction that is not kept.
async fn of_function(client: &Client, name: &[String]) -> Result<BTreeMap<String, String>, tokio_postgres::Error> {
    if name.is_empty() {
        return Ok(BTreeMap::new());
    }
    let name: Vec<String> = name.iter().map(|part| quoted(part)).collect();
    client.batch_execute(&format!("BEGIN READ ONLY; SELECT {}()", name.join("."))).await?;
    let sql = "SELECT name, current_setting($1 || name, true) FROM unnest($2::text[]) AS name";
    let rows = client.query(sql, &[&STORED_PREFIX, &STORED_NAMES.as_slice()]).await?;
    client.batch_execute("ROLLBACK").await?;
    let mut said = BTreeMap::new();
    for row in rows {
        if let Some(value) = row.try_get(1)? {
            said.insert(row.try_get(0)?, value);
        }
    }
    Ok(said)
}

/// What was set for the role; for this database alone counts more.
const OF_ROLE_SQL: &str = "\
SELECT substr(s.text, length($1) + 1, strpos(s.text, '=') - length($1) - 1), substr(s.text, strpos(s.text, '=') + 1) \
FROM pg_catalog.pg_db_role_setting r JOIN pg_catalog.pg_roles o ON o.oid = r.setrole AND o.rolname = current_user \
LEFT JOIN pg_catalog.pg_database d ON d.oid = r.setdatabase, unnest(r.setconfig) AS s(text) \
WHERE (r.setdatabase = 0 OR d.datname = current_database()) AND starts_with(s.text, $1) ORDER BY r.setdatabase <> 0";

async fn of_role(client: &Client) -> Result<BTreeMap<String, String>, tokio_postgres::Error> {
    let rows = client.query(OF_ROLE_SQL, &[&STORED_PREFIX]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
