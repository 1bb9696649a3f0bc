//! Cardinality over HTTP: how many different things there were.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::state::{
    Keyspace, Name,
    cardinality::{Cardinality, CardinalityError},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::said::{away, invalid, items, lifetime, named, read};
use crate::{
    error::{Error, StateRefusal},
    telemetry::{Metrics, StructureOperation},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    items: Vec<String>,
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    with: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    from: Vec<String>,
    ttl_ms: Option<u64>,
}

/// Answers requests for counters.
pub(super) struct CardinalityDesk {
    counters: Option<Cardinality>,
    metrics: Arc<Metrics>,
}

impl CardinalityDesk {
    pub(super) fn new(keys: Option<Keyspace>, metrics: Arc<Metrics>) -> Self {
        Self { counters: keys.map(Cardinality::new), metrics }
    }

    /// Does what is asked of this counter.
    pub(super) async fn operate(
        &self,
        operation: StructureOperation,
        name: &Name,
        body: &Bytes,
    ) -> Result<Value, Error> {
        let answer = match operation {
            StructureOperation::CardinalityAdd => self.add(name, body).await,
            StructureOperation::CardinalityMerge => self.merge(name, body).await,
            StructureOperation::CardinalityDelete => self.delete(name).await,
            _ if body.is_empty() => self.count(name, Vec::new()).await,
            _ => self.count_with(name, body).await,
        };
        self.metrics.state().structure(operation, &answer);
        answer
    }

    async fn add(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Add { items: listed, ttl_ms } = read(body)?;
        let changed = self.counters()?.add(name, items(&listed)?, lifetime(ttl_ms)?).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "changed": changed }))
    }

    async fn count_with(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Count { with } = read(body)?;
        self.count(name, named(&with)?).await
    }

    async fn count(&self, name: &Name, with: Vec<Name>) -> Result<Value, Error> {
        let names: Vec<Name> = std::iter::once(name.clone()).chain(with).collect();
        let count = self.counters()?.count(&names).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "count": count }))
    }

    async fn merge(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Merge { from, ttl_ms } = read(body)?;
        let count = self.counters()?.merge(name, &named(&from)?, lifetime(ttl_ms)?).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "count": count }))
    }

    async fn delete(&self, name: &Name) -> Result<Value, Error> {
        let deleted = self.counters()?.delete(name).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "deleted": deleted }))
    }

    fn counters(&self) -> Result<&Cardinality, Error> {
        self.counters.as_ref().ok_or_else(|| StateRefusal::NoRedis.into())
    }
}

fn refused(error: CardinalityError) -> Error {
    match error {
        CardinalityError::Redis(error) => away(error),
        CardinalityError::Items(_) | CardinalityError::Counters(_) => invalid(error.to_string()),
    }
}
