//! Tokens: what a client shows, and the hash by which everybody else knows it.

use std::{fmt, str::FromStr};

use rand::{TryRngCore as _, rngs::OsRng};
use sha2::{Digest as _, Sha256};

/// What a client shows: 256 random bits of the system, as 64 hexadecimal digits. Whoever has it is the user, so it does not
/// show itself, and is kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken([u8; 32]);

/// The SHA-256 of a token's bits: what is stored. Random bits need no salt and no slow hash: nobody can try them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

/// A text that is no [`SessionToken`] or no [`TokenHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("64 hexadecimal digits in lower case are expected")]
pub struct InvalidToken;

/// The system has no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness to give")]
pub struct NoRandomness;

impl SessionToken {
    /// One that nobody else has.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bits = [0; 32];
        OsRng.try_fill_bytes(&mut bits).map_err(|_| NoRandomness)?;
        Ok(Self(bits))
    }

    /// By what it is known.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }

    /// The text, for the client alone.
    #[must_use]
    pub fn expose(&self) -> String {
        hex(&self.0)
    }
}

impl TokenHash {
    /// Of what is to be known by its hash.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for SessionToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        unhex(text).map(Self)
    }
}

impl FromStr for TokenHash {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        unhex(text).map(Self)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(***)")
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// One spelling only: a token that could be written in two ways would be two for whoever compares texts.
fn unhex(text: &str) -> Result<[u8; 32], InvalidToken> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return Err(InvalidToken);
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Ok(bytes)
}

fn value(digit: u8) -> Result<u8, InvalidToken> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(InvalidToken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_what_it_exposes_and_shows_nothing() {
        let token = SessionToken::random().unwrap();
        assert_eq!(token.expose().parse(), Ok(token.clone()));
        assert_ne!(token, SessionToken::random().unwrap());
        assert_eq!(format!("{token:?}"), "SessionToken(***)");
        assert_eq!(token.hash().to_string().parse(), Ok(token.hash()));
        assert_ne!(token.hash().to_string(), token.expose());
    }

    #[test]
    fn the_hash_is_sha_256_of_the_bits() {
        let zeros: SessionToken = "0".repeat(64).parse().unwrap();
        assert_eq!(zeros.hash().to_string(), "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [String::new(), "0".repeat(63), "0".repeat(65), "A".repeat(64), "é".repeat(32), " ".repeat(64)] {
            assert_eq!(text.parse::<SessionToken>(), Err(InvalidToken), "{text}");
        }
    }
}
