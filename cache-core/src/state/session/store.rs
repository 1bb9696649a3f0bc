//! Where sessions are kept.

use std::{sync::Arc, time::Duration};

use super::{
    TokenHash,
    standing::{Change, Changed, Standing},
};

/// Keeps sessions, and notes of those that ended before their time, by whomever. Each method is one transaction, judged by the
/// store's own clock: what it did is there for good, and seen by whatever begins after it returned. What may be behind (a
/// replica) does not answer.
pub trait Store: Send + Sync + 'static {
    /// Why it did not answer.
    type Error: std::error::Error + Clone + Send + Sync + 'static;

    /// Whether that says that the store is not there; not that it refuses.
    fn is_away(error: &Self::Error) -> bool;

    /// Makes a session, and ends the oldest ones of its user that are more than `user_max`. Of one user one after the other.
    fn create(&self, hash: &TokenHash, new: &NewSession) -> impl Future<Output = Result<Created, Self::Error>> + Send;

    /// The session, if it has not ended.
    fn read(&self, hash: &TokenHash) -> impl Future<Output = Result<Option<Session>, Self::Error>> + Send;

    /// Moves the ends of these, unless that was done a moment ago, and reads those that have not ended.
    fn touch(&self, hashes: &[TokenHash]) -> impl Future<Output = Result<Vec<Session>, Self::Error>> + Send;

    /// Moves the end of this one, if it has not ended.
    fn refresh(&self, hash: &TokenHash) -> impl Future<Output = Result<Option<Session>, Self::Error>> + Send;

    /// Ends sessions, and notes it in the same transaction.
    fn revoke(&self, which: &Which) -> impl Future<Output = Result<Revoked, Self::Error>> + Send;

    /// Those of a user that have not ended, the last active first.
    fn list(&self, user: &str, most: u32) -> impl Future<Output = Result<Vec<Session>, Self::Error>> + Send;

    /// What is held against a user; nothing, of one that is not known.
    fn standing(&self, user: &str) -> impl Future<Output = Result<Standing, Self::Error>> + Send;

    /// Ends sessions of a user, changes what is held against it, and notes both: a standing by the [hash](super::User::hash) of
    /// its user. What was issued until now is what was issued in this second or before, by the store's clock. No change but
    /// [`Tokens::Readmit`](super::Tokens::Readmit) makes a standing better.
    fn change(&self, change: &Change) -> impl Future<Output = Result<Changed, Self::Error>> + Send;

    /// What was noted and not seen by the reading that gave this mark, nor by any before it. Whatever is noted by the time of
    /// the question is in one reading or another, or the reading has more than [`NOTES_MAX`](super::NOTES_MAX).
    fn gone(&self, since: &Mark) -> impl Future<Output = Result<News, Self::Error>> + Send;

    /// Notes that these were announced in a namespace.
    fn tell(&self, namespace: &str, ids: &[i64]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Drops notes that the reading with this mark, and all before it, saw; and what expired long ago.
    fn sweep(&self, seen: &Mark) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What a session is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// whose it is
    pub user: Arc<str>,
    /// how long it lasts without activity
    pub idle: Duration,
    /// how long it lasts at most
    pub lasts: Duration,
    /// most sessions of this user
    pub user_max: u32,
    /// what comes with it, as JSON
    pub data: Option<Arc<str>>,
}

/// A session. Times are milliseconds since 1970 by the store's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// its number: not secret, and not enough to use it
    pub id: i64,
    /// the hash of its token
    pub hash: TokenHash,
    /// whose it is
    pub user: Arc<str>,
    /// when it was made
    pub created_at: u64,
    /// when it was last active, to a tenth of `idle`
    pub last_seen_at: u64,
    /// when it ends without activity
    pub expires_at: u64,
    /// when it ends in any case
    pub ends_at: u64,
    /// how long it lasts without activity
    pub idle: Duration,
    /// until `expires_at`, when it was read
    pub left: Duration,
    /// what comes with it, as JSON
    pub data: Option<Arc<str>>,
}

/// The share of the idle time that has to be over before activity is worth a write.
const TOUCH_SHARE: u32 = 10;

impl Session {
    /// Whether enough of the idle time is over, `age` after it was read, and its end can be moved at all.
    pub(super) fn deserves_touch(&self, age: Duration) -> bool {
        let idled = self.idle.saturating_sub(self.left.saturating_sub(age));
        self.expires_at < self.ends_at && idled >= self.idle / TOUCH_SHARE
    }
}

/// A session that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// that one
    pub session: Session,
    /// those that had to leave
    pub evicted: Vec<TokenHash>,
}

/// Which sessions are to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// the one of this token
    Token(TokenHash),
    /// the one with this number, if it is this user's
    Numbered {
        /// whose
        user: Arc<str>,
        /// its number
        id: i64,
    },
    /// all of a user
    AllOf {
        /// whose
        user: Arc<str>,
        /// but this one
        but: Option<TokenHash>,
    },
}

/// What ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// how many
    pub count: u64,
    /// which, if it was to be one; also if it had ended before
    pub hash: Option<TokenHash>,
    /// the notes of it
    pub noted: Vec<i64>,
}

/// What a reading saw, in the store's own words. The default: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark(pub Arc<str>);

/// A reading of the notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// what it saw
    pub mark: Mark,
    /// what it saw for the first time
    pub gone: Vec<Gone>,
}

/// A note: something ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// its number
    pub id: i64,
    /// which session; `None`: any
    pub hash: Option<TokenHash>,
    /// whether it was announced, by namespace
    pub told: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_idle_time_is_worth_a_write_unless_the_last_end_is_near() {
        let idle = Duration::from_secs(100);
        let session = Session {
            id: 1,
            hash: TokenHash::from_bytes([0; 32]),
            user: "a".into(),
            created_at: 0,
            last_seen_at: 0,
            expires_at: 100,
            ends_at: 1_000,
            idle,
            left: idle - Duration::from_secs(4),
            data: None,
        };
        assert!(!session.deserves_touch(Duration::from_secs(5)));
        assert!(session.deserves_touch(Duration::from_secs(6)));
        assert!(!Session { ends_at: 100, ..session }.deserves_touch(idle));
    }
}
