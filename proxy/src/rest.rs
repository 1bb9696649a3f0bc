//! The PostgREST API: request grammar -> schema -> plan -> SQL -> answer. Pure, except for loading the schema.

mod schema;
mod grammar;
mod ast;
mod error;

pub use error::{Caller, Error, problem_of_db_error};
pub use schema::{
    CHANGED_TABLES_SQL, Changes, Column, Dependencies, Fill, ForeignKey, Opaque, Relation, RelationKind, SchemaCache,
    TableId, TypeFamily, load_schema,
};
