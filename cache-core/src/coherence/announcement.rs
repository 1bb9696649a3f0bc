//! What travels between nodes: epochs, sequence numbers, tokens, announcements.

use std::{fmt, str::FromStr};

use smallvec::SmallVec;

use crate::tag::Slots;

/// Names one unbroken history of announcements. Random, so that two histories never share a name; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub(super) u64);

impl Epoch {
    /// A new name.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random::<u64>().max(1))
    }

    /// From its number; zero is no epoch.
    #[must_use]
    pub fn from_u64(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| hex);
        number.and_then(Self::from_u64).ok_or(InvalidToken)
    }
}

/// Place of an announcement in the order of its epoch; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// Proof of an announced write: a reader that shows it never gets a state from before it (C5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// the history in which the write was announced
    pub epoch: Epoch,
    /// its place there
    pub seq: Seq,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq.0)
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (epoch, seq) = text.split_once(':').ok_or(InvalidToken)?;
        let digits = !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit());
        let seq = seq.parse().ok().filter(|_| digits).ok_or(InvalidToken)?;
        Ok(Self { epoch: epoch.parse()?, seq: Seq(seq) })
    }
}

/// The text is not `<16 hex digits>:<decimal number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is 16 hexadecimal digits, a colon and a decimal number")]
pub struct InvalidToken;

/// Names a transaction that went through a proxy, so that its proxy recognizes its announcement. Random, and long enough
/// that nobody guesses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WriteId(u128);

impl WriteId {
    /// A new name.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// From its number.
    #[must_use]
    pub fn from_u128(number: u128) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for WriteId {
    type Err = InvalidWriteId;

    fn from_str(text: &str) -> Result<Self, InvalidWriteId> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|_| digits).map(Self).ok_or(InvalidWriteId)
    }
}

/// The text is not 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a write is 32 hexadecimal digits")]
pub struct InvalidWriteId;

/// How far an announcement reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Data changed. What is stored stays usable where stale answers are allowed (RFC 5861).
    Change,
    /// An operator purged: what is stored must not be served again, not even stale.
    Purge,
}

/// "These slots changed."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// the history it belongs to
    pub epoch: Epoch,
    /// its place there
    pub seq: Seq,
    /// how far it reaches
    pub kind: Kind,
    /// the slots it raises
    pub slots: Slots,
    /// writes through proxies that it covers, by name; not all of them need be named
    pub writes: SmallVec<[WriteId; 1]>,
}

/// What a poll answers: where the history stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// the current history
    pub epoch: Epoch,
    /// its last announcement
    pub seq: Seq,
    /// its last hard purge, or 0
    pub purged: Seq,
    /// whether what is current is also known to be complete
    pub trusted: Trusted,
}

/// Whether a position is known to be complete, so that a lease may be granted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    /// it is
    Yes,
    /// nobody polled for a while: a writer may still owe an announcement from that time
    Quiet,
    /// nobody vouches for the change feed
    Unvouched,
}

/// What a resync reads: the position and the whole table as of it, in one atomic step.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// where the history stood
    pub position: Position,
    /// the `seq` of every slot
    pub table: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_what_it_writes() {
        let token = Token { epoch: Epoch(0xabc), seq: Seq(42) };
        assert_eq!(token.to_string(), "0000000000000abc:42");
        assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn the_name_of_a_write_reads_back_what_it_writes() {
        let write = WriteId::from_u128(0xabc);
        assert_eq!(write.to_string().parse(), Ok(write));
        for text in ["", "abc", "+0000000000000000000000000000abc", "00000000000000000000000000000000a"] {
            assert_eq!(text.parse::<WriteId>(), Err(InvalidWriteId), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ":",
            "abc:1",
            "0000000000000abc:",
            "0000000000000abc:-1",
            "0000000000000000:1",
            "+000000000000abc:1",
            "0000000000000abc:99999999999999999999",
        ] {
            assert_eq!(text.parse::<Token>(), Err(InvalidToken), "{text}");
        }
    }
}
