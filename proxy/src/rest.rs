//! The PostgREST API: request grammar -> schema -> plan -> SQL -> answer. Pure, except for loading the schema.

mod grammar;
mod ast;
mod error;

pub use error::{Caller, Error, problem_of_db_error};
