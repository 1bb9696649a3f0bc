//! What may somebody do? Answers of the origin about one subject, kept until something that they depend on changes, or until
//! somebody says that they are over.
//!
//! An answer carries the tags of what it was read from, which the change feed announces, and two of its own: that of its
//! subject, and that of all subjects of its kind. So it is as coherent as any entry, and can be forgotten by whoever knows
//! only whom it is about.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use super::session::{InvalidToken, TokenHash};
use crate::{
    cache::{Sought, TwoTier, Wanted},
    coherence::Kind,
    dependence::Dependence,
    entry::{Entry, Lifetimes, Value},
    error::RedisError,
    key::CacheKey,
    tag::{Tag, Tags},
};

/// What subjects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubjectKind {
    /// somebody who logs in
    User,
    /// a key that a program shows
    ApiKey,
    /// what has a configuration of its own
    Project,
}

impl SubjectKind {
    /// The word for it in tags and keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "api-key",
            Self::Project => "project",
        }
    }

    /// What every answer about a subject of this kind carries.
    #[must_use]
    pub fn tag(self) -> Tag {
        Tag::named(&format!("permission:{}:*", self.as_str()))
    }
}

/// Whom an answer is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    kind: SubjectKind,
    name: Arc<str>,
}

impl Subject {
    /// A user, by the name that the origin knows.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self { kind: SubjectKind::User, name: name.into() }
    }

    /// Whoever shows the key with this hash.
    #[must_use]
    pub fn api_key(hash: &ApiKeyHash) -> Self {
        Self { kind: SubjectKind::ApiKey, name: hash.to_string().into() }
    }

    /// A project, by the name that the origin knows.
    #[must_use]
    pub fn project(name: &str) -> Self {
        Self { kind: SubjectKind::Project, name: name.into() }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// Its name; of a key, the hash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What every answer about it carries.
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag::named(&format!("permission:{}={}", self.kind.as_str(), self.name))
    }

    /// The key of an answer about it. Names of users may have braces, which a key beside others may not.
    fn key(&self) -> CacheKey {
        let name = TokenHash::of(self.name.as_bytes());
        CacheKey::new(format!("{}:{name}", self.kind.as_str()).into_bytes())
    }
}

/// The SHA-256 of a key that programs show, as 64 hexadecimal digits: all that is kept of it. A key has to be random, or who
/// reads its hash can try others until one fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApiKeyHash(TokenHash);

impl ApiKeyHash {
    /// Of a key as it was shown.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(TokenHash::of(key.as_bytes()))
    }
}

impl fmt::Display for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ApiKeyHash {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        text.parse().map(Self)
    }
}

/// Answers about subjects, from the tiers or else from the origin.
pub struct Permissions<V: Value> {
    cache: TwoTier<V>,
    lifetimes: Lifetimes,
}

impl<V: Value> Permissions<V> {
    /// Answers that are kept there for so long: in a cache of their own, or [beside](TwoTier::beside) another.
    #[must_use]
    pub fn new(cache: TwoTier<V>, kept_for: Duration) -> Self {
        Self { cache, lifetimes: Lifetimes::never_stale(kept_for) }
    }

    /// What is known of a subject: stored, or else what `read` brings, with the tags of what it was read from. Never older
    /// than `max_staleness`, if whoever changes what it was read from announces these tags, or [forgets](Self::forget) it.
    ///
    /// # Errors
    /// Those of `read`. Nothing stored stands in: nobody may do something because the origin is away.
    pub async fn ask<E>(
        &self,
        subject: &Subject,
        read: impl Future<Output = Result<(V, Vec<Tag>), E>>,
    ) -> Result<Arc<Entry<V>>, E> {
        let own = [Tag::everything(), subject.tag(), subject.kind.tag()];
        let key = subject.key();
        let on = Dependence::on(own.into_iter().collect());
        let ticket = match self.cache.seek(&key, &on, Wanted::FreshAnswer).await {
            Sought::Found { found, .. } => return Ok(found.entry),
            Sought::Missing { ticket, .. } => ticket,
        };
        let (value, tags) = read.await?;
        let tags: Tags = own.into_iter().chain(tags).collect();
        Ok(self.cache.store(ticket.depending_on(tags), value, self.lifetimes).0)
    }

    /// See [`forget`].
    ///
    /// # Errors
    /// See [`forget`].
    pub async fn forget(&self, tag: Tag) -> Result<(), RedisError> {
        forget(&self.cache, tag).await
    }
}

/// Makes answers with this tag untrue: that of a [subject](Subject::tag), or of all of a [kind](SubjectKind::tag). On return no
/// node gives one that was read before, also if some of them cannot reach Redis: so it takes `max_staleness`. Nodes that do
/// without Redis hear nothing of each other; there the change feed alone tells.
///
/// # Errors
/// If Redis did not take the announcement: to be repeated. This node has forgotten, and will tell its peers.
pub async fn forget<V: Value>(cache: &TwoTier<V>, tag: Tag) -> Result<(), RedisError> {
    cache.announce([tag], Kind::Purge).await?;
    let bound = cache.coherence().max_staleness();
    // What a peer filled itself is good for a bound, a lease that does not know of the announcement for half of one. The
    // clocks of nodes do not run alike to the microsecond.
    tokio::time::sleep(bound + bound / 64).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_told_from_others_by_kind_and_name() {
        let hash = ApiKeyHash::of("a key");
        let subjects = [Subject::user("a"), Subject::user("b"), Subject::project("a"), Subject::api_key(&hash)];
        for (i, one) in subjects.iter().enumerate() {
            for other in &subjects[..i] {
                assert_ne!(one.tag(), other.tag());
                assert_ne!(one.key(), other.key());
            }
        }
        assert_eq!(subjects[3].name(), hash.to_string());
        assert_ne!(Subject::user("*").tag(), SubjectKind::User.tag());
    }

    #[test]
    fn a_key_is_known_by_its_hash() {
        let hash = ApiKeyHash::of("abc");
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("abc".parse::<ApiKeyHash>().is_err());
    }
}
