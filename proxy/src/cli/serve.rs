//! `transom serve`: runs a node.

use super::failure::Failure;
use crate::app;
use crate::config::{Config, Inputs, Loaded};
use crate::telemetry::logs::{self, Format};

pub(super) fn run(inputs: &Inputs) -> Result<(), Failure> {
    let config = load(inputs)?;
    runtime(config.workers)?.block_on(run_node(config))
}

/// Reads the settings, starts the logs, and says what is odd about the settings.
pub(super) fn load(inputs: &Inputs) -> Result<Config, Failure> {
    let Loaded { config, warnings } = Config::load(inputs)?;
    logs::init(config.logs.level, config.logs.format);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

pub(super) fn runtime(workers: usize) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime("cannot start threads", error))
}

/// Runs a node until it is told to stop.
pub(super) async fn run_node(config: Config) -> Result<(), Failure> {
    let format = config.logs.format;
    app::run(config).await.map_err(|error| match format {
        Format::Text => Failure::Runtime(error.to_string()),
        // Whoever reads JSON reads nothing else, least of all the last words.
        Format::Json => {
            tracing::error!("{error}");
            Failure::Reported
        }
    })
}
