//! Names that callers give to what they share.

use std::{fmt, sync::Arc};

use xxhash_rust::xxh3::xxh3_128;

/// A name of 1 to 200 visible ASCII characters without braces: those mark the part of a key by which Redis Cluster places
/// it, and a name must not move its own keys apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(Arc<str>);

/// A text that is no [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {NAME_BYTES_MAX} visible ASCII characters, and no braces")]
pub struct InvalidName;

/// Longest name; it is part of keys.
const NAME_BYTES_MAX: usize = 200;

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}'));
        if plain && (1..=NAME_BYTES_MAX).contains(&text.len()) { Ok(Self(text.into())) } else { Err(InvalidName) }
    }

    /// The text as a name, or the hash of one that is none.
    #[must_use]
    pub fn or_hash(text: &str) -> Self {
        Self::new(text).unwrap_or_else(|_| Self(format!("#{:032x}", xxh3_128(text.as_bytes())).into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_move_its_keys_apart() {
        for sound in ["a", "jobs/nightly", "user:42", &"n".repeat(200)] {
            assert_eq!(Name::new(sound).unwrap().as_str(), sound);
        }
        for wrong in ["", "a b", "a{b}", "}", "naïve", "line\n", &"n".repeat(201)] {
            assert_eq!(Name::new(wrong), Err(InvalidName), "{wrong:?}");
            assert!(Name::or_hash(wrong).as_str().starts_with('#'), "{wrong:?}");
        }
    }
}
