//! Nearness: who or what is near a point, over all nodes. An index of members by where they are, in a sorted set that Redis keeps
//! by geohash: distances are those on a sphere, off by half a percent at most, and positions by less than a meter.

mod area;

use std::time::Duration;

use bytes::Bytes;
use fred::types::{Value, scripts::Script};

pub use self::area::{Area, InvalidPlace, LATITUDE_MAX, LONGITUDE_MAX, Middle, Point, REACH_MAX, Unit};
use super::{Keyspace, Name, keyspace::millis};
use crate::error::RedisError;

/// Members that are put or removed at once.
pub const MEMBERS_MAX: usize = 1_000;
/// Members that a search finds at most.
pub const FOUND_MAX: u32 = 1_000;
/// Longest name of a member, which may be any text.
pub const MEMBER_BYTES_MAX: usize = 256;

/// A member that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// who
    pub member: String,
    /// how far away, in the unit that was asked for
    pub distance: f64,
    /// where
    pub point: Point,
}

/// What putting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// so many were not in the index before
    pub added: u64,
    /// so many were elsewhere before
    pub moved: u64,
}

/// Why an index could not be used.
#[derive(Debug, thiserror::Error)]
pub enum NearnessError {
    /// more than [`MEMBERS_MAX`], or none
    #[error("{0} members, but there must be from 1 to {MEMBERS_MAX}")]
    Members(usize),
    /// the name of a member is empty, or longer than [`MEMBER_BYTES_MAX`]
    #[error("a member has a name of 1 to {MEMBER_BYTES_MAX} bytes")]
    Member,
    /// more than [`FOUND_MAX`], or none
    #[error("limit is {0}, but must be from 1 to {FOUND_MAX}")]
    Limit(u32),
    /// whoever is searched from is not in the index
    #[error("the member {0:?} is not in the index")]
    NoMember(String),
    /// Redis does not answer
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// The indexes of a namespace, under `transom:<namespace>:nearness:{<name>}`. Cheap to clone.
#[derive(Clone)]
pub struct Nearness {
    keys: Keyspace,
    put: Script,
    remove: Script,
    search: Script,
    distance: Script,
    count: Script,
}

impl Nearness {
    /// The indexes of this namespace.
    #[must_use]
    pub fn new(keys: Keyspace) -> Self {
        Self {
            keys,
            put: Script::from_lua(include_str!("nearness/put.lua")),
            remove: Script::from_lua("return redis.call('ZREM', KEYS[1], unpack(ARGV))"),
            search: Script::from_lua(include_str!("nearness/search.lua")),
            distance: Script::from_lua(include_str!("nearness/distance.lua")),
            count: Script::from_lua("return redis.call('ZCARD', KEYS[1])"),
        }
    }

    /// Adds members, or moves them. The index lives for `ttl` after this; without one, as long as before.
    ///
    /// # Errors
    /// If there are no members, or more than [`MEMBERS_MAX`], a name is none, or Redis does not answer: then they may have been
    /// put.
    pub async fn put(
        &self,
        name: &Name,
        members: &[(impl AsRef<str>, Point)],
        ttl: Option<Duration>,
    ) -> Result<Put, NearnessError> {
        bounded(members.len())?;
        let mut args = Vec::with_capacity(1 + 3 * members.len());
        args.push(millis(ttl));
        for (member, point) in members {
            args.extend([point.longitude().to_string().into(), point.latitude().to_string().into()]);
            args.push(named(member.as_ref())?);
        }
        let (added, moved) = self.keys.run(&self.put, self.key(name), args).await?;
        Ok(Put { added, moved })
    }

    /// Removes members; how many were there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn remove(&self, name: &Name, members: &[impl AsRef<str>]) -> Result<u64, NearnessError> {
        bounded(members.len())?;
        let args = members.iter().map(|member| named(member.as_ref())).collect::<Result<_, _>>()?;
        Ok(self.keys.run(&self.remove, self.key(name), args).await?)
    }

    /// The members within an area, the nearest first, `limit` at most.
    ///
    /// # Errors
    /// If it is searched from a member who is not there, the limit is none, or Redis does not answer.
    pub async fn search(
        &self,
        name: &Name,
        from: &Middle,
        area: Area,
        unit: Unit,
        limit: u32,
    ) -> Result<Vec<Found>, NearnessError> {
        let [width, height] = match area {
            Area::Circle { radius } => [radius.to_string(), String::new()],
            Area::Box { width, height } => [width.to_string(), height.to_string()],
        };
        if !(1..=FOUND_MAX).contains(&limit) {
            return Err(NearnessError::Limit(limit));
        }
        let mut args: Vec<Value> = vec![unit.as_str().into(), limit.into(), width.into(), height.into()];
        match from {
            Middle::Point(point) => {
                args.extend([point.longitude().to_string().into(), point.latitude().to_string().into()]);
            }
            Middle::Member(member) => args.push(named(member)?),
        }
        let (known, flat): (bool, Vec<String>) = self.keys.run(&self.search, self.key(name), args).await?;
        match from {
            Middle::Member(member) if !known => Err(NearnessError::NoMember(member.clone())),
            _ => Ok(flat.chunks_exact(4).map(found).collect::<Result<_, _>>()?),
        }
    }

    /// How far two members are from each other; `None` if one of them is not there.
    ///
    /// # Errors
    /// If a name is none, or Redis does not answer.
    pub async fn distance(
        &self,
        name: &Name,
        one: &str,
        other: &str,
        unit: Unit,
    ) -> Result<Option<f64>, NearnessError> {
        let args = vec![named(one)?, named(other)?, unit.as_str().into()];
        let distance: String = self.keys.run(&self.distance, self.key(name), args).await?;
        if distance.is_empty() { Ok(None) } else { Ok(Some(number(&distance)?)) }
    }

    /// How many members there are.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn count(&self, name: &Name) -> Result<u64, NearnessError> {
        Ok(self.keys.run(&self.count, self.key(name), Vec::new()).await?)
    }

    /// Deletes an index; whether there was one.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn delete(&self, name: &Name) -> Result<bool, NearnessError> {
        Ok(self.keys.delete(self.key(name).swap_remove(0)).await?)
    }

    fn key(&self, name: &Name) -> Vec<String> {
        vec![self.keys.key("nearness", name.as_str())]
    }
}

fn bounded(members: usize) -> Result<(), NearnessError> {
    if (1..=MEMBERS_MAX).contains(&members) { Ok(()) } else { Err(NearnessError::Members(members)) }
}

fn named(member: &str) -> Result<Value, NearnessError> {
    if (1..=MEMBER_BYTES_MAX).contains(&member.len()) {
        return Ok(Value::Bytes(Bytes::copy_from_slice(member.as_bytes())));
    }
    Err(NearnessError::Member)
}

/// As `search.lua` writes it.
fn found(texts: &[String]) -> Result<Found, RedisError> {
    let [member, distance, longitude, latitude] = texts else {
        return Err(RedisError::Protocol("a member that was found has four parts".to_owned()));
    };
    let point = Point::new(number(longitude)?, number(latitude)?);
    let point = point.map_err(|_| RedisError::Protocol(format!("the place {longitude}, {latitude}")))?;
    Ok(Found { member: member.clone(), distance: number(distance)?, point })
}

fn number(text: &str) -> Result<f64, RedisError> {
    text.parse().map_err(|_| RedisError::Protocol(format!("the number {text:?}")))
}
