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
mod api;
mod headers;
mod lanes;
mod directives;
mod limits;
mod pool;
mod malformed;
mod writes;
mod views;
mod computed;
mod schema;
mod oracle;
mod clients;
mod tokens;
mod faults;
mod echoes;
mod fill_lease;
mod absent;
mod audit;
mod encryption;
mod state;
mod feed;
mod precision;
mod consistency;
mod vouching;
mod operations;
mod admin;
mod commands;
mod readme;
