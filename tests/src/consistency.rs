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

mod run;
pub mod report;
pub mod options;
pub mod schedule;
pub mod gremlin;
pub mod fault;
pub mod stage;
pub mod cable;
pub mod clients;
pub mod load;
pub mod tally;
pub mod schema;
pub mod judge;
pub mod question;
pub mod history;

pub use self::options::Options;
pub use self::run::run;
