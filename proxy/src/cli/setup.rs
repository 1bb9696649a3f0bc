//! `transom setup`: makes what the change feed, or shared state, needs in the database, or prints how, or takes it away.

use clap::ArgMatches;
use tokio_postgres::{Client, error::SqlState};

use super::failure::Failure;
use super::serve;
use crate::config::{self, Config, Inputs};
use crate::feed::ddl::{self, Trigger};
use crate::feed::setup::{self, Identity, Plan};
use crate::feed::{self, Kind, ability, trigger};
use crate::origin::{self, describe};
use crate::rest::{self, TableId};
use crate::state::migrations::{self, Direction};
use crate::stored_settings;

/// A statement that waits for a lock has everybody else wait behind it: better to try again at a quieter time.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '5s'";

/// The feed's objects go with their schema, which would take with it what services keep there.
const STATE_STAYS: &str = "the schema transom also holds shared state, which would be lost; if it may be, run \
    `transom setup --state --remove` first";

pub(super) fn run(matches: &ArgMatches, inputs: &Inputs) -> Result<(), Failure> {
    let config = Config::load(inputs)?.config;
    serve::runtime(1)?.block_on(async {
        let stored = stored_settings::complete(config).await;
        let config = stored.map_err(|error| Failure::Runtime(error.to_string()))?.config;
        let client = connect(&config).await.map_err(|error| refused("cannot connect", &error))?;
        let dry = matches.get_flag("dry-run");
        let version = migrations::version(&client).await.map_err(|error| unreadable(&error))?;
        if matches.get_flag("state") {
            return migrate(&client, version, matches).await;
        }
        if matches.get_flag("remove") {
            if version > 0 {
                return Err(Failure::Runtime(STATE_STAYS.to_owned()));
            }
            let slot = feed::slot_name(&config);
            let plan = setup::removal(&client, slot.as_deref()).await.map_err(|error| unreadable(&error))?;
            execute(&client, &plan, dry).await?;
            say_if_nothing(&plan, Trigger::Present);
            return Ok(());
        }
        let plan = plan(&client, &config, matches).await?;
        execute(&client, &plan, dry).await?;
        let noticing = notice_definitions(&client, &config, dry).await?;
        say_if_nothing(&plan, noticing);
        Ok(())
    })
}

/// Makes the tables of shared state, or takes them away.
async fn migrate(client: &Client, version: i32, matches: &ArgMatches) -> Result<(), Failure> {
    let removes = matches.get_flag("remove");
    let direction = if removes { Direction::Down } else { Direction::Up };
    let mut scripts = migrations::scripts(version, direction);
    let role = matches.get_one::<String>("grant-to").filter(|_| !removes);
    scripts.extend(role.into_iter().flat_map(|role| migrations::grants(role)));
    let plan = Plan { statements: scripts, ..Plan::default() };
    execute(client, &plan, matches.get_flag("dry-run")).await?;
    say_if_nothing(&plan, Trigger::Present);
    Ok(())
}

/// Makes tables record their changes, and definitions be noticed, without a word: for a database that is the caller's own.
///
/// # Errors
/// If that database cannot do it.
#[cfg(feature = "embedded")]
pub(super) async fn install_triggers(config: &Config) -> Result<(), Failure> {
    let client = connect(config).await.map_err(|error| refused("cannot connect", &error))?;
    let needed = needed(&client, config).await?;
    let Plan { statements, .. } =
        trigger::setup::plan(&client, &needed, None).await.map_err(|error| unreadable(&error))?;
    let noticing = ddl::statements(config.database.channel.as_deref());
    for statement in statements.iter().chain(&noticing) {
        client.batch_execute(statement).await.map_err(|error| refused(statement, &error))?;
    }
    Ok(())
}

fn say_if_nothing(plan: &Plan, noticing: Trigger) {
    if plan.statements.is_empty() && noticing == Trigger::Present {
        println!("-- nothing to do");
    }
}

/// Makes the event trigger. Most servers let only superusers do so, and the rest does not depend on it. Says what was there.
async fn notice_definitions(client: &Client, config: &Config, dry: bool) -> Result<Trigger, Failure> {
    let channel = config.database.channel.as_deref();
    let there =
        ddl::look(client, channel).await.map_err(|error| refused("the event trigger cannot be looked up", &error))?;
    if there == Trigger::Present {
        return Ok(there);
    }
    let script = ddl::statements(channel).iter().map(|sql| format!("{sql};\n")).collect::<String>();
    if !dry && let Err(error) = client.batch_execute(&script).await {
        if error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return Err(refused("the event trigger cannot be made", &error));
        }
        println!("-- left out: changes of definition ({}); run this as a superuser:", describe(&error));
        println!("{}", commented(&script));
        return Ok(there);
    }
    print!("{script}");
    Ok(there)
}

fn commented(script: &str) -> String {
    script.lines().map(|line| format!("--   {line}")).collect::<Vec<_>>().join("\n")
}

async fn execute(client: &Client, plan: &Plan, dry: bool) -> Result<(), Failure> {
    for left_out in &plan.left_out {
        println!("-- left out: {}: {}", left_out.table, left_out.why);
    }
    if !dry {
        client.batch_execute(LOCK_TIMEOUT).await.map_err(|error| refused(LOCK_TIMEOUT, &error))?;
    }
    for statement in &plan.statements {
        println!("{statement};");
        if !dry {
            client.batch_execute(statement).await.map_err(|error| refused(statement, &error))?;
        }
    }
    Ok(())
}

async fn plan(client: &Client, config: &Config, matches: &ArgMatches) -> Result<Plan, Failure> {
    let kind = kind(client, config).await?;
    let needed = needed(client, config).await?;
    let plan = match kind {
        Kind::Logical => {
            let identity = if matches.get_flag("replica-identity-full") { Identity::Full } else { Identity::AsIs };
            // Without Redis every node makes a slot of its own, which ends with it.
            let slot = config.redis.as_ref().and_then(|_| feed::slot_name(config));
            setup::plan(client, &needed, identity, slot.as_deref()).await
        }
        Kind::Trigger => {
            let reader = matches.get_one::<String>("grant-to");
            trigger::setup::plan(client, &needed, reader.map(String::as_str)).await
        }
    };
    plan.map_err(|error| unreadable(&error))
}

/// Every table that an answer of the served schemas may depend on.
async fn needed(client: &Client, config: &Config) -> Result<Vec<TableId>, Failure> {
    let schema = rest::load_schema(client, &config.database.schemas).await.map_err(|error| unreadable(&error))?;
    Ok(setup::needed(&schema))
}

/// The kind that is asked for; else by the log, if this role may.
async fn kind(client: &Client, config: &Config) -> Result<Kind, Failure> {
    if config.coherence.feed == config::Feed::Trigger {
        return Ok(Kind::Trigger);
    }
    match ability(client).await.map_err(|error| unreadable(&error))? {
        None => Ok(Kind::Logical),
        Some(unable) if config.coherence.feed == config::Feed::Logical => Err(Failure::Runtime(unable.to_string())),
        Some(unable) => {
            println!("-- by triggers, because {unable}");
            Ok(Kind::Trigger)
        }
    }
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    origin::client(&config.database.connection).await
}

fn unreadable(error: &tokio_postgres::Error) -> Failure {
    refused("the database cannot be read", error)
}

fn refused(what: &str, error: &tokio_postgres::Error) -> Failure {
    Failure::runtime(what, describe(error))
}
