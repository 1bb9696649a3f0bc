//! `/state/v1`: what stateless services share, over HTTP. The primitives are `cache_core::state`; here is who may use them,
//! what a request says, and where Postgres keeps the truth.

mod access;
mod channels;
mod streams;
mod socket;
mod handshake;
mod locks;
mod sessions;
mod users;
pub(crate) mod permissions;
mod rate_limits;
mod structures;
mod existence;
mod cardinality;
mod nearness;
mod said;
pub mod migrations;
mod postgres_locks;

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    clock::WallMillis,
    state::{
        Keyspace, Name,
        permission::{Subject, SubjectKind},
        rate::RateLimits,
    },
};
use http::{Method, request::Parts};
use percent_encoding::percent_decode_str;

use self::{
    access::Access,
    channels::ChannelDesk,
    locks::LockDesk,
    permissions::{PermissionDesk, Whom},
    rate_limits::RateDesk,
    sessions::SessionDesk,
    structures::Structures,
    users::UserDesk,
};
use crate::{
    config::Config,
    error::{Error, StateRefusal},
    reply::{self, Reply},
    serve::Serve,
};

/// Largest body of a request: names and numbers.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;

/// The description of all this.
const OPENAPI: &str = include_str!("state/openapi.json");

/// Answers below `state_path`; one per node.
pub(crate) struct State {
    path: String,
    access: Access,
    locks: LockDesk,
    rates: RateDesk,
    channels: ChannelDesk,
    structures: Structures,
    sessions: SessionDesk,
    users: UserDesk,
    permissions: PermissionDesk,
}

impl State {
    /// Shared state of this namespace, over the parts of a node. Without Redis only what Postgres keeps is there.
    pub(crate) fn new(config: &Config, serve: &Arc<Serve>, keys: Option<Keyspace>, limits: Arc<RateLimits>) -> Self {
        let metrics = serve.metrics.clone();
        // Whoever waits for a lock gets an answer before the request's own deadline.
        let patience_max = config.limits.request_deadline * 9 / 10;
        Self {
            path: config.state.path.clone(),
            access: Access::new(&config.state, serve.admission.clone()),
            locks: LockDesk::new(keys.clone(), serve.origin.clone(), metrics.clone(), patience_max),
            rates: RateDesk::new(limits, metrics.clone()),
            structures: Structures::new(keys.as_ref(), &metrics),
            channels: ChannelDesk::new(keys, &config.state, metrics),
            sessions: SessionDesk::new(config, serve),
            users: UserDesk::new(config, serve),
            permissions: PermissionDesk::new(&config.state.permissions, serve.clone()),
        }
    }

    /// Ends what would go on for ever: the node is drained.
    pub(crate) fn close(&self) {
        self.channels.close();
    }

    /// Waits until what [`close`](Self::close) ends has ended.
    pub(crate) async fn finish(&self) {
        self.channels.finish().await;
    }

    /// Whether the path is `state_path` or lies below it.
    pub(crate) fn serves(&self, path: &str) -> bool {
        path.strip_prefix(&*self.path).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }

    /// Answers a request whose path it [`serves`](Self::serves).
    ///
    /// # Errors
    /// If whoever asks may not, or asks for what there is not; and whatever the primitive says.
    pub(crate) async fn answer(&self, parts: &Parts, body: &Bytes) -> Result<Reply, Error> {
        let below = parts.uri.path().strip_prefix(&*self.path).unwrap_or_default();
        let segments: Vec<&str> = below.split('/').filter(|segment| !segment.is_empty()).collect();
        if segments.is_empty() {
            expect(parts, &[Method::GET, Method::HEAD])?;
            return Ok(reply::to_state(OPENAPI.replace("\"/state/v1\"", &format!("{:?}", self.path))));
        }
        let until = self.access.check(&parts.headers).await?;
        self.operate(&segments, parts, body, until).await
    }

