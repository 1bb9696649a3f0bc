//! What happens to users, over HTTP: one call for each event ends all that it makes untrue.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    state::{
        Name,
        permission::{Subject, SubjectKind},
        session::{Change, Changed, Ends, Sessions, TokenHash, Tokens},
    },
    tag::Tag,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    permissions,
    said::{invalid, read},
    sessions::hash_of,
};
use crate::{
    admission::{PostgresSessions, failed},
    config::Config,
    error::Error,
    reply::{self, Reply},
    serve::Serve,
    telemetry::{Metrics, SessionOperation, SessionResult},
};

/// What a request may say beside the event.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Said {
    /// the one session that ends
    token: Option<String>,
    /// the one session that stays
    keep: Option<String>,
    /// the one API key
    sha256: Option<String>,
}

/// What an event makes untrue.
struct Loss {
    ends: Ends,
    tokens: Tokens,
    /// what is known of the user's permissions
    permissions: bool,
    api_keys: Keys,
}

/// What is known of API keys. Whose they are only the operator's own query says, so it is that of one or of all.
enum Keys {
    Keep,
    One(Subject),
    All,
}

/// Whether there is such an event.
pub(super) fn is_event(event: &str) -> bool {
    matches!(
        event,
        "logout"
            | "role-changed"
            | "api-key-changed"
            | "banned"
            | "unbanned"
            | "password-changed"
            | "two-factor-changed"
    )
}

/// Answers what happened to users.
pub(super) struct UserDesk {
    sessions: Sessions<PostgresSessions>,
    /// whether somebody looks at what is held against tokens, and at what is known of users and of keys
    uses: Uses,
    metrics: Arc<Metrics>,
}

struct Uses {
    tokens: bool,
    permissions: bool,
    api_keys: bool,
}

impl UserDesk {
    pub(super) fn new(config: &Config, serve: &Serve) -> Self {
        let uses = Uses {
            tokens: serve.auth.names_users(),
            permissions: config.state.permissions.users.is_some(),
            api_keys: config.state.permissions.api_keys.is_some(),
        };
        Self { sessions: serve.admission.sessions().clone(), uses, metrics: serve.metrics.clone() }
    }

    /// Ends what the event makes untrue. Once it is answered no node goes by it.
    pub(super) async fn happened(&self, event: &str, user: &Name, body: &Bytes) -> Result<Reply, Error> {
        let answered = self.end(event, user, body).await;
        let result = if answered.is_ok() { SessionResult::Origin } else { SessionResult::Failed };
        self.metrics.state().session(SessionOperation::Revoke, result);
        answered.map(|answer| reply::to_state(answer.to_string()))
    }

    async fn end(&self, event: &str, user: &Name, body: &Bytes) -> Result<Value, Error> {
        let Loss { ends, tokens, permissions, api_keys } = loss(event, read(body)?)?;
        let permissions = permissions && self.uses.permissions;
        let api_keys = if self.uses.api_keys { api_keys } else { Keys::Keep };
        let mut besides: Vec<Tag> = Vec::new();
        besides.extend(permissions.then(|| Subject::user(user.as_str()).tag()));
        besides.extend(match &api_keys {
            Keys::Keep => None,
            Keys::One(key) => Some(key.tag()),
            Keys::All => Some(SubjectKind::ApiKey.tag()),
        });
        let change = Change { user: user.as_str().into(), ends, tokens };
        let Changed { ended, standing, announced, .. } = self.sessions.change(change, besides).await.map_err(failed)?;
        let ends_tokens = tokens != Tokens::Keep && self.uses.tokens;
        Ok(json!({
            "user": user.as_str(),
            "sessions": ended,
            "tokens": ends_tokens.then(|| json!({ "not_before": standing.not_before, "banned": standing.banned })),
            "permissions": permissions,
            "api_keys": match api_keys {
                Keys::Keep => Value::Null,
                Keys::One(key) => key.name().into(),
                Keys::All => "all".into(),
            },
            "announced": announced,
        }))
    }
}

/// The table in docs/state.md.
fn loss(event: &str, said: Said) -> Result<Loss, Error> {
    let one = |token: &str| token_of(token).map(Ends::One);
    let all_but = |keep: Option<&str>| keep.map(token_of).transpose().map(Ends::AllBut);
    let (ends, tokens, permissions, api_keys) = match (event, said) {
        // A token that somebody else issued is not told from the others of its user.
        ("logout", Said { token: Some(token), keep: None, sha256: None }) => {
            (one(&token)?, Tokens::Keep, false, Keys::Keep)
        }
        ("logout", Said { token: None, keep: None, sha256: None }) => {
            (all_but(None)?, Tokens::Outdate, false, Keys::Keep)
        }
        // Sessions and tokens say what role their user had; and what a key may do depends on whose it is.
        ("role-changed", Said { token: None, keep: None, sha256: None }) => {
            (all_but(None)?, Tokens::Outdate, true, Keys::All)
        }
        ("api-key-changed", Said { token: None, keep: None, sha256: None }) => {
            (Ends::Nothing, Tokens::Keep, false, Keys::All)
        }
        ("api-key-changed", Said { token: None, keep: None, sha256: Some(hash) }) => {
            let key = Subject::api_key(&permissions::hash_of(&hash)?);
            (Ends::Nothing, Tokens::Keep, false, Keys::One(key))
        }
        ("banned", Said { token: None, keep: None, sha256: None }) => (all_but(None)?, Tokens::Ban, true, Keys::All),
        ("unbanned", Said { token: None, keep: None, sha256: None }) => {
            (Ends::Nothing, Tokens::Readmit, true, Keys::All)
        }
        ("password-changed", Said { token: None, keep, sha256: None }) => {
            (all_but(keep.as_deref())?, Tokens::Outdate, false, Keys::Keep)
        }
        // What somebody may do may depend on whether there is a second factor.
        ("two-factor-changed", Said { token: None, keep, sha256: None }) => {
            (all_but(keep.as_deref())?, Tokens::Outdate, true, Keys::Keep)
        }
        (event, _) => return Err(invalid(format!("{event} does not go with what is said beside it"))),
    };
    Ok(Loss { ends, tokens, permissions, api_keys })
}

/// Here it is the request that is wrong, and not a session that is not valid.
fn token_of(token: &str) -> Result<TokenHash, Error> {
    hash_of(token).map_err(|_| invalid("the token of a session is expected: 64 hexadecimal digits in lower case"))
}
