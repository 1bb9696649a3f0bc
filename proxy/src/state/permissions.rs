//! What users, API keys and projects may, over HTTP: reads of the operator's own, about one of them.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    entry::{Entry, Lifetimes},
    state::{
        permission::{self, ApiKeyHash, Subject, SubjectKind},
        session::User,
    },
};
use http::{HeaderValue, Method, header, request::Parts};
use serde::Deserialize;
use serde_json::json;

use super::said::{invalid, read};
use crate::{
    auth::Principal,
    config::{self, Config, StandingQuery},
    error::{Error, StateRefusal},
    reply::{self, Asked, CacheStatus, Reply, StoredResponse},
    rest::{Opaque, SchemaCache},
    serve::{Asking, Serve, try_out},
    telemetry::Route,
};

/// Longest key that anybody shows.
const KEY_BYTES_MAX: usize = 4_096;
/// What a read of no rows brings.
const NO_ROWS: &[u8] = b"[]";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Show {
    key: Option<String>,
    sha256: Option<String>,
}

/// Answers what may be asked of users, API keys and projects.
pub(super) struct PermissionDesk {
    serve: Arc<Serve>,
    settings: config::Permissions,
    principal: Principal,
}

impl PermissionDesk {
    pub(super) fn new(settings: &config::Permissions, serve: Arc<Serve>) -> Self {
        let principal = Principal::of_node(settings.role.as_deref());
        let desk = Self { serve, settings: settings.clone(), principal };
        desk.look_over();
        desk
    }

    /// Says in the log what is doubtful of the reads: tables may come later.
    fn look_over(&self) {
        for (setting, doubt) in doubts(self.serve.config(), &self.serve.known_schema()) {
            tracing::warn!(setting, %doubt, "the read in this setting is not answered as it should be");
        }
    }

    /// What a user may do, or how a project is configured: the rows of the read.
    pub(super) async fn look(&self, subject: &Subject, parts: &Parts) -> Result<Reply, Error> {
        let (entry, status) = self.ask(subject).await?;
        Ok(self.reply(parts, &entry, status))
    }

    /// What a key may do.
    pub(super) async fn look_up_key(&self, parts: &Parts, body: &Bytes) -> Result<Reply, Error> {
        let hash = match read(body)? {
            Show { key: Some(key), sha256: None } if key.len() <= KEY_BYTES_MAX && !key.is_empty() => {
                ApiKeyHash::of(&key)
            }
            Show { key: None, sha256: Some(hash) } => hash_of(&hash)?,
            _ => {
                let details = format!("either key is expected, of 1 to {KEY_BYTES_MAX} bytes, or sha256");
                return Err(invalid(details));
            }
        };
        let (entry, status) = self.ask(&Subject::api_key(&hash)).await?;
        if *entry.value.body() == *NO_ROWS {
            return Err(StateRefusal::KeyUnknown.into());
        }
        Ok(self.reply(parts, &entry, status))
    }

    /// Forgets what was answered about one, or about all of a kind: for what no change feed tells.
    pub(super) async fn forget(&self, whom: Whom<'_>) -> Result<Reply, Error> {
        let (kind, tag) = match whom {
            Whom::One(subject) => (subject.kind(), subject.tag()),
            Whom::All(kind) => (kind, kind.tag()),
        };
        self.query(kind)?;
        let forgotten = permission::forget(&self.serve.cache, tag).await;
        forgotten.map_err(|error| StateRefusal::RedisAway { reason: error.to_string() })?;
        Ok(reply::to_state(json!({ "forgotten": true }).to_string()))
    }

