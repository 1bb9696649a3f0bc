//! The `transom` proxy as a library, so that tests can run nodes in process.
//!
//! The order of the `mod` lines is reading order and dependency order: a module uses only modules named below it.

pub mod cli;
pub mod config;
pub mod rest;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod telemetry;
pub mod error;
