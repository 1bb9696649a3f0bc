//! The name under which an answer is stored.

use std::{
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
};

use xxhash_rust::xxh3::xxh3_128;

/// Everything that the answer may depend on, in canonical bytes, with their digest.
///
/// Two keys are equal only if all their bytes are: a digest that collides can cost a miss and never an answer that
/// belongs to another request (C6).
#[derive(Clone)]
pub struct CacheKey {
    digest: u128,
    canonical: Arc<[u8]>,
}

impl CacheKey {
    /// A key of these canonical bytes.
    #[must_use]
    pub fn new(canonical: impl Into<Arc<[u8]>>) -> Self {
        let canonical = canonical.into();
        Self { digest: xxh3_128(&canonical), canonical }
    }

    /// The canonical bytes.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// xxh3-128 of the canonical bytes: the same on every node, and so the name in L2.
    #[must_use]
    pub fn digest(&self) -> u128 {
        self.digest
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.canonical == other.canonical
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
