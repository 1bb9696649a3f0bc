//! The `transom` proxy as a library, so that tests can run nodes in process.
//!
//! The order of the `mod` lines is reading order and dependency order: a module uses only modules named below it.

pub mod cli;
pub mod app;
mod reload;
pub mod stored_settings;
mod listener;
mod admin;
mod front;
mod stack;
mod layers;
mod readiness;
mod route;
pub mod state;
mod rates;
pub mod serve;
mod admission;
mod distinct;
mod digits;
pub mod feed;
pub mod key;
pub mod auth;
pub mod reply;
pub mod origin;
pub mod rest;
pub mod config;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod telemetry;
pub mod error;
