//! A two-tier cache (moka in the process, Redis shared) that is coherent across nodes within a stated bound.
//!
//! Read [`cache`] first: it is the story. [`coherence`] is the heart, with no IO in it. The order of the `mod` lines is
//! reading order and dependency order: a module uses only modules named below it.
#![warn(missing_docs)]

pub mod cache;
pub mod state;
pub mod collapse;
mod lease;
pub mod backplane;
pub mod tier;
pub mod redis;
pub mod breaker;
pub mod codec;
pub mod freshness;
pub mod entry;
pub mod dependence;
pub mod template;
pub mod coherence;
pub mod seal;
pub mod limits;
pub mod key;
pub mod absence;
pub mod tag;
pub mod clock;
pub mod error;
pub mod outcome;
pub mod sabotage;
