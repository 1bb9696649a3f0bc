//! Nearness over HTTP: who or what is near.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::state::{
    Keyspace, Name,
    nearness::{Area, Found, InvalidPlace, Middle, Nearness, NearnessError, Point, Put, Unit},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::said::{away, invalid, lifetime, read};
use crate::{
    error::{Error, StateRefusal},
    telemetry::{Metrics, StructureOperation},
};

/// Members that a search finds if it does not say how many.
const LIMIT: u32 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    members: Vec<Located>,
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Located {
    member: String,
    longitude: f64,
    latitude: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removed {
    members: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Near {
    longitude: Option<f64>,
    latitude: Option<f64>,
    member: Option<String>,
    radius: f64,
    #[serde(default)]
    unit: UnitName,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Within {
    longitude: Option<f64>,
    latitude: Option<f64>,
    member: Option<String>,
    width: f64,
    height: f64,
    #[serde(default)]
    unit: UnitName,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Distance {
    from: String,
    to: String,
    #[serde(default)]
    unit: UnitName,
}

/// The words of `unit`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnitName {
    #[default]
    M,
    Km,
    Mi,
    Ft,
}

impl UnitName {
    fn unit(self) -> Unit {
        match self {
            Self::M => Unit::Meters,
            Self::Km => Unit::Kilometers,
            Self::Mi => Unit::Miles,
            Self::Ft => Unit::Feet,
        }
    }
}

/// Answers requests for indexes of places.
pub(super) struct NearnessDesk {
    indexes: Option<Nearness>,
    metrics: Arc<Metrics>,
}

impl NearnessDesk {
    pub(super) fn new(keys: Option<Keyspace>, metrics: Arc<Metrics>) -> Self {
        Self { indexes: keys.map(Nearness::new), metrics }
    }

    /// Does what is asked of this index.
    pub(super) async fn operate(
        &self,
        operation: StructureOperation,
        name: &Name,
        body: &Bytes,
    ) -> Result<Value, Error> {
        let answer = match operation {
            StructureOperation::NearnessPut => self.put(name, body).await,
            StructureOperation::NearnessRemove => self.remove(name, body).await,
            StructureOperation::NearnessNear => self.near(name, body).await,
            StructureOperation::NearnessWithin => self.within(name, body).await,
            StructureOperation::NearnessDistance => self.distance(name, body).await,
            StructureOperation::NearnessDelete => self.delete(name).await,
            _ => self.count(name).await,
        };
        self.metrics.state().structure(operation, &answer);
        answer
    }

    async fn put(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Members { members, ttl_ms } = read(body)?;
        let placed = members.into_iter().map(|Located { member, longitude, latitude }| {
            let point = Point::new(longitude, latitude);
            point.map(|point| (member.clone(), point)).map_err(|error| invalid(format!("{error}: {member:?}")))
        });
        let placed: Vec<(String, Point)> = placed.collect::<Result<_, _>>()?;
        let Put { added, moved } = self.indexes()?.put(name, &placed, lifetime(ttl_ms)?).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "added": added, "moved": moved }))
    }

    async fn remove(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Removed { members } = read(body)?;
        let removed = self.indexes()?.remove(name, &members).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "removed": removed }))
    }

    async fn near(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Near { longitude, latitude, member, radius, unit, limit } = read(body)?;
        let area = Area::circle(radius, unit.unit()).map_err(no_place)?;
        self.search(name, &middle(member, longitude, latitude)?, area, unit, limit).await
    }

    async fn within(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Within { longitude, latitude, member, width, height, unit, limit } = read(body)?;
        let area = Area::rectangle(width, height, unit.unit()).map_err(no_place)?;
        self.search(name, &middle(member, longitude, latitude)?, area, unit, limit).await
    }

    async fn search(
        &self,
        name: &Name,
        middle: &Middle,
        area: Area,
        unit: UnitName,
        limit: Option<u32>,
    ) -> Result<Value, Error> {
        let limit = limit.unwrap_or(LIMIT);
        let members = self.indexes()?.search(name, middle, area, unit.unit(), limit).await.map_err(refused)?;
        let members = members.into_iter().map(|Found { member, distance, point }| {
            let (longitude, latitude) = (point.longitude(), point.latitude());
            json!({ "member": member, "distance": distance, "longitude": longitude, "latitude": latitude })
        });
        Ok(json!({ "name": name.as_str(), "unit": unit.unit().as_str(), "members": members.collect::<Vec<_>>() }))
    }

    async fn distance(&self, name: &Name, body: &Bytes) -> Result<Value, Error> {
        let Distance { from, to, unit } = read(body)?;
        let distance = self.indexes()?.distance(name, &from, &to, unit.unit()).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "unit": unit.unit().as_str(), "distance": distance }))
    }

    async fn count(&self, name: &Name) -> Result<Value, Error> {
        let members = self.indexes()?.count(name).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "members": members }))
    }

    async fn delete(&self, name: &Name) -> Result<Value, Error> {
        let deleted = self.indexes()?.delete(name).await.map_err(refused)?;
        Ok(json!({ "name": name.as_str(), "deleted": deleted }))
    }

    fn indexes(&self) -> Result<&Nearness, Error> {
        self.indexes.as_ref().ok_or_else(|| StateRefusal::NoRedis.into())
    }
}

/// Where a search begins: at a member, or at a point.
fn middle(member: Option<String>, longitude: Option<f64>, latitude: Option<f64>) -> Result<Middle, Error> {
    match (member, longitude, latitude) {
        (Some(member), None, None) => Ok(Middle::Member(member)),
        (None, Some(longitude), Some(latitude)) => Point::new(longitude, latitude).map(Middle::Point).map_err(no_place),
        _ => Err(invalid("either member, or longitude and latitude are expected")),
    }
}

fn no_place(error: InvalidPlace) -> Error {
    invalid(error.to_string())
}

fn refused(error: NearnessError) -> Error {
    match error {
        NearnessError::Redis(error) => away(error),
        NearnessError::NoMember(_) => StateRefusal::NotThere { details: error.to_string() }.into(),
        NearnessError::Members(_) | NearnessError::Member | NearnessError::Limit(_) => invalid(error.to_string()),
    }
}
