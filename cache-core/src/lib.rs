//! A two-tier cache that is coherent across nodes within a stated bound.
#![warn(missing_docs)]

pub mod outcome;
