//! How a session is kept in the tiers: key, tags, bytes.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes};

use super::{Session, TokenHash};
use crate::{
    entry::Value,
    error::CodecError,
    key::CacheKey,
    tag::{Tag, Tags},
};

/// The key: the hash, as it is written.
pub(super) fn key(hash: &TokenHash) -> CacheKey {
    CacheKey::new(hash.to_string().into_bytes())
}

/// The tag of one session.
pub(super) fn tag(hash: &TokenHash) -> Tag {
    Tag::of_row(&format!("session:{hash}"))
}

/// The tag of all sessions of a user.
pub(super) fn tag_of_user(user: &str) -> Tag {
    Tag::of_row(&format!("sessions of:{user}"))
}

/// The tag of all sessions.
pub(super) fn tag_of_all() -> Tag {
    Tag::named("sessions")
}

/// What a stored standing depends on.
pub(super) fn tags_of_standing(user: &TokenHash) -> Tags {
    [Tag::everything(), tag_of_all(), tag(user)].into_iter().collect()
}

/// What a stored session depends on.
pub(super) fn tags(session: &Session) -> Tags {
    [Tag::everything(), tag_of_all(), tag_of_user(&session.user), tag(&session.hash)].into_iter().collect()
}

impl Value for Session {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.user.len() + self.data.as_ref().map_or(0, |data| data.len())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_slice(self.hash.as_bytes());
        out.put_i64_le(self.id);
        for millis in [self.created_at, self.last_seen_at, self.expires_at, self.ends_at] {
            out.put_u64_le(millis);
        }
        for duration in [self.idle, self.left] {
            out.put_u64_le(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        }
        out.put_u32_le(u32::try_from(self.user.len()).unwrap_or(u32::MAX));
        out.put_slice(self.user.as_bytes());
        out.put_u8(u8::from(self.data.is_some()));
        out.put_slice(self.data.as_deref().unwrap_or_default().as_bytes());
    }

    fn decode(mut bytes: Bytes) -> Result<Self, CodecError> {
        let mut hash = [0; 32];
        bytes.try_copy_to_slice(&mut hash).map_err(|_| CodecError::NotAnEntry)?;
        let id = bytes.try_get_i64_le().map_err(|_| CodecError::NotAnEntry)?;
        let mut number = || bytes.try_get_u64_le().map_err(|_| CodecError::NotAnEntry);
        let [created_at, last_seen_at, expires_at, ends_at] = [number()?, number()?, number()?, number()?];
        let [idle, left] = [Duration::from_millis(number()?), Duration::from_millis(number()?)];
        let length = bytes.try_get_u32_le().map_err(|_| CodecError::NotAnEntry)? as usize;
        if bytes.len() < length {
            return Err(CodecError::NotAnEntry);
        }
        let user = text(&bytes.split_to(length))?;
        let has_data = bytes.try_get_u8().map_err(|_| CodecError::NotAnEntry)? == 1;
        let data = has_data.then(|| text(&bytes)).transpose()?;
        let hash = TokenHash::from_bytes(hash);
        Ok(Self { id, hash, user, created_at, last_seen_at, expires_at, ends_at, idle, left, data })
    }
}

fn text(bytes: &[u8]) -> Result<Arc<str>, CodecError> {
    std::str::from_utf8(bytes).map(Arc::from).map_err(|_| CodecError::NotAnEntry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::session::SessionToken;

    #[test]
    fn a_session_reads_back_what_it_writes_and_nothing_that_is_cut_short() {
        for data in [None, Some(Arc::from("{\"a\": 1}"))] {
            let session = Session {
                id: 7,
                hash: SessionToken::random().unwrap().hash(),
                user: Arc::from("alice"),
                created_at: 1,
                last_seen_at: 2,
                expires_at: 3,
                ends_at: 4,
                idle: Duration::from_secs(5),
                left: Duration::from_secs(4),
                data,
            };
            let mut out = Vec::new();
            session.encode(&mut out);
            assert_eq!(Session::decode(Bytes::from(out.clone())), Ok(session));
            for length in 0..(32 + 8 * 7 + 4 + 5 + 1) {
                assert_eq!(Session::decode(Bytes::copy_from_slice(&out[..length])), Err(CodecError::NotAnEntry));
            }
        }
    }
}
