//! Label values that only the proxy knows. Those shared with the cache are in `cache_core::outcome`.

/// Which part of the proxy a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// the REST API
    Rest,
    /// shared state
    State,
    /// anything else on the service listener
    Other,
}

impl Route {
    /// Every route, in declaration order.
    pub const ALL: [Self; 3] = [Self::Rest, Self::State, Self::Other];

    /// The name used in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::State => "state",
            Self::Other => "other",
        }
    }
}

/// How a request was answered, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// from this node's memory
    HitL1,
    /// from Redis
    HitL2,
    /// from an entry that is not fresh, as some rule allows
    Stale,
    /// from Postgres, by way of the cache
    Miss,
    /// from Postgres, past the cache
    Bypass,
    /// by changing data
    Write,
    /// by what services share
    State,
    /// by saying what a page may send
    Preflight,
    /// with an error made by the proxy or by Postgres
    Error,
}

impl RequestOutcome {
    /// Every outcome, in declaration order.
    pub const ALL: [Self; 9] = [
        Self::HitL1,
        Self::HitL2,
        Self::Stale,
        Self::Miss,
        Self::Bypass,
        Self::Write,
        Self::State,
        Self::Preflight,
        Self::Error,
    ];

    /// The name used in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HitL1 => "hit_l1",
            Self::HitL2 => "hit_l2",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Write => "write",
            Self::State => "state",
            Self::Preflight => "preflight",
            Self::Error => "error",
        }
    }
}

/// How it ended that the schema was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reload {
    /// it is another one
    Changed,
    /// it is the same
    Unchanged,
    /// it could not be read
    Failed,
}

impl Reload {
    /// Every end, in declaration order.
    pub const ALL: [Self; 3] = [Self::Changed, Self::Unchanged, Self::Failed];

    /// The name used in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

/// What Postgres was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// answer a read
    Read,
    /// change data
    Write,
    /// describe its schema
    Schema,
    /// answer a read again, for the auditor
    Audit,
    /// keep what services share
    State,
}

impl Operation {
    /// Every operation, in declaration order.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Schema, Self::Audit, Self::State];

    /// The name used in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Schema => "schema",
            Self::Audit => "audit",
            Self::State => "state",
        }
    }
}

/// Why a hit that was to be audited was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditSkip {
    /// too many were waiting
    QueueFull,
    /// requests needed the connections to Postgres
    PoolBusy,
    /// Postgres did not answer, or not with an answer to the question
    Failed,
    /// the rows differ, and the question leaves open which ones it wants
    Undetermined,
}

impl AuditSkip {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::PoolBusy, Self::Failed, Self::Undetermined];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::PoolBusy => "pool-busy",
            Self::Failed => "failed",
            Self::Undetermined => "undetermined",
        }
    }
}
