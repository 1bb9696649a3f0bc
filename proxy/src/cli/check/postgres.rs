//! What a node needs from Postgres.

use std::time::Duration;

use tokio_postgres::Client;

use super::feed;
use super::finding::Finding;
use crate::config::{Config, Database, Tokens};
use crate::origin;
use crate::rest;
use crate::state::migrations;
use crate::state::permissions::{Doubt, doubts};

/// Longest wait for the connection and for each answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Older ones lack what the queries of a node use.
const VERSION_MIN: i32 = 120_000;

type Answer<T> = Result<T, String>;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let database = &config.database;
    let client = match connect(database).await {
        Ok(client) => client,
        Err(why) => {
            let fix = "check `database_url`, that the server runs, and that pg_hba.conf lets this host in";
            return vec![Finding::fail("postgres", format!("cannot connect: {why}"), fix)];
        }
    };
    let mut findings = match within(server(&client)).await {
        Ok(server) => judge(&server, database.pool_max),
        Err(why) => vec![Finding::fail("postgres", why, "look at the log of the server")],
    };
    findings.extend(role(&client, database).await);
    for schema in &database.schemas {
        findings.push(schema_of(&client, database, schema).await);
    }
    findings.extend(feed::check(&client, config).await);
    findings.extend(standing(&client, config).await);
    findings.push(match within(migrations::version(&client)).await {
        Ok(version) => shared_state(version, &config.tokens),
        Err(why) => {
            Finding::warn("state", why, "grant this role SELECT on transom.migrations, and USAGE on its schema")
        }
    });
    findings
}

/// The reads that nodes ask by themselves.
async fn standing(client: &Client, config: &Config) -> Vec<Finding> {
    let permissions = &config.state.permissions;
    let set = [&permissions.users, &permissions.api_keys, &permissions.projects].into_iter().flatten().count();
    if set == 0 {
        return Vec::new();
    }
    let schema = match within(rest::load_schema(client, &config.database.schemas)).await {
        Ok(schema) => schema,
        Err(why) => return vec![Finding::fail("permissions", why, "look at the log of the server")],
    };
    let doubts = doubts(config, &schema);
    if doubts.is_empty() {
        return vec![Finding::ok("permissions", format!("{set} of 3 are asked, and stored"))];
    }
    let finding = |(setting, doubt): &(&str, Doubt)| {
        let found = format!("`{setting}`: {doubt}");
        if doubt.is_fatal() {
            Finding::fail("permissions", found, "correct the setting, or make what it reads")
        } else {
            Finding::warn(
                "permissions",
                found,
                "each question reaches Postgres; the README says what is not understood",
            )
        }
    };
    doubts.iter().map(finding).collect()
}

/// What the server says about itself.
#[derive(Debug, Clone)]
struct Server {
    version: String,
    version_number: i32,
    user: String,
    connections_max: i32,
    connections_reserved: i32,
    track_counts: bool,
}

fn judge(server: &Server, pool_max: u32) -> Vec<Finding> {
    let mut findings = vec![if server.version_number >= VERSION_MIN {
        Finding::ok("postgres", format!("version {} as {}", server.version, server.user))
    } else {
        Finding::fail("postgres", format!("version {}", server.version), "upgrade to 12 or later")
    }];
    let free = server.connections_max - server.connections_reserved;
    let found = format!("db_pool_max is {pool_max} a node, the server takes {free}");
    findings.push(if i64::from(pool_max) <= i64::from(free) / 2 {
        Finding::ok("connections", found)
    } else if i64::from(pool_max) <= i64::from(free) {
        Finding::warn("connections", found, "a second node will not fit; lower db_pool_max or raise max_connections")
    } else {
        Finding::fail("connections", found, "lower db_pool_max or raise max_connections")
    });
    findings.push(if server.track_counts {
        Finding::ok("track_counts", "on")
    } else {
        let fix = "set track_counts = on: without it a write cannot tell which tables it changed through triggers";
        Finding::warn("track_counts", "off", fix)
    });
    findings
}

/// The version of the tables that keeps what is held against tokens.
const STANDINGS_SINCE: i32 = 3;

/// Not everybody shares state, so that there is none is no shortcoming; that it is behind is.
fn shared_state(version: i32, tokens: &Tokens) -> Finding {
    const FIX: &str = "run `transom setup --state`, with --grant-to if nodes connect as another role";
    match version {
        version if version < STANDINGS_SINCE && tokens.user_claim.is_some() => {
            let found = format!(
                "jwt_user_claim is set, and the tables of shared state have version {version}, without transom.standings: \
                 no token that names a user is accepted"
            );
            Finding::fail("state", found, FIX)
        }
        0 => Finding::info(
            "state",
            format!("no tables of shared state: locks in postgres and sessions need them; {FIX}"),
        ),
        version if version < migrations::newest() => {
            let found =
                format!("tables of shared state have version {version}, this release needs {}", migrations::newest());
            Finding::warn("state", found, FIX)
        }
        version => Finding::ok("state", format!("tables of shared state have version {version}")),
    }
}

async fn connect(database: &Database) -> Answer<Client> {
    within(origin::client(&database.connection)).await
}

