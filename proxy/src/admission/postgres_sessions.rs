//! Sessions in Postgres: rows of `transom.sessions`, reached by the functions of `transom setup --state`.

use std::{sync::Arc, time::Duration};

use cache_core::state::session::{
    Change, Changed, Created, Ends, Gone, Mark, NewSession, News, Revoked, Session, Standing, Store, TokenHash, Tokens,
    Which,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio_postgres::error::SqlState;

use crate::{
    error::{Error, StateRefusal},
    origin::Origin,
};

/// Sessions in the table `transom.sessions`, as the role of the connection. What is answered is on disk, whatever
/// `synchronous_commit` says. After a failover to a standby that was not synchronous, what was not replicated is undone: a
/// session that was created may be unknown, and one that was revoked may be there.
pub(crate) struct PostgresSessions {
    origin: Arc<Origin>,
}

const CREATE_SQL: &str = "SELECT transom.create_session($1, $2, $3, $4, $5, $6)";
const READ_SQL: &str = "SELECT transom.read_session($1)";
const TOUCH_SQL: &str = "SELECT transom.touch_sessions($1)";
const REFRESH_SQL: &str = "SELECT transom.refresh_session($1)";
const REVOKE_SQL: &str = "SELECT transom.revoke_session($1)";
const REVOKE_NUMBERED_SQL: &str = "SELECT transom.revoke_session_of($1, $2)";
const REVOKE_ALL_SQL: &str = "SELECT transom.revoke_sessions_of($1, $2)";
const LIST_SQL: &str = "SELECT transom.list_sessions($1, $2)";
const GONE_SQL: &str = "SELECT transom.read_revocations($1)";
const TELL_SQL: &str = "SELECT transom.tell_revocations($1, $2)";
const STANDING_SQL: &str = "SELECT transom.read_standing($1)";
const CHANGE_SQL: &str = "SELECT transom.change_user($1, $2, $3, $4)";
const SWEEP_SQL: &str = "SELECT transom.sweep_sessions($1)";

/// A session as `transom.show_session` shows it.
#[derive(Deserialize)]
struct Shown {
    id: i64,
    hash: String,
    user: String,
    idle_ms: u64,
    data: Option<Box<RawValue>>,
    created_at: u64,
    last_seen_at: u64,
    expires_at: u64,
    ends_at: u64,
    left_ms: i64,
}

#[derive(Deserialize)]
struct ShownCreated {
    session: Shown,
    evicted: Vec<String>,
}

#[derive(Deserialize)]
struct ShownRevoked {
    count: u64,
    hash: Option<String>,
    noted: Vec<i64>,
}

#[derive(Deserialize)]
struct ShownStanding {
    not_before: u64,
    banned: bool,
}

#[derive(Deserialize)]
struct ShownChanged {
    ended: u64,
    standing: ShownStanding,
    noted: Vec<i64>,
}

#[derive(Deserialize)]
struct ShownNews {
    mark: String,
    gone: Vec<ShownGone>,
}

#[derive(Deserialize)]
struct ShownGone {
    id: i64,
    hash: Option<String>,
    told: Vec<String>,
}

impl PostgresSessions {
    pub(super) fn new(origin: Arc<Origin>) -> Self {
        Self { origin }
    }

    /// What a function answers in JSON; `None` if it answers null.
    async fn ask<T: DeserializeOwned>(&self, sql: &'static str, parameters: &[&str]) -> Result<Option<T>, Error> {
        let row = self.origin.ask_own(sql, parameters).await.map_err(away_if_standby)?;
        row.text(0)?.map(serde_json::from_str).transpose().map_err(|error| unreadable(&error))
    }

    /// The same of one that always answers.
    async fn ask_surely<T: DeserializeOwned>(&self, sql: &'static str, parameters: &[&str]) -> Result<T, Error> {
        self.ask(sql, parameters).await?.ok_or_else(|| unreadable(&"null"))
    }
}

impl Store for PostgresSessions {
    type Error = Error;

    fn is_away(error: &Error) -> bool {
        matches!(error, Error::Unreachable { .. } | Error::PoolExhausted { .. } | Error::Deadline { .. })
    }

    async fn create(&self, hash: &TokenHash, new: &NewSession) -> Result<Created, Error> {
        let (hash, idle, lasts) = (hash.to_string(), millis(new.idle), millis(new.lasts));
        let (user_max, data) = (new.user_max.to_string(), new.data.as_deref().unwrap_or_default());
        let parameters = [&*hash, &*new.user, &*idle, &*lasts, &*user_max, data];
        let ShownCreated { session, evicted } =
            self.ask_surely(CREATE_SQL, &parameters).await.map_err(refused_if_banned)?;
        let evicted = evicted.iter().map(|hash| hash_of(hash)).collect::<Result<_, _>>()?;
        Ok(Created { session: session.read()?, evicted })
    }

    async fn read(&self, hash: &TokenHash) -> Result<Option<Session>, Error> {
        self.ask::<Shown>(READ_SQL, &[&hash.to_string()]).await?.map(Shown::read).transpose()
    }

    async fn touch(&self, hashes: &[TokenHash]) -> Result<Vec<Session>, Error> {
        let shown: Vec<Shown> = self.ask_surely(TOUCH_SQL, &[&array(hashes)]).await?;
        shown.into_iter().map(Shown::read).collect()
    }

    async fn refresh(&self, hash: &TokenHash) -> Result<Option<Session>, Error> {
        self.ask::<Shown>(REFRESH_SQL, &[&hash.to_string()]).await?.map(Shown::read).transpose()
    }

    async fn revoke(&self, which: &Which) -> Result<Revoked, Error> {
        let ShownRevoked { count, hash, noted } = match which {
            Which::Token(hash) => self.ask_surely(REVOKE_SQL, &[&hash.to_string()]).await,
            Which::Numbered { user, id } => self.ask_surely(REVOKE_NUMBERED_SQL, &[user, &id.to_string()]).await,
            Which::AllOf { user, but } => {
                let but = but.map(|hash| hash.to_string()).unwrap_or_default();
                self.ask_surely(REVOKE_ALL_SQL, &[user, &but]).await
            }
        }?;
        Ok(Revoked { count, hash: hash.as_deref().map(hash_of).transpose()?, noted })
    }

    async fn list(&self, user: &str, most: u32) -> Result<Vec<Session>, Error> {
        let shown: Vec<Shown> = self.ask_surely(LIST_SQL, &[user, &most.to_string()]).await?;
        shown.into_iter().map(Shown::read).collect()
    }

    async fn standing(&self, user: &str) -> Result<Standing, Error> {
        self.ask_surely::<ShownStanding>(STANDING_SQL, &[user]).await.map(Into::into)
    }

    async fn change(&self, Change { user, ends, tokens }: &Change) -> Result<Changed, Error> {
        let (ends, hash) = match ends {
            Ends::Nothing => ("", None),
            Ends::One(hash) => ("one", Some(hash)),
            Ends::AllBut(but) => ("all but", but.as_ref()),
        };
        let tokens = match tokens {
            Tokens::Keep => "keep",
            Tokens::Outdate => "outdate",
            Tokens::Ban => "ban",
            Tokens::Readmit => "readmit",
        };
        let hash = hash.map(ToString::to_string).unwrap_or_default();
        let ShownChanged { ended, standing, noted } = self.ask_surely(CHANGE_SQL, &[user, ends, &hash, tokens]).await?;
        Ok(Changed { ended, standing: standing.into(), noted, announced: false })
    }

    async fn gone(&self, since: &Mark) -> Result<News, Error> {
        let ShownNews { mark, gone } = self.ask_surely(GONE_SQL, &[&since.0]).await?;
        let gone = gone
            .into_iter()
            .map(|ShownGone { id, hash, told }| Ok(Gone { id, hash: hash.as_deref().map(hash_of).transpose()?, told }));
        Ok(News { mark: Mark(mark.into()), gone: gone.collect::<Result<_, Error>>()? })
    }

    async fn tell(&self, namespace: &str, ids: &[i64]) -> Result<(), Error> {
        self.origin.ask_own(TELL_SQL, &[namespace, &array(ids)]).await.map(drop)
    }

    async fn sweep(&self, seen: &Mark) -> Result<(), Error> {
        self.origin.ask_own(SWEEP_SQL, &[&seen.0]).await.map(drop)
    }
}

impl From<ShownStanding> for Standing {
    fn from(ShownStanding { not_before, banned }: ShownStanding) -> Self {
        Self { not_before, banned }
    }
}

impl Shown {
    fn read(self) -> Result<Session, Error> {
        Ok(Session {
            id: self.id,
            hash: hash_of(&self.hash)?,
            user: self.user.into(),
            created_at: self.created_at,
            last_seen_at: self.last_seen_at,
            expires_at: self.expires_at,
            ends_at: self.ends_at,
            idle: Duration::from_millis(self.idle_ms),
            left: Duration::from_millis(u64::try_from(self.left_ms).unwrap_or_default()),
            data: self.data.map(|data| data.get().into()),
        })
    }
}

fn hash_of(text: &str) -> Result<TokenHash, Error> {
    text.parse().map_err(|error| unreadable(&error))
}

/// As an array in text: numbers and hashes need no quotes.
fn array(items: &[impl ToString]) -> String {
    format!("{{{}}}", items.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// As a `bigint` in text.
fn millis(duration: Duration) -> String {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).to_string()
}

/// A standby may be behind, so it does not answer.
fn away_if_standby(error: Error) -> Error {
    match error {
        Error::Database { problem, state } if state == SqlState::READ_ONLY_SQL_TRANSACTION => {
            Error::Unreachable { reason: problem.message.into_owned() }
        }
        error => error,
    }
}

/// What `transom.refuse_banned` raises.
fn refused_if_banned(error: Error) -> Error {
    match error {
        Error::Database { state, .. } if state.code() == "PT403" => StateRefusal::Banned.into(),
        error => error,
    }
}

fn unreadable(why: &dyn std::fmt::Display) -> Error {
    Error::Unreachable { reason: format!("an answer about sessions cannot be read: {why}") }
}
