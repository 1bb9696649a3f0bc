//! The name that a write leaves in the database's log, so that whoever announces it can say whose it was.
//!
//! A message of the transaction itself: it is decoded if and when the transaction is committed, between its changes and
//! its end. Anybody who may change the database may write one; a name that nobody waits for is not heard of.

use std::collections::BTreeSet;

use cache_core::coherence::WriteId;
use parking_lot::Mutex;

use crate::rest::TableId;

/// Marks our messages in the log.
pub const LOG_PREFIX: &str = "transom";
const WRITE: &str = "write ";

/// What a write leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub WriteId);

impl Signature {
    /// Reads a message of the log. `None` if it is none of a write.
    #[must_use]
    pub fn parse(prefix: &str, content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok().filter(|_| prefix == LOG_PREFIX)?;
        text.strip_prefix(WRITE)?.parse().ok().map(Self)
    }

    /// Leaves it and commits, in one message to the server: if the first fails the second is not tried.
    pub(super) fn commit_sql(self) -> String {
        format!("SELECT pg_catalog.{FUNCTION}(true, '{LOG_PREFIX}', '{WRITE}{}'); COMMIT", self.0)
    }
}

const FUNCTION: &str = "pg_logical_emit_message";

/// How a committed write is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// whoever decodes the log finds its name there
    Yes,
    /// nobody will know it
    No,
}

/// Decides, once it is known what a write changed, whether it signs.
pub type Sign<'s> = &'s (dyn Fn(&[TableId]) -> Option<Signature> + Send + Sync);

/// Roles that may not write to the log; an empty name is that of the connection. Learned when one is refused, and forgotten
/// with the process.
#[derive(Debug, Default)]
pub(super) struct Unsigned(Mutex<BTreeSet<String>>);

impl Unsigned {
    pub(super) fn contains(&self, role: Option<&str>) -> bool {
        self.0.lock().contains(role.unwrap_or_default())
    }

    pub(super) fn add(&self, role: Option<&str>) {
        if self.0.lock().insert(role.unwrap_or_default().to_owned()) {
            let role = role.unwrap_or("of the connection");
            tracing::warn!(
                role,
                "the role may not call {FUNCTION}: its writes are announced as changes of whole tables; grant execute on it, \
                 and restart"
            );
        }
    }
}

/// Whether this is the refusal to call the function. Its name is part of the message in every language.
pub(super) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|refusal| {
        *refusal.code() == tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE
            && refusal.message().contains(FUNCTION)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_gives_back_what_a_write_left() {
        let signature = Signature(WriteId::from_u128(0xab));
        let sql = signature.commit_sql();
        let content = sql.split('\'').nth(3).expect("the content is the second text");
        assert_eq!(content, "write 000000000000000000000000000000ab");
        assert_eq!(Signature::parse(LOG_PREFIX, content.as_bytes()), Some(signature));
        assert_eq!(Signature::parse("other", content.as_bytes()), None);
        for other in ["", "write", "write ", "write ab", "beat s1 1 - v", "write 000000000000000000000000000000ab "] {
            assert_eq!(Signature::parse(LOG_PREFIX, other.as_bytes()), None, "{other}");
        }
        assert_eq!(Signature::parse(LOG_PREFIX, b"write \xff"), None);
    }
}
