//! The name that a write leaves in the database, so that whoever announces it can say whose it was.
//!
//! In the log it is a message of the transaction itself: it is decoded if and when the transaction is committed, between its
//! changes and its end. Where triggers record it is put on what they recorded. Anybody who may change the database may leave
//! one; a name that nobody waits for is not heard of.

use std::{collections::BTreeSet, sync::LazyLock};

use cache_core::coherence::WriteId;
use parking_lot::Mutex;
use tokio_postgres::error::SqlState;

use super::failure::Failure;
use crate::rest::TableId;

/// Marks our messages in the log.
pub const LOG_PREFIX: &str = "transom";
const WRITE: &str = "write ";

/// Where a write leaves its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// in the database's log
    Log,
    /// where triggers record what changed
    Outbox,
}

impl Place {
    fn function(self) -> &'static str {
        match self {
            Self::Log => LOG_FUNCTION,
            Self::Outbox => SIGN_FUNCTION,
        }
    }
}

const LOG_FUNCTION: &str = "pg_catalog.pg_logical_emit_message";
/// Puts the name of a write on what its transaction recorded.
pub const SIGN_FUNCTION: &str = "transom.sign_write";

static LOG_SQL: LazyLock<String> = LazyLock::new(|| format!("SELECT {LOG_FUNCTION}(true, '{LOG_PREFIX}', $1::text)"));
static SIGN_SQL: LazyLock<String> = LazyLock::new(|| format!("SELECT {SIGN_FUNCTION}($1)"));

/// What a write leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// its name
    pub write: WriteId,
    /// where it leaves it
    pub place: Place,
}

impl Signature {
    /// The name in a message of the log. `None` if it is none of a write.
    #[must_use]
    pub fn in_log(prefix: &str, content: &[u8]) -> Option<WriteId> {
        let text = std::str::from_utf8(content).ok().filter(|_| prefix == LOG_PREFIX)?;
        text.strip_prefix(WRITE)?.parse().ok()
    }

    /// The statement that leaves it; its one parameter is the [`text`](Self::text).
    pub(super) fn sql(self) -> &'static str {
        match self.place {
            Place::Log => &LOG_SQL,
            Place::Outbox => &SIGN_SQL,
        }
    }

    /// What is left.
    pub(super) fn text(self) -> String {
        match self.place {
            Place::Log => format!("{WRITE}{}", self.write),
            Place::Outbox => self.write.to_string(),
        }
    }

    /// Whether this is the refusal to call the function, or says that there is none. Its name, or that of its schema, is part
    /// of the message in every language.
    pub(super) fn is_refused(self, error: &Failure) -> bool {
        let (schema, function) = self.place.function().split_once('.').unwrap_or_default();
        error.refusal().is_some_and(|refusal| {
            REFUSALS.contains(&refusal.state) && [schema, function].iter().any(|name| refusal.message.contains(name))
        })
    }
}

const REFUSALS: [SqlState; 3] =
    [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::UNDEFINED_FUNCTION, SqlState::INVALID_SCHEMA_NAME];

/// How a committed write is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// whoever announces it finds its name there
    Yes,
    /// nobody will know it
    No,
}

/// Decides, once it is known what a write changed, whether it signs.
pub type Sign<'s> = &'s (dyn Fn(&[TableId]) -> Option<Signature> + Send + Sync);

/// Roles that may not sign; an empty name is that of the connection. Learned when one is refused, and forgotten
/// with the process.
#[derive(Debug, Default)]
pub(super) struct Unsigned(Mutex<BTreeSet<String>>);

impl Unsigned {
    pub(super) fn contains(&self, role: Option<&str>) -> bool {
        self.0.lock().contains(role.unwrap_or_default())
    }

    pub(super) fn add(&self, role: Option<&str>, place: Place) {
        if self.0.lock().insert(role.unwrap_or_default().to_owned()) {
            let (role, function) = (role.unwrap_or("of the connection"), place.function());
            tracing::warn!(
                role,
                "the role may not call {function}: its writes are announced as changes of whole tables; grant execute on it, \
                 and restart"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_gives_back_what_a_write_left() {
        let signature = Signature { write: WriteId::from_u128(0xab), place: Place::Log };
        let content = signature.text();
        assert_eq!(content, "write 000000000000000000000000000000ab");
        assert_eq!(Signature::in_log(LOG_PREFIX, content.as_bytes()), Some(signature.write));
        assert_eq!(Signature::in_log("other", content.as_bytes()), None);
        for other in ["", "write", "write ", "write ab", "beat s1 1 - v", "write 000000000000000000000000000000ab "] {
            assert_eq!(Signature::in_log(LOG_PREFIX, other.as_bytes()), None, "{other}");
        }
        assert_eq!(Signature::in_log(LOG_PREFIX, b"write \xff"), None);
    }
}
