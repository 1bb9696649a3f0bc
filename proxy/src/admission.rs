//! Whether a token still counts: what is held against its user says so, which is kept as sessions are.

mod postgres_sessions;

use std::{sync::Arc, time::Duration};

use cache_core::{
    cache::TwoTier,
    clock::Clock,
    state::session::{SessionError, SessionSettings, Sessions, Standing},
};
use http::HeaderMap;

pub(crate) use self::postgres_sessions::PostgresSessions;
use crate::{
    auth::{Auth, Issued, Principal},
    config::Config,
    error::{Error, Refusal},
    origin::Origin,
    reply::StoredResponse,
};

/// One wait for Postgres, if the request may take longer than that.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// Decides who asks, and whether that still counts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Admission {
    auth: Auth,
    sessions: Sessions<PostgresSessions>,
    clock: Clock,
}

impl Admission {
    /// To be called within a tokio runtime.
    pub(crate) fn new(config: &Config, auth: Auth, cache: &TwoTier<StoredResponse>, origin: &Arc<Origin>) -> Self {
        let settings = config.state.sessions;
        let sessions = SessionSettings {
            cached_for: settings.cached_for,
            namespace: config.namespace.clone(),
            // An answer that stands in for Postgres' has to come before the request's own deadline.
            patience: PATIENCE_MAX.min(config.limits.request_deadline / 2),
            standings_bytes_max: settings.l1_bytes_max,
        };
        let store = PostgresSessions::new(origin.clone());
        let copies = cache.beside("session", settings.l1_bytes_max);
        Self { auth, sessions: Sessions::new(store, copies, sessions), clock: cache.clock() }
    }

    /// The sessions, beside which standings are kept.
    pub(crate) fn sessions(&self) -> &Sessions<PostgresSessions> {
        &self.sessions
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// If there is a bearer token and it is not valid, or does not count any more; or if nobody can say whether it does.
    pub(crate) async fn principal(&self, headers: &HeaderMap) -> Result<Principal, Error> {
        let principal = self.auth.principal(headers, self.clock.wall())?;
        let Some(issued) = &principal.issued else { return Ok(principal) };
        judge(issued, self.sessions.standing(&issued.user).await.map_err(failed)?)?;
        Ok(principal)
    }

    /// Refuses headers with a token that does not count any more. Costs nothing where tokens name no users.
    ///
    /// # Errors
    /// As [`principal`](Self::principal).
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> Result<(), Error> {
        if self.auth.names_users() {
            // Boxed: the room for what hardly anybody waits for would be part of every request.
            Box::pin(self.principal(headers)).await?;
        }
        Ok(())
    }

    /// Whether it is known, without a wait, that the token of this one still counts.
    #[inline]
    pub(crate) fn holds(&self, principal: &Principal) -> bool {
        match &principal.issued {
            None => true,
            Some(issued) => {
                self.sessions.standing_at_once(&issued.user).is_some_and(|standing| standing.accepts(issued.at))
            }
        }
    }
}

fn judge(issued: &Issued, standing: Standing) -> Result<(), Refusal> {
    if standing.accepts(issued.at) { Ok(()) } else { Err(Refusal::Withdrawn) }
}

/// Nobody knows.
pub(crate) fn failed(error: SessionError<Error>) -> Error {
    match error {
        SessionError::Store(error) => error,
        SessionError::Timeout(budget) => Error::Unreachable { reason: format!("no answer within {budget:?}") },
        SessionError::Abandoned => Error::Abandoned,
        SessionError::NoRandomness(error) => Error::Unreachable { reason: error.to_string() },
    }
}
