//! The name under which an answer is stored.

use std::{
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
    ptr,
    sync::Arc,
};

use xxhash_rust::xxh3::Xxh3;

/// Everything that the answer may depend on, in canonical bytes, with their digest.
///
/// Two keys are equal only if all their bytes are: a digest that collides can cost a miss and never an answer that
/// belongs to another request (C6).
///
/// Keys that begin alike may keep their beginning together: where it ends makes no difference to what a key is.
#[derive(Clone)]
pub struct CacheKey {
    digest: u128,
    beginning: Option<Arc<[u8]>>,
    rest: Arc<[u8]>,
}

/// So many hold the beginning of a key although nobody else shares it: who keeps beginnings, who asks, and what is stored.
const HOLDERS: usize = 4;

impl CacheKey {
    /// A key of these canonical bytes.
    #[must_use]
    pub fn new(canonical: impl Into<Arc<[u8]>>) -> Self {
        Self::of_parts(None, canonical.into())
    }

    /// A key whose canonical bytes begin with some that other keys begin with too.
    #[must_use]
    pub fn beginning(beginning: Arc<[u8]>, rest: impl Into<Arc<[u8]>>) -> Self {
        Self::of_parts(Some(beginning), rest.into())
    }

    fn of_parts(beginning: Option<Arc<[u8]>>, rest: Arc<[u8]>) -> Self {
        let mut hash = Xxh3::new();
        hash.update(beginning.as_deref().unwrap_or_default());
        hash.update(&rest);
        Self { digest: hash.digest128(), beginning, rest }
    }

    /// The canonical bytes, in two parts: what other keys may begin with too, and what follows.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        [self.beginning.as_deref().unwrap_or_default(), &self.rest]
    }

    /// How many canonical bytes there are.
    #[must_use]
    pub fn length(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// Whether these are the canonical bytes.
    #[must_use]
    pub fn is(&self, canonical: &[u8]) -> bool {
        let [beginning, rest] = self.parts();
        canonical.strip_prefix(beginning) == Some(rest)
    }

    /// Bytes of memory that this key accounts for by now: its share of the beginning, and what follows.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.rest.len() + self.beginning.as_ref().map_or(0, share)
    }

    /// xxh3-128 of the canonical bytes: the same on every node, and so the name in L2.
    #[must_use]
    pub fn digest(&self) -> u128 {
        self.digest
    }
}

/// Bytes of something kept once for all, for which each of them accounts.
#[must_use]
pub fn share<T: AsRef<[u8]> + ?Sized>(kept: &Arc<T>) -> usize {
    (**kept).as_ref().len() * HOLDERS / Arc::strong_count(kept).max(HOLDERS)
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        let ([beginning, rest], [its_beginning, its_rest]) = (self.parts(), other.parts());
        let is_same = |one: &[u8], another: &[u8]| ptr::eq(one, another) || one == another;
        if self.digest != other.digest {
            false
        } else if beginning.len() == its_beginning.len() {
            is_same(beginning, its_beginning) && is_same(rest, its_rest)
        } else {
            self.parts().concat() == other.parts().concat()
        }
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a digest is as good a hash as any")]
        state.write_u64(self.digest as u64);
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.digest)
    }
}

/// A hasher for keys that are digests already.
pub(crate) type DigestHasher = BuildHasherDefault<Digested>;

/// Passes the digest on; see [`DigestHasher`].
#[derive(Default)]
pub(crate) struct Digested(u64);

impl Hasher for Digested {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_its_beginning_ends_makes_no_difference_to_a_key() {
        let whole = CacheKey::new(&b"flights|1"[..]);
        for end in 0..=9 {
            let (beginning, rest) = b"flights|1".split_at(end);
            let parted = CacheKey::beginning(beginning.into(), rest);
            assert_eq!(parted, whole);
            assert_eq!(whole, parted);
            assert_eq!(parted.digest(), whole.digest());
            assert!(parted.is(b"flights|1") && parted.length() == 9);
            assert!(!parted.is(b"flights|2") && !parted.is(b"flights|") && !parted.is(b"flights|11"));
            assert_ne!(parted, CacheKey::beginning(beginning.into(), [rest, b"2"].concat()));
        }
    }

    #[test]
    fn what_many_share_weighs_little_in_each() {
        let beginning: Arc<[u8]> = [0; 1_000].into();
        let keys: Vec<CacheKey> = (0..99_u8).map(|number| CacheKey::beginning(beginning.clone(), [number])).collect();
        assert_eq!(keys[0].weight(), 41, "a hundred hold it");
        drop(keys);
        assert_eq!(CacheKey::beginning(beginning, [1]).weight(), 1_001, "nobody else does");
    }
}
