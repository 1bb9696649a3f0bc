//! All suites, in one binary: the servers they share start once.

mod harness;
mod simulation;
#[cfg(test)]
mod backplane;

mod deploy;
mod grafana;
mod haproxy;

mod main_job;
mod rest_api;
mod headers;
mod directives;
mod limits;
mod malformed;
mod writes;
mod views;
mod tokens;
mod faults;
mod feed;
mod precision;
mod vouching;
mod operations;
mod admin;
mod commands;
mod readme;
