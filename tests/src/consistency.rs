//! The consistency checker: nodes, servers, writers, readers and faults, and a judge of every single read.
//!
//! ```text
//! writers ── SQL ────────────> Postgres <── cable ── nodes <── readers
//!    └──── through a node ─────────────────────────────┘          │
//! history of every key  <── sent, answered ── judge <── answers ──┘
//! ```
//!
//! `docs/consistency.md` tells what is judged and how to run it: `cargo run --release -p transom-tests --example
//! consistency -- --help`.

pub mod history;
pub mod question;
pub mod judge;
pub mod schema;
pub mod client;
pub mod tally;
pub mod load;
mod writer;
mod reader;
pub mod cable;
pub mod stage;
pub mod fault;
pub mod schedule;
pub mod options;
pub mod report;
mod run;

pub use self::options::Options;
pub use self::run::run;
