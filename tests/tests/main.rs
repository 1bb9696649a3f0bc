//! All suites, in one binary: the servers they share start once.

mod harness;

mod deploy;
mod grafana;
mod haproxy;

mod main_job;
mod faults;
mod feed;
mod operations;
mod admin;
mod commands;
mod readme;
