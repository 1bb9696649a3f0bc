//! What stateless services must share, kept in the pillar and used as a library: no HTTP and no SQL in here.
//!
//! Every primitive is a small set of Lua scripts over keys below the namespace's prefix; the keys of one script have one
//! hash tag, so that Redis Cluster runs it. What needs a stricter promise than Redis gives has a trait, and whoever has a
//! Postgres brings an implementation.

pub mod lock;
pub mod session;
pub mod permission;
pub mod presence;
pub mod events;
pub mod rate;
pub mod existence;
pub mod cardinality;
pub mod nearness;
mod keyspace;
mod name;

pub use self::{
    keyspace::Keyspace,
    name::{InvalidName, Name},
};
