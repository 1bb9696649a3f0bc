//! From plan to SQL: one statement, one row, the body built by PostgreSQL.
//!
//! The forms are those that PostgREST 12 sends, so that PostgreSQL's own complaints read the same.

mod write;
mod call;
mod read;
mod end;
mod body;
mod query;
mod list;
mod condition;
mod source;
mod keys;

pub(super) use body::Outcome;
pub(super) use call::{CallParts, Given, call_statement};
pub(super) use end::End;
pub use keys::keys_statement;
pub(super) use read::{Counted, estimate_statement, read_statement};
pub(super) use write::{Affected, Conflict, Mutation, WriteParts, write_statement};
