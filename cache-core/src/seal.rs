//! Values at rest in Redis, sealed with AES-256-GCM (NIST SP 800-38D) under a ring of keys: the first seals, all open.
//!
//! A sealed value is `key id (8 bytes) | nonce (12) | ciphertext | tag (16)`. What it is stored under, and what it says of
//! itself in clear, is authenticated with it (the *context*): copied to another place, it does not open.
//!
//! Nonces are random, so a key must not seal more than 2^32 values (section 8.3 there): a new first key every month is enough
//! up to 1 500 values a second.

use std::fmt;

use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce, Tag, aead::AeadInPlace as _};
use bytes::{BufMut, Bytes};
use sha2::{Digest as _, Sha256};

use crate::outcome::Unreadable;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// What sealing adds to a value.
pub(crate) const OVERHEAD_BYTES: usize = ID_BYTES + NONCE_BYTES + TAG_BYTES;

/// The keys of a namespace. Does not show itself.
pub struct KeyRing {
    /// the first one seals
    keys: Vec<Key>,
}

struct Key {
    /// names the key without telling it
    id: [u8; ID_BYTES],
    cipher: Aes256Gcm,
}

impl KeyRing {
    /// A ring of these keys; `None` if there are none.
    #[must_use]
    pub fn new(keys: &[[u8; KEY_BYTES]]) -> Option<Self> {
        let keys: Vec<Key> = keys.iter().map(Key::new).collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Appends the sealed value to `out`.
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        let Key { id, cipher } = &self.keys[0];
        let nonce: [u8; NONCE_BYTES] = rand::random();
        out.put_slice(id);
        out.put_slice(&nonce);
        let begin = out.len();
        out.put_slice(plain);
        let tag = cipher
            .encrypt_in_place_detached(Nonce::from_slice(&nonce), context, &mut out[begin..])
            .expect("a value is smaller than 64 GiB");
        out.put_slice(&tag);
    }

    /// Opens a sealed value.
    ///
    /// # Errors
    /// If no key of the ring sealed it, or it is not what was sealed in this context.
    pub(crate) fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
        if sealed.len() < OVERHEAD_BYTES {
            return Err(Unreadable::Damaged);
        }
        let (id, rest) = sealed.split_at(ID_BYTES);
        let (nonce, rest) = rest.split_at(NONCE_BYTES);
        let (ciphertext, tag) = rest.split_at(rest.len() - TAG_BYTES);
        let key = self.keys.iter().find(|key| key.id == id).ok_or(Unreadable::UnknownKey)?;
        let mut plain = ciphertext.to_vec();
        key.cipher
            .decrypt_in_place_detached(Nonce::from_slice(nonce), context, &mut plain, Tag::from_slice(tag))
            .map_err(|_| Unreadable::Forged)?;
        Ok(plain)
    }
}

impl Key {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let digest = Sha256::new().chain_update(b"transom key id").chain_update(key).finalize();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&digest[..ID_BYTES]);
        Self { id, cipher: Aes256Gcm::new(key.into()) }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({})", self.keys.len())
    }
}

/// How a text begins that was sealed by itself.
const TEXT: &[u8; 4] = b"TRNT";

/// Seals what stands by itself under a name in Redis.
pub(crate) fn seal_text(ring: Option<&KeyRing>, name: &str, text: Bytes) -> Bytes {
    let Some(ring) = ring else { return text };
    let mut out = Vec::with_capacity(TEXT.len() + OVERHEAD_BYTES + text.len());
    out.put_slice(TEXT);
    ring.seal(name.as_bytes(), &text, &mut out);
    out.into()
}

/// Opens it. Without a ring everything is as it is, but for what somebody else sealed.
///
/// # Errors
/// If it was not sealed, or does not open.
pub(crate) fn open_text(ring: Option<&KeyRing>, name: &str, text: Bytes) -> Result<Bytes, Unreadable> {
    match (ring, text.strip_prefix(TEXT)) {
        (None, None) => Ok(text),
        (None, Some(_)) => Err(Unreadable::Sealed),
        (Some(_), None) => Err(Unreadable::Unsealed),
        (Some(ring), Some(sealed)) => ring.open(name.as_bytes(), sealed).map(Bytes::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[u8]) -> KeyRing {
        KeyRing::new(&keys.iter().map(|key| [*key; KEY_BYTES]).collect::<Vec<_>>()).unwrap()
    }

    fn sealed(ring: &KeyRing) -> Vec<u8> {
        let mut out = Vec::new();
        ring.seal(b"here", b"secret", &mut out);
        out
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
        let ring = ring(&[1]);
        let there = sealed(&ring);
        assert!(!there.windows(6).any(|bytes| bytes == b"secret"));
        assert_eq!(there.len(), 6 + OVERHEAD_BYTES);
        assert_eq!(ring.open(b"here", &there).unwrap(), b"secret");
        assert_eq!(ring.open(b"elsewhere", &there).unwrap_err(), Unreadable::Forged);
        assert_ne!(sealed(&ring), there, "a nonce was used twice");
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, both, new) = (ring(&[1]), ring(&[2, 1]), ring(&[2]));
        assert_eq!(both.open(b"here", &sealed(&old)).unwrap(), b"secret");
        assert_eq!(new.open(b"here", &sealed(&both)).unwrap(), b"secret");
        assert_eq!(new.open(b"here", &sealed(&old)).unwrap_err(), Unreadable::UnknownKey);
        assert!(KeyRing::new(&[]).is_none());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let ring = ring(&[1]);
        let good = sealed(&ring);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(ring.open(b"here", &bad).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(ring.open(b"here", &good[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn texts_are_read_only_as_they_are_meant() {
        let ring = ring(&[1]);
        let text = Bytes::from_static(b"hello");
        let there = seal_text(Some(&ring), "name", text.clone());
        assert_eq!(open_text(Some(&ring), "name", there.clone()), Ok(text.clone()));
        assert_eq!(open_text(Some(&ring), "other", there.clone()), Err(Unreadable::Forged));
        assert_eq!(open_text(None, "name", there), Err(Unreadable::Sealed));
        assert_eq!(open_text(Some(&ring), "name", text.clone()), Err(Unreadable::Unsealed));
        assert_eq!(open_text(None, "name", seal_text(None, "name", text.clone())), Ok(text));
    }
}