async fn server(client: &Client) -> Result<Server, tokio_postgres::Error> {
    let sql = "select current_setting('server_version'), current_setting('server_version_num')::int, \
               current_user::text, current_setting('max_connections')::int, \
               current_setting('superuser_reserved_connections')::int, current_setting('track_counts')::bool";
    let row = client.query_one(sql, &[]).await?;
    Ok(Server {
        version: row.try_get(0)?,
        version_number: row.try_get(1)?,
        user: row.try_get(2)?,
        connections_max: row.try_get(3)?,
        connections_reserved: row.try_get(4)?,
        track_counts: row.try_get(5)?,
    })
}

/// Tries what every request will do.
async fn role(client: &Client, database: &Database) -> Option<Finding> {
    let role = database.anon_role.as_ref()?;
    let switch = format!("set role {}", quoted(role));
    Some(match within(client.batch_execute(&switch)).await {
        Ok(()) => {
            // Privileges are asked about by name below; only the switch itself is tried here.
            drop(within(client.batch_execute("reset role")).await);
            Finding::ok("db_anon_role", format!("may become {role}"))
        }
        Err(why) => {
            let fix = format!("grant {} to the role of database_url, or correct db_anon_role", quoted(role));
            Finding::fail("db_anon_role", format!("may not become {role}: {why}"), fix)
        }
    })
}

async fn schema_of(client: &Client, database: &Database, schema: &String) -> Finding {
    let role = database.anon_role.as_deref();
    match within(readable(client, role, schema)).await {
        Ok(Some(Readable { usage: true, tables, all })) if tables > 0 => {
            Finding::ok("db_schemas", format!("{schema}: {tables} of {all} tables and views readable"))
        }
        Ok(Some(Readable { usage: true, all, .. })) => Finding::warn(
            "db_schemas",
            format!("{schema}: none of {all} tables and views readable"),
            format!("grant select on all tables in schema {} to {}", quoted(schema), shown_role(role)),
        ),
        Ok(Some(_)) => Finding::fail(
            "db_schemas",
            format!("{schema}: no usage"),
            format!("grant usage on schema {} to {}", quoted(schema), shown_role(role)),
        ),
        Ok(None) => Finding::fail("db_schemas", format!("{schema} does not exist"), "create it or correct db_schemas"),
        Err(why) => Finding::fail("db_schemas", format!("{schema}: {why}"), "check that db_anon_role exists"),
    }
}

fn shown_role(role: Option<&str>) -> String {
    role.map_or_else(|| "the role of database_url".to_owned(), quoted)
}

struct Readable {
    usage: bool,
    tables: i64,
    all: i64,
}

async fn readable(
    client: &Client,
    role: Option<&str>,
    schema: &String,
) -> Result<Option<Readable>, tokio_postgres::Error> {
    let sql = "select has_schema_privilege(r, n.oid, 'usage'), \
               count(c.oid) filter (where has_table_privilege(r, c.oid, 'select')), count(c.oid) \
               from (select coalesce($2::text, current_user::text)::name) as role(r), pg_namespace n \
               left join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'v', 'm', 'f', 'p') \
               where n.nspname = $1::text group by 1";
    let row = client.query_opt(sql, &[schema, &role]).await?;
    row.map(|row| Ok(Readable { usage: row.try_get(0)?, tables: row.try_get(1)?, all: row.try_get(2)? })).transpose()
}

async fn within<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Answer<T> {
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(said(&error)),
        Err(_) => Err(format!("no answer within {} seconds", TIMEOUT.as_secs())),
    }
}

/// The driver's own words are "db error"; what the server said is one level down.
fn said(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => db.message().to_owned(),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn server() -> Server {
        Server {
            version: "17.5".to_owned(),
            version_number: 170_005,
            user: "app".to_owned(),
            connections_max: 100,
            connections_reserved: 3,
            track_counts: true,
        }
    }

    fn levels(server: &Server, pool_max: u32) -> Vec<Level> {
        judge(server, pool_max).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_sound_server_has_nothing_to_fix() {
        assert_eq!(levels(&server(), 10), [Level::Ok, Level::Ok, Level::Ok]);
    }

    #[test]
    fn each_shortcoming_has_its_line() {
        let old = Server { version_number: 110_000, ..server() };
        assert_eq!(levels(&old, 10)[0], Level::Fail);
        assert_eq!(levels(&server(), 60)[1], Level::Warn);
        assert_eq!(levels(&server(), 98)[1], Level::Fail);
        let blind = Server { track_counts: false, ..server() };
        assert_eq!(levels(&blind, 10)[2], Level::Warn);
    }

    #[test]
    fn tables_that_are_behind_are_said() {
        let mut tokens =
            Tokens { keys: Vec::new(), audience: None, role_claim: ".role".parse().expect("a path"), user_claim: None };
        let level = |version, tokens: &Tokens| shared_state(version, tokens).level;
        let levels = |tokens: &Tokens| [0, 1, migrations::newest()].map(|version| level(version, tokens));
        assert_eq!(levels(&tokens), [Level::Info, Level::Warn, Level::Ok]);
        tokens.user_claim = ".sub".parse().ok();
        assert_eq!(levels(&tokens), [Level::Fail, Level::Fail, Level::Ok], "tokens need them");
    }

    #[test]
    fn identifiers_cannot_break_out() {
        assert_eq!(quoted("a\"; drop table b; --"), "\"a\"\"; drop table b; --\"");
    }
}