    async fn ask(&self, subject: &Subject) -> Result<(Arc<Entry<StoredResponse>>, CacheStatus), Error> {
        let target = self.target(subject)?;
        let about = || {
            let mut tags = vec![subject.tag(), subject.kind().tag()];
            // What a user loses is noted in Postgres, and heard from there by nodes that Redis does not reach.
            tags.extend((subject.kind() == SubjectKind::User).then(|| User::new(subject.name().into()).tag()));
            tags
        };
        let asking = Asking {
            target: &target,
            schema: self.settings.schema.as_deref(),
            principal: &self.principal,
            // Nobody may do something because it was allowed a while ago.
            lifetimes: Lifetimes::never_stale(self.settings.kept_for),
            purpose: subject.kind().as_str(),
            about: &about,
        };
        self.serve.ask_for(&asking).await.map_err(|error| match error {
            error if error.is_origin_failure() => error,
            // It is not this client whom Postgres refuses, nor its request that is wrong.
            Error::Refused(_) | Error::Database { .. } | Error::NoSuchPath => {
                StateRefusal::Unanswerable { setting: setting(subject.kind()), reason: error.to_string() }.into()
            }
            error => error,
        })
    }

    fn target(&self, subject: &Subject) -> Result<String, Error> {
        Ok(self.query(subject.kind())?.about(subject.name()))
    }

    fn query(&self, kind: SubjectKind) -> Result<&StandingQuery, Error> {
        query(&self.settings, kind).ok_or_else(|| StateRefusal::Unset { setting: setting(kind) }.into())
    }

    /// As a read is answered, except that nobody else may store it.
    fn reply(&self, parts: &Parts, entry: &Entry<StoredResponse>, status: CacheStatus) -> Reply {
        // Whatever was posted, the answer is that to a GET.
        let method = if parts.method == Method::HEAD { &Method::HEAD } else { &Method::GET };
        let asked = Asked { method, headers: &parts.headers, location: None };
        let mut reply = reply::to_read(asked, entry, status, self.serve.cache.clock().now());
        let headers = reply.response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.remove(header::CONTENT_RANGE);
        headers.remove(header::VARY);
        reply.route = Route::State;
        reply
    }
}

/// Whom to forget.
pub(super) enum Whom<'w> {
    One(&'w Subject),
    All(SubjectKind),
}

/// The hash of a key in a path.
pub(super) fn hash_of(text: &str) -> Result<ApiKeyHash, Error> {
    text.parse().map_err(|_| invalid("sha256 is expected as 64 hexadecimal digits in lower case"))
}

/// What is wrong with a read that an operator wrote.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Doubt {
    /// it cannot be asked
    #[error("{0}")]
    Refused(String),
    /// it is asked each time, and perhaps in vain
    #[error("its answers are not stored: {0}")]
    NotStored(&'static str),
}

impl Doubt {
    /// Whether there is no sense in asking it as things are.
    pub(crate) fn is_fatal(&self) -> bool {
        let unknown = [Opaque::UnknownRelation.reason(), Opaque::UnknownColumn.reason()];
        matches!(self, Self::Refused(_)) || matches!(self, Self::NotStored(reason) if unknown.contains(reason))
    }
}

/// The settings whose reads are doubtful on this schema, and why.
pub(crate) fn doubts(config: &Config, known: &SchemaCache) -> Vec<(&'static str, Doubt)> {
    let settings = &config.state.permissions;
    let sample = [Subject::user("0"), Subject::api_key(&ApiKeyHash::of("0")), Subject::project("0")];
    let problem = |subject: Subject| {
        let target = query(settings, subject.kind())?.about(subject.name());
        let doubt = match try_out(&target, settings.schema.as_deref(), known, config) {
            Ok(opaque) => Doubt::NotStored(opaque?.reason()),
            Err(error) => Doubt::Refused(error.to_string()),
        };
        Some((setting(subject.kind()), doubt))
    };
    sample.into_iter().filter_map(problem).collect()
}

fn query(settings: &config::Permissions, kind: SubjectKind) -> Option<&StandingQuery> {
    match kind {
        SubjectKind::User => settings.users.as_ref(),
        SubjectKind::ApiKey => settings.api_keys.as_ref(),
        SubjectKind::Project => settings.projects.as_ref(),
    }
}

/// Where the read about such subjects is written.
fn setting(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::User => "permissions_query",
        SubjectKind::ApiKey => "api_key_query",
        SubjectKind::Project => "project_query",
    }
}
