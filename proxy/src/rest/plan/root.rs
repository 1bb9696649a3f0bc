//! The root: a description of the API, or what a function of the database says in its place.

use std::sync::Arc;

use super::super::answer::{Content, ReadShape};
use super::super::footprint::Footprint;
use super::super::openapi::{self, Description};
use super::super::request::{Body, Request, RootRequest, encode};
use super::super::schema::{Dependencies, Opaque, SchemaCache, TableId};
use super::super::{Error, Inbound, Settings};
use super::{Plan, ReadPlan, call};
use crate::config::Described;

/// Whether the request is for the root.
pub(super) fn is_root(inbound: &Inbound<'_>) -> bool {
    inbound.path.trim_start_matches('/').is_empty()
}

/// Plans a request for the root.
pub(super) fn plan_root(inbound: &Inbound<'_>, schema: &SchemaCache, settings: &Settings) -> Result<Plan, Error> {
    if let Some((function, in_schema)) = settings.openapi.root_function.split_last() {
        return plan_function(inbound, function, in_schema.first(), schema, settings);
    }
    let request = RootRequest::read(inbound, settings)?;
    if settings.openapi.described == Described::Nothing {
        return Err(Error::NotDescribed);
    }
    let description = Description::new(schema, &request.schema, &settings.openapi, &settings.base_path);
    let shape = ReadShape {
        format: request.format,
        body: request.body,
        content: match request.body {
            Body::Sent => Content::Description(Arc::new(description)),
            Body::Omitted => Content::Undescribed,
        },
        offset: 0,
        profile: request.profile,
        applied: String::new(),
    };
    Ok(Plan::Read(ReadPlan {
        statement: openapi::statement(&request.schema, settings.openapi.described),
        shape: Arc::new(shape),
        estimate: None,
        zone: None,
        // Privileges and comments change without an announcement.
        reads: Dependencies::opaque(Opaque::SystemCatalog),
        footprint: Footprint::default(),
        target: TableId { schema: request.schema.into(), name: "".into() },
        location: String::new(),
    }))
}

fn plan_function(
    inbound: &Inbound<'_>,
    function: &str,
    in_schema: Option<&String>,
    schema: &SchemaCache,
    settings: &Settings,
) -> Result<Plan, Error> {
    let path = format!("rpc/{}", encode(function));
    let mut request = Request::read(&Inbound { path: &path, ..*inbound }, settings)?;
    if let Some(in_schema) = in_schema {
        request.schema.clone_from(in_schema);
    }
    match &request.action {
        super::Action::Call(called) => call::plan_call(&request, called, schema, settings),
        _ => Err(Error::InvalidPath),
    }
}