    /// What is asked of whom, by the path below `state_path`.
    async fn operate(&self, segments: &[&str], parts: &Parts, body: &Bytes, until: WallMillis) -> Result<Reply, Error> {
        let answer = match *segments {
            ["locks", name] => {
                expect(parts, &[Method::GET, Method::HEAD])?;
                self.locks.look(&name_of(name)?, parts.uri.query()).await
            }
            ["locks", name, operation @ ("acquire" | "renew" | "release")] => {
                expect(parts, &[Method::POST])?;
                self.locks.operate(operation, &name_of(name)?, body).await
            }
            ["rate-limits", name, "check"] => {
                expect(parts, &[Method::POST])?;
                return self.rates.check(&name_of(name)?, body).await;
            }
            ["sessions"] => {
                expect(parts, &[Method::POST])?;
                return self.sessions.create(body).await;
            }
            ["sessions", operation @ ("validate" | "refresh" | "revoke")] => {
                expect(parts, &[Method::POST])?;
                return self.sessions.operate(operation, parts, body).await;
            }
            ["users", user, "sessions"] if parts.method == Method::DELETE => {
                return self.sessions.revoke_all(&name_of(user)?, body).await;
            }
            ["users", user, "sessions"] => {
                expect(parts, &[Method::GET, Method::HEAD, Method::DELETE])?;
                return self.sessions.list(&name_of(user)?).await;
            }
            ["users", user, event] if users::is_event(event) => {
                expect(parts, &[Method::POST])?;
                return self.users.happened(event, &name_of(user)?, body).await;
            }
            ["permissions" | "projects" | "api-keys", ..] => return self.permit(segments, parts, body).await,
            ["events", channel] if parts.method == Method::POST => {
                self.channels.publish(&name_of(channel)?, body).await
            }
            ["events", channel] => {
                expect(parts, &[Method::GET, Method::POST])?;
                return self.channels.listen(&name_of(channel)?, parts, until).await;
            }
            ["presence", channel] => {
                expect(parts, &[Method::GET, Method::HEAD])?;
                self.channels.members(&name_of(channel)?).await
            }
            ["users", user, "presence"] => {
                expect(parts, &[Method::GET, Method::HEAD])?;
                self.channels.places(&name_of(user)?).await
            }
            ["presence", channel, "changes"] => {
                expect(parts, &[Method::GET])?;
                return self.channels.watch(&name_of(channel)?, parts, until).await;
            }
            ["presence", channel, "join"] => {
                expect(parts, &[Method::POST])?;
                self.channels.join(&name_of(channel)?, body).await
            }
            ["presence", channel, "leave"] => {
                expect(parts, &[Method::POST])?;
                self.channels.leave(&name_of(channel)?, body).await
            }
            ["existence" | "cardinality" | "nearness", ..] => self.structures.answer(segments, parts, body).await,
            _ => Err(StateRefusal::NoSuchOperation.into()),
        };
        answer.map(|answer| reply::to_state(answer.to_string()))
    }
}

impl State {
    /// What users, API keys and projects may.
    async fn permit(&self, segments: &[&str], parts: &Parts, body: &Bytes) -> Result<Reply, Error> {
        let desk = &self.permissions;
        match *segments {
            ["api-keys", "lookup"] => {
                expect(parts, &[Method::POST])?;
                desk.look_up_key(parts, body).await
            }
            ["api-keys", hash] => {
                expect(parts, &[Method::DELETE])?;
                desk.forget(Whom::One(&Subject::api_key(&permissions::hash_of(hash)?))).await
            }
            [kind, name] => {
                expect(parts, &[Method::GET, Method::HEAD, Method::DELETE])?;
                let name = name_of(name)?;
                let subject = match kind {
                    "projects" => Subject::project(name.as_str()),
                    _ => Subject::user(name.as_str()),
                };
                match parts.method {
                    Method::DELETE => desk.forget(Whom::One(&subject)).await,
                    _ => desk.look(&subject, parts).await,
                }
            }
            [kind] => {
                expect(parts, &[Method::DELETE])?;
                desk.forget(Whom::All(match kind {
                    "permissions" => SubjectKind::User,
                    "projects" => SubjectKind::Project,
                    _ => SubjectKind::ApiKey,
                }))
                .await
            }
            _ => Err(StateRefusal::NoSuchOperation.into()),
        }
    }
}

/// Names travel percent-encoded, so that they may have slashes.
fn name_of(segment: &str) -> Result<Name, Error> {
    let text = percent_decode_str(segment).decode_utf8_lossy();
    Name::new(&text).map_err(|error| StateRefusal::Invalid { details: error.to_string() }.into())
}

fn expect(parts: &Parts, allowed: &'static [Method]) -> Result<(), Error> {
    if allowed.contains(&parts.method) { Ok(()) } else { Err(StateRefusal::Method { allowed }.into()) }
}
