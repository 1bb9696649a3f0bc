//! What requests may ask for beyond the rows.

/// What requests may ask for beyond the rows. The default is PostgREST's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Api {
    /// aggregates in `select`, which can make the database work hard for a short answer
    pub aggregates: Permission,
    /// execution plans, which tell how the database is built
    pub plans: Permission,
    /// how the transaction of a write ends
    pub transaction_end: TransactionEnd,
}

/// Whether requests may have something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permission {
    /// they may not
    #[default]
    Refused,
    /// they may
    Granted,
}

/// How the transaction of a write ends, unless the write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionEnd {
    /// without a word from the request
    pub default: Ending,
    /// whether `Prefer: tx=` decides
    pub choice: Permission,
}

/// The end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// what was written stays
    #[default]
    Commit,
    /// nothing stays
    Rollback,
}

impl Permission {
    /// Of a setting that is `true` or `false`.
    pub(super) fn of(text: &str) -> Self {
        if text == "true" { Self::Granted } else { Self::Refused }
    }
}

impl TransactionEnd {
    /// The words of `db_tx_end`.
    pub(super) const WORDS: &'static [&'static str] =
        &["commit", "commit-allow-override", "rollback", "rollback-allow-override"];

    pub(super) fn of(text: &str) -> Self {
        let (default, choice) = match text {
            "commit-allow-override" => (Ending::Commit, Permission::Granted),
            "rollback" => (Ending::Rollback, Permission::Refused),
            "rollback-allow-override" => (Ending::Rollback, Permission::Granted),
            _ => (Ending::Commit, Permission::Refused),
        };
        Self { default, choice }
    }
}
