//! All suites, in one binary: the servers they share start once.

mod harness;
mod simulation;
