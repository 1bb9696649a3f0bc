//! `transom setup`: makes what the change feed needs in the database, or prints how.

use clap::ArgMatches;
use tokio_postgres::{Client, NoTls, error::SqlState};

use super::failure::Failure;
use super::serve;
use crate::config::{Config, Inputs};
use crate::feed::ddl::{self, Trigger};
use crate::feed::setup::{self, Identity, Plan};
use crate::feed::{self, ability};
use crate::origin::describe;
use crate::rest;

pub(super) fn run(matches: &ArgMatches, inputs: &Inputs) -> Result<(), Failure> {
    let config = Config::load(inputs)?.config;
    let identity = if matches.get_flag("replica-identity-full") { Identity::Full } else { Identity::AsIs };
    let dry = matches.get_flag("dry-run");
    serve::runtime(1)?.block_on(async {
        let client = connect(&config).await.map_err(|error| refused("cannot connect", &error))?;
        let plan = plan(&client, &config, identity).await?;
        for left_out in &plan.left_out {
            println!("-- left out: {}: {}", left_out.table, left_out.why);
        }
        for statement in &plan.statements {
            println!("{statement};");
            if !dry {
                client.batch_execute(statement).await.map_err(|error| refused(statement, &error))?;
            }
        }
        let noticing = notice_definitions(&client, &config, dry).await?;
        if plan.statements.is_empty() && noticing == Trigger::Present {
            println!("-- nothing to do");
        }
        Ok(())
    })
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

async fn plan(client: &Client, config: &Config, identity: Identity) -> Result<Plan, Failure> {
    let asked = "the database cannot be read";
    if let Some(unable) = ability(client).await.map_err(|error| refused(asked, &error))? {
        return Err(Failure::Runtime(unable.to_string()));
    }
    let schemas = &config.database.schemas;
    let schema = rest::load_schema(client, schemas).await.map_err(|error| refused(asked, &error))?;
    // Without Redis every node makes a slot of its own, which ends with it.
    let slot = config.redis.as_ref().and_then(|_| feed::slot_name(config));
    let needed = setup::needed(&schema);
    setup::plan(client, &needed, identity, slot.as_deref()).await.map_err(|error| refused(asked, &error))
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.database.connection.connect(NoTls).await?;
    // Ends with the client; its errors reach whoever waits for an answer.
    tokio::spawn(connection);
    Ok(client)
}

fn refused(what: &str, error: &tokio_postgres::Error) -> Failure {
    Failure::runtime(what, describe(error))
}
