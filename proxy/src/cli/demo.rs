//! `transom demo`: the whole thing without any server to install.

#[cfg(feature = "embedded")]
mod stage;
#[cfg(feature = "embedded")]
mod redis;
#[cfg(feature = "embedded")]
mod hints;

use super::failure::Failure;
use crate::config::Inputs;

/// Puts up the servers, runs a node on them, and takes them down again.
#[cfg(feature = "embedded")]
pub(super) fn run(inputs: Inputs) -> Result<(), Failure> {
    stage::run(inputs)
}

/// The normal build has no Postgres in it, so that nobody carries it into production.
#[cfg(not(feature = "embedded"))]
pub(super) fn run(_: Inputs) -> Result<(), Failure> {
    let how = "build it in with `cargo run --release --features embedded -- demo`";
    Err(Failure::Usage(format!("this build has no embedded Postgres; {how}")))
}
