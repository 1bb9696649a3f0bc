//! Sessions over HTTP.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{
    outcome::Tier,
    state::{
        Name,
        session::{NewSession, Session, SessionToken, Sessions, TokenHash, Valid, Which},
    },
};
use http::{header, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    access::SERVICE_KEY,
    said::{invalid, millis, read},
};
use crate::{
    admission::{PostgresSessions, failed},
    config::{self, Config},
    error::{Error, StateRefusal},
    reply::{self, Reply},
    serve::Serve,
    telemetry::{Metrics, SessionOperation, SessionResult},
};

/// Shortest and longest times of a session.
const TIMES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(365 * 24 * 3600)];
/// Most bytes that come with a session: they are in memory with it.
const DATA_BYTES_MAX: usize = 16 << 10;
/// Most sessions in a list.
const LISTED_MAX: u32 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    user: String,
    idle_ms: Option<u64>,
    lifetime_ms: Option<u64>,
    data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Show {
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    token: Option<String>,
    user: Option<String>,
    id: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeAll {
    but: Option<String>,
}

/// Answers requests for sessions.
pub(super) struct SessionDesk {
    sessions: Sessions<PostgresSessions>,
    settings: config::Sessions,
    metrics: Arc<Metrics>,
}

type Answered = (Reply, SessionResult);

impl SessionDesk {
    pub(super) fn new(config: &Config, serve: &Serve) -> Self {
        let sessions = serve.admission.sessions().clone();
        Self { sessions, settings: config.state.sessions, metrics: serve.metrics.clone() }
    }

    /// A new session.
    pub(super) async fn create(&self, body: &Bytes) -> Result<Reply, Error> {
        self.counted(SessionOperation::Create, self.created(body).await)
    }

    /// Validates, refreshes or revokes.
    pub(super) async fn operate(&self, operation: &str, parts: &Parts, body: &Bytes) -> Result<Reply, Error> {
        match operation {
            "validate" => self.counted(SessionOperation::Validate, self.validated(parts, body).await),
            "refresh" => self.counted(SessionOperation::Refresh, self.refreshed(parts, body).await),
            _ => self.counted(SessionOperation::Revoke, self.revoked(body).await),
        }
    }

    /// Revokes all sessions of a user, but perhaps one.
    pub(super) async fn revoke_all(&self, user: &Name, body: &Bytes) -> Result<Reply, Error> {
        self.counted(SessionOperation::Revoke, self.all_revoked(user, body).await)
    }

    /// The sessions of a user.
    pub(super) async fn list(&self, user: &Name) -> Result<Reply, Error> {
        self.counted(SessionOperation::List, self.listed(user).await)
    }

    async fn created(&self, body: &Bytes) -> Result<Answered, Error> {
        let Create { user, idle_ms, lifetime_ms, data } = read(body)?;
        let time = |name, given: Option<u64>, preset| given.map_or(Ok(preset), |given| millis(name, given, TIMES));
        let new = NewSession {
            user: name(&user)?.as_str().into(),
            idle: time("idle_ms", idle_ms, self.settings.idle)?,
            lasts: time("lifetime_ms", lifetime_ms, self.settings.lifetime)?,
            user_max: self.settings.per_user_max,
            data: data.map(|data| data.get().into()),
        };
        if new.data.as_ref().is_some_and(|data| data.len() > DATA_BYTES_MAX) {
            return Err(invalid(format!("data is larger than {DATA_BYTES_MAX} bytes")));
        }
        let (token, session) = self.sessions.create(new).await.map_err(failed)?;
        let shown = format!("{{\"token\":\"{}\",{}", token.expose(), &shown(&session)[1..]);
        Ok((reply::to_state(shown), SessionResult::Origin))
    }

    async fn validated(&self, parts: &Parts, body: &Bytes) -> Result<Answered, Error> {
        let hash = token(parts, body)?;
        let valid = self.sessions.validate(&hash).await.map_err(failed)?.ok_or(StateRefusal::SessionUnknown)?;
        Ok((reply::to_state(shown(valid.session())), result(&valid)))
    }

    async fn refreshed(&self, parts: &Parts, body: &Bytes) -> Result<Answered, Error> {
        let hash = token(parts, body)?;
        let session = self.sessions.refresh(&hash).await.map_err(failed)?.ok_or(StateRefusal::SessionUnknown)?;
        Ok((reply::to_state(shown(&session)), SessionResult::Origin))
    }

    async fn revoked(&self, body: &Bytes) -> Result<Answered, Error> {
        let which = match read(body)? {
            Revoke { token: Some(token), user: None, id: None } => Which::Token(hash_of(&token)?),
            Revoke { token: None, user: Some(user), id: Some(id) } => {
                Which::Numbered { user: name(&user)?.as_str().into(), id }
            }
            _ => return Err(invalid("either token is expected, or user and id")),
        };
        let count = self.sessions.revoke(which).await.map_err(failed)?;
        Ok((reply::to_state(json!({ "revoked": count }).to_string()), SessionResult::Origin))
    }

    async fn all_revoked(&self, user: &Name, body: &Bytes) -> Result<Answered, Error> {
        let RevokeAll { but } = read(body)?;
        let but = but.as_deref().map(hash_of).transpose()?;
        let which = Which::AllOf { user: user.as_str().into(), but };
        let count = self.sessions.revoke(which).await.map_err(failed)?;
        let said = json!({ "user": user.as_str(), "revoked": count });
        Ok((reply::to_state(said.to_string()), SessionResult::Origin))
    }

    async fn listed(&self, user: &Name) -> Result<Answered, Error> {
        let sessions = self.sessions.list(user.as_str(), LISTED_MAX).await.map_err(failed)?;
        let sessions = sessions.iter().map(shown).collect::<Vec<_>>().join(",");
        let said = format!("{{\"user\":{},\"sessions\":[{sessions}]}}", quoted(user.as_str()));
        Ok((reply::to_state(said), SessionResult::Origin))
    }

    fn counted(&self, operation: SessionOperation, answered: Result<Answered, Error>) -> Result<Reply, Error> {
        let result = match &answered {
            Ok((_, result)) => *result,
            Err(Error::State(StateRefusal::SessionUnknown)) => SessionResult::Refused,
            Err(_) => SessionResult::Failed,
        };
        self.metrics.state().session(operation, result);
        answered.map(|(reply, _)| reply)
    }
}

fn result(valid: &Valid) -> SessionResult {
    match valid.tier() {
        Some(Tier::L1) => SessionResult::L1,
        Some(Tier::L2) => SessionResult::L2,
        None => SessionResult::Origin,
    }
}

/// The token in the body; or in `Authorization`, if that does not say who asks, because the key of the services does.
fn token(parts: &Parts, body: &Bytes) -> Result<TokenHash, Error> {
    if let Show { token: Some(token) } = read(body)? {
        return hash_of(&token);
    }
    let bearer = parts.headers.get(header::AUTHORIZATION).filter(|_| parts.headers.contains_key(SERVICE_KEY));
    let bearer = bearer.and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    match bearer {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => hash_of(token.trim()),
        _ => Err(invalid("a token is expected, in the body or, beside the service key, in Authorization")),
    }
}

/// What cannot be a token is no request for a session: whoever made it up is told as everybody else.
pub(super) fn hash_of(token: &str) -> Result<TokenHash, Error> {
    let token: Result<SessionToken, _> = token.parse();
    token.map(|token| token.hash()).map_err(|_| StateRefusal::SessionUnknown.into())
}

fn name(text: &str) -> Result<Name, Error> {
    Name::new(text).map_err(|error| invalid(error.to_string()))
}

/// A session without its token. Its data is JSON already.
fn shown(session: &Session) -> String {
    format!(
        "{{\"id\":{},\"user\":{},\"created_at\":{},\"last_seen_at\":{},\"expires_at\":{},\"ends_at\":{},\"data\":{}}}",
        session.id,
        quoted(&session.user),
        session.created_at,
        session.last_seen_at,
        session.expires_at,
        session.ends_at,
        session.data.as_deref().unwrap_or("null"),
    )
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
