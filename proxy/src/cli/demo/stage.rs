//! What the demo runs on: Postgres in this process, Redis beside it if there is one.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::super::failure::Failure;
use super::super::{serve, setup};
use super::hints;
use super::redis::PrivateRedis;
use crate::config::Inputs;
use crate::embedded::Embedded;
use crate::feed::Kind;

/// Tasks of the node that have not ended by then are dropped, which closes their connections.
const TASKS_END_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn run(mut inputs: Inputs) -> Result<(), Failure> {
    println!("Starting PostgreSQL 17 in this process and loading a week of flights ...");
    let Some(embedded) = start_unless_interrupted()? else {
        return Ok(());
    };
    let redis = PrivateRedis::start();
    println!("{}", describe(redis.as_ref()));
    inputs.command = [
        ("database_url", embedded.url()),
        ("db_anon_role", Embedded::ANON_ROLE.to_owned()),
        // They take turns on one connection: one for requests, and one so that the auditor is not left without.
        ("db_pool_max", "2".to_owned()),
        // Its log cannot be decoded.
        ("feed", Kind::Trigger.as_str().to_owned()),
    ]
    .into_iter()
    .chain(redis.as_ref().map(|redis| ("redis_url", redis.url())))
    .collect();
    // Somebody's real Redis has no business in the demo.
    for variable in crate::config::setting("redis_url").into_iter().flat_map(|setting| setting.variables()) {
        inputs.environment.remove(&variable);
    }
    let config = serve::load(&inputs)?;
    let runtime = serve::runtime(config.workers)?;
    let outcome = runtime.block_on(async {
        setup::install_triggers(&config).await?;
        let hints = tokio::spawn(hints::print_when_ready(config.listeners.clone(), embedded.url()));
        let outcome = serve::run_node(config).await;
        hints.abort();
        outcome
    });
    // Before `embedded` goes, so that no session is cut off in the middle of something.
    runtime.shutdown_timeout(TASKS_END_WITHIN);
    outcome
}

/// `None` if somebody ends the demo while Postgres starts. Without this the signal would end the process at once and
/// leave 25 MB of temporary files behind.
fn start_unless_interrupted() -> Result<Option<Embedded>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime("cannot start", error))?;
    runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|error| Failure::runtime("cannot hear signals", error))?;
        // Goes on after an interruption; the runtime waits for it at the end of this function and drops what it made.
        let start = tokio::task::spawn_blocking(Embedded::start);
        tokio::select! {
            started = start => match started {
                Ok(Ok(embedded)) => Ok(Some(embedded)),
                Ok(Err(error)) => Err(Failure::Runtime(error.to_string())),
                Err(panic) => Err(Failure::runtime("the embedded Postgres does not start", panic)),
            },
            _ = tokio::signal::ctrl_c() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    })
}

fn describe(redis: Option<&PrivateRedis>) -> &'static str {
    match redis {
        Some(_) => "Started a private redis-server as L2.",
        None => "No redis-server came up (is there one on the PATH?), so this demo has L1 only.",
    }
}
