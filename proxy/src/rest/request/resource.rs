//! A request that is about a resource and nothing in it: `OPTIONS`.

use super::target::{self, Kind, Method};
use crate::rest::{Error, Inbound, Settings};

/// Which resource is meant.
#[derive(Debug)]
pub(in crate::rest) struct ResourceRequest {
    pub(in crate::rest) schema: String,
    /// empty at the root
    pub(in crate::rest) table: String,
    pub(in crate::rest) function: Option<String>,
}

impl ResourceRequest {
    pub(in crate::rest) fn read(inbound: &Inbound<'_>, settings: &Settings) -> Result<Self, Error> {
        let (schema, _) = target::schema(Method::Get, inbound.headers, &settings.schemas)?;
        if inbound.path.trim_start_matches('/').is_empty() {
            return Ok(Self { schema, table: String::new(), function: None });
        }
        Ok(match target::named(inbound.path)? {
            (Kind::Table, table) => Self { schema, table, function: None },
            (Kind::Function, name) => Self { schema, table: String::new(), function: Some(name) },
        })
    }
}
