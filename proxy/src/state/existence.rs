//! Existence over HTTP: filters that know what is certainly absent.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::state::{
    Keyspace, Name,
    existence::{Existence, ExistenceError, Filter, Reserved, Shape},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::said::{as_millis, away, invalid, items, lifetime, read};
use crate::{
    error::{Error, StateRefusal},
    telemetry::{Metrics, StructureOperation},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reserve {
    capacity: u64,
    error_rate: f64,
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Items {
    items: Vec<String>,
}

/// Answers requests for filters.
pub(super) struct ExistenceDesk {
    filters: Option<Existence>,
    metrics: Arc<Metrics>,
}

impl ExistenceDesk {
    pub(super) fn new(keys: Option<Keyspace>, metrics: Arc<Metrics>) -> Self {
        Self { filters: keys.map(Existence::new), metrics }
    }

    /// Does what is asked of this filter.
    pub(super) async fn operate(
        &self,
        operation: StructureOperation,
        name: &Name,
        body: &Bytes,
    ) -> Result<Value, Error> {
        let answer = match operation {
            StructureOperation::ExistenceReserve => self.reserve(name, body).await,
            StructureOperation::ExistenceAdd => self.add(name, body).await,
            StructureOperation::ExistenceCheck => self.check(name, body).await,
            StructureOperation::ExistenceDelete => self.delete(name).await,
            _ => self.look(name).await,
        };
        self.metrics.state().structure(operation, &answer);
        answer
    }

    async fn reserve(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Reserve { capacity, error_rate, ttl_ms } = read(body)?;
        let shape = Shape::new(capacity, error_rate).map_err(|error| invalid(error.to_string()))?;
        let reserved = self.filters()?.reserve(name, shape, lifetime(ttl_ms)?).await.map_err(refused)?;
        let (filter, created) = match reserved {
            Reserved::Created(filter) => (filter, true),
            Reserved::Kept(filter) => (filter, false),
        };
        let mut answer = shown(name, &filter);
        answer["created"] = created.into();
        Ok(answer)
    }

    async fn look(&self, name: &Name) -> Result<Value, Error> {
        let filter = self.filters()?.look(name).await.map_err(refused)?;
        let mut answer = shown(name, &filter);
        answer["added"] = filter.added.into();
        answer["full"] = filter.is_full().into();
        answer["error_rate_now"] = filter.error_rate_now().into();
        Ok(answer)
    }

    async fn add(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Items { items: listed } = read(body)?;
        let added = self.filters()?.add(name, items(&listed)?).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "were_absent": added.were_absent, "full": added.is_full }))
    }

    async fn check(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Items { items: listed } = read(body)?;
        let absent = self.filters()?.absent(name, items(&listed)?).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "absent": absent }))
    }

    async fn delete(&self, name: &Name) -> Result<Value, Error> {
        let deleted = self.filters()?.delete(name).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "deleted": deleted }))
    }

    fn filters(&self) -> Result<&Existence, Error> {
        self.filters.as_ref().ok_or_else(|| StateRefusal::NoRedis.into())
    }
}

fn shown(name: &Name, Filter { shape, expires_in, .. }: &Filter) -> Value {
    let ttl = expires_in.map(as_millis);
    json!({
        "name": name.as_str(), "capacity": shape.capacity(), "error_rate": shape.error_rate(), "bytes": shape.bytes(),
        "ttl_ms": ttl,
    })
}

fn refused(error: ExistenceError) -> Error {
    match error {
        ExistenceError::Redis(error) => away(error),
        ExistenceError::NoFilter => StateRefusal::NotThere { details: error.to_string() }.into(),
        ExistenceError::Differs(_) => StateRefusal::Differs { details: error.to_string() }.into(),
        ExistenceError::TooManyItems(_) => invalid(error.to_string()),
    }
}
