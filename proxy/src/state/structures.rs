//! What Redis has structures of its own for: existence, cardinality, nearness. Which operation a request is for.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::state::Keyspace;
use http::{Method, request::Parts};
use serde_json::Value;

use super::{cardinality::CardinalityDesk, existence::ExistenceDesk, name_of, nearness::NearnessDesk};
use crate::{
    error::{Error, StateRefusal},
    telemetry::{Metrics, StructureOperation as Op},
};

/// Answers requests for structures.
pub(super) struct Structures {
    existence: ExistenceDesk,
    cardinality: CardinalityDesk,
    nearness: NearnessDesk,
}

const READ: [Method; 3] = [Method::GET, Method::HEAD, Method::DELETE];
const ALL: [Method; 4] = [Method::GET, Method::HEAD, Method::DELETE, Method::POST];
const POST: [Method; 1] = [Method::POST];

/// What is served: the structure, the segment after its name, the methods, and what each of them does.
type Path = (&'static str, &'static str, &'static [Method], &'static [Op]);

const PATHS: [Path; 12] = [
    ("existence", "", &ALL, &[Op::ExistenceLook, Op::ExistenceLook, Op::ExistenceDelete, Op::ExistenceReserve]),
    ("existence", "add", &POST, &[Op::ExistenceAdd]),
    ("existence", "check", &POST, &[Op::ExistenceCheck]),
    ("cardinality", "", &READ, &[Op::CardinalityCount, Op::CardinalityCount, Op::CardinalityDelete]),
    ("cardinality", "add", &POST, &[Op::CardinalityAdd]),
    ("cardinality", "count", &POST, &[Op::CardinalityCount]),
    ("cardinality", "merge", &POST, &[Op::CardinalityMerge]),
    ("nearness", "", &ALL, &[Op::NearnessLook, Op::NearnessLook, Op::NearnessDelete, Op::NearnessPut]),
    ("nearness", "remove", &POST, &[Op::NearnessRemove]),
    ("nearness", "near", &POST, &[Op::NearnessNear]),
    ("nearness", "within", &POST, &[Op::NearnessWithin]),
    ("nearness", "distance", &POST, &[Op::NearnessDistance]),
];

impl Structures {
    pub(super) fn new(keys: Option<&Keyspace>, metrics: &Arc<Metrics>) -> Self {
        Self {
            existence: ExistenceDesk::new(keys.cloned(), metrics.clone()),
            cardinality: CardinalityDesk::new(keys.cloned(), metrics.clone()),
            nearness: NearnessDesk::new(keys.cloned(), metrics.clone()),
        }
    }

    /// What is asked, by the path below `state_path`.
    pub(super) async fn answer(&self, segments: &[&str], parts: &Parts, body: &Bytes) -> Result<Value, Error> {
        let (kind, name, segment) = match *segments {
            [kind, name] => (kind, name, ""),
            [kind, name, segment] => (kind, name, segment),
            _ => return Err(StateRefusal::NoSuchOperation.into()),
        };
        let (operation, name) = (operation(kind, segment, &parts.method)?, name_of(name)?);
        match kind {
            "existence" => self.existence.operate(operation, &name, body).await,
            "cardinality" => self.cardinality.operate(operation, &name, body).await,
            _ => self.nearness.operate(operation, &name, body).await,
        }
    }
}

fn operation(kind: &str, segment: &str, method: &Method) -> Result<Op, Error> {
    let path = PATHS.iter().find(|path| (path.0, path.1) == (kind, segment));
    let (.., allowed, operations) = path.ok_or(StateRefusal::NoSuchOperation)?;
    let at = allowed.iter().position(|allowed| allowed == method).ok_or(StateRefusal::Method { allowed })?;
    Ok(operations[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_an_operation() {
        for (kind, segment, methods, operations) in PATHS {
            assert_eq!(methods.len(), operations.len(), "{kind} {segment}");
        }
    }
}
