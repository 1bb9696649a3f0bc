//! The PostgREST API: request grammar -> schema -> plan -> SQL -> answer. Pure, except for loading the schema.
//!
//! [`plan()`] reads a request and looks its names up in a [`SchemaCache`]; the [`Plan`] holds one [`Statement`] whose text
//! depends only on the shape of the request, every value a bound parameter; PostgreSQL builds the body and returns one
//! row; [`ReadShape::answer`] or [`WriteShape::answer`] makes status and headers of it. PostgREST 12.0.2 is the reference
//! throughout.

mod plan;
mod answer;
mod openapi;
mod sql;
mod footprint;
mod tree;
mod statement;
mod request;
mod grammar;
mod ast;
mod error;
mod relation_hint;
mod schema;

pub use answer::{Answer, Headers, ReadShape, Rendered, RowsShape, Said, WriteShape};
pub use error::{Caller, Error, Refusal, problem_of_refusal};
pub use footprint::{Facet, Footprint, Grain, Page, RowSet, bucket};
pub use plan::{Estimate, Plan, ReadPlan, WritePlan, plan};
pub use relation_hint::Candidate;
pub use schema::{
    CHANGED_TABLES_SQL, Changes, ClaimsRead, Column, Dependencies, Equality, Fill, Logged, Opaque, Relation,
    RelationKind, RowSecurity, SchemaCache, TableId, Traced, TypeFamily, load_schema,
};
pub use sql::keys_statement;
pub use statement::{Statement, TextParam, Yields};

use crate::config::{Api, OpenApi};

/// A request as it came in, below the path where the API is mounted.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    pub method: &'a http::Method,
    /// not yet percent-decoded: `flights`
    pub path: &'a str,
    /// not yet percent-decoded, without the question mark
    pub query: Option<&'a str>,
    pub headers: &'a http::HeaderMap,
    pub body: &'a bytes::Bytes,
}

/// The settings that planning depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `db_schemas`: the exposed schemas, the first of which is the default
    pub schemas: Vec<String>,
    /// `db_max_rows`: bounds the rows of every read
    pub max_rows: Option<u64>,
    /// what requests may ask for beyond the rows
    pub api: Api,
    /// what is said of the API at its root
    pub openapi: OpenApi,
    /// the path of that root
    pub base_path: String,
}
