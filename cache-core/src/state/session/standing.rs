//! What is held against a user: for tokens that somebody else issued, and that nobody here can delete.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::{TokenHash, memory};
use crate::{entry::Value, error::CodecError, key::CacheKey, tag::Tag};

/// What is held against a user. The default: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// seconds since 1970 by the store's clock: tokens that were issued before are refused
    pub not_before: u64,
    /// all tokens are refused, whenever they were issued
    pub banned: bool,
}

impl Standing {
    /// Whether a token counts that was issued in this second; one that does not say when, in second 0.
    #[must_use]
    pub fn accepts(&self, issued_at: u64) -> bool {
        !self.banned && issued_at >= self.not_before
    }
}

impl Value for Standing {
    fn weight(&self) -> usize {
        size_of::<Self>()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.not_before);
        out.put_u8(u8::from(self.banned));
    }

    fn decode(mut bytes: Bytes) -> Result<Self, CodecError> {
        let not_before = bytes.try_get_u64_le().map_err(|_| CodecError::NotAnEntry)?;
        match (bytes.try_get_u8(), bytes.is_empty()) {
            (Ok(banned @ (0 | 1)), true) => Ok(Self { not_before, banned: banned == 1 }),
            _ => Err(CodecError::NotAnEntry),
        }
    }
}

/// A user, with the hash under which standings are kept: names may be long, and have braces. Made once for many questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: Arc<str>,
    hash: TokenHash,
    key: CacheKey,
}

impl User {
    /// By the name that tokens and the store have for it.
    #[must_use]
    pub fn new(name: Arc<str>) -> Self {
        let hash = TokenHash::of(name.as_bytes());
        Self { name, hash, key: memory::key(&hash) }
    }

    pub(super) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SHA-256 of its name: by this a store notes that its standing changed.
    #[must_use]
    pub fn hash(&self) -> &TokenHash {
        &self.hash
    }

    /// What its standing carries in the tiers. What else is to end with every change of that, in caches beside, may carry it as
    /// well, and then is also heard of by the notes, where announcements do not reach.
    #[must_use]
    pub fn tag(&self) -> Tag {
        memory::tag(&self.hash)
    }
}

/// What is to change for a user, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// whom it is about
    pub user: Arc<str>,
    /// its sessions
    pub ends: Ends,
    /// its tokens
    pub tokens: Tokens,
}

/// Which sessions of a user end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ends {
    /// none
    Nothing,
    /// the one of this token
    One(TokenHash),
    /// all, perhaps but one
    AllBut(Option<TokenHash>),
}

/// Which tokens of a user end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// none
    Keep,
    /// those issued until now
    Outdate,
    /// all, also those to come, until `Readmit`; and no sessions are created until then
    Ban,
    /// those issued until now; others count again
    Readmit,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// how many sessions ended
    pub ended: u64,
    /// what is held against the user from now on
    pub standing: Standing,
    /// the notes of it
    pub noted: Vec<i64>,
    /// whether the peers were told at once; a store leaves it `false`
    pub announced: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_count_from_the_second_on_and_no_ban_has_an_end() {
        assert!(Standing::default().accepts(0));
        let outdated = Standing { not_before: 10, banned: false };
        assert!(!outdated.accepts(0) && !outdated.accepts(9) && outdated.accepts(10));
        assert!(!Standing { not_before: 0, banned: true }.accepts(u64::MAX));
    }

    #[test]
    fn a_standing_reads_back_what_it_writes_and_nothing_else() {
        let standing = Standing { not_before: 1_795_661_131, banned: true };
        let mut out = Vec::new();
        standing.encode(&mut out);
        assert_eq!(Standing::decode(Bytes::from(out.clone())), Ok(standing));
        for length in 0..out.len() {
            assert!(Standing::decode(Bytes::copy_from_slice(&out[..length])).is_err());
        }
        out[8] = 2;
        assert!(Standing::decode(Bytes::from(out)).is_err());
    }
}
