//! What is counted of shared state.

use cache_core::state::rate::{Decision, Judge, Verdict};
use prometheus::{IntGauge, Registry};

use super::{
    family::{Counters, Grid},
    structures::{StructureMetrics, StructureOperation, StructureResult},
};
use crate::{config::RateScope, error::Error};

/// What is counted of shared state.
pub struct StateMetrics {
    locks: Grid<{ LockOperation::ALL.len() }, { LockResult::ALL.len() }>,
    rates: Grid<{ RateSubject::ALL.len() }, { RateResult::ALL.len() }>,
    events: Counters<{ EventCount::ALL.len() }>,
    streams: IntGauge,
    structures: StructureMetrics,
    sessions: Grid<{ SessionOperation::ALL.len() }, { SessionResult::ALL.len() }>,
}

/// What was asked of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOperation {
    /// a new one
    Create,
    /// whether it is valid
    Validate,
    /// a later end
    Refresh,
    /// its end
    Revoke,
    /// which there are
    List,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionResult {
    /// as asked, by L1
    L1,
    /// as asked, by L2
    L2,
    /// as asked, by Postgres
    Origin,
    /// there is no such session
    Refused,
    /// the request was wrong, or nobody knows
    Failed,
}

impl SessionOperation {
    /// Every operation, in declaration order.
    pub const ALL: [Self; 5] = [Self::Create, Self::Validate, Self::Refresh, Self::Revoke, Self::List];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Validate => "validate",
            Self::Refresh => "refresh",
            Self::Revoke => "revoke",
            Self::List => "list",
        }
    }
}

impl SessionResult {
    /// Every result, in declaration order.
    pub const ALL: [Self; 5] = [Self::L1, Self::L2, Self::Origin, Self::Refused, Self::Failed];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Origin => "origin",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What was asked of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockOperation {
    /// to have it
    Acquire,
    /// to keep it
    Renew,
    /// to give it back
    Release,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockResult {
    /// as asked
    Done,
    /// the lock is, or became, somebody else's
    Refused,
    /// the request was wrong, or what keeps the lock did not answer
    Failed,
}

impl LockOperation {
    /// Every operation, in declaration order.
    pub const ALL: [Self; 3] = [Self::Acquire, Self::Renew, Self::Release];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Renew => "renew",
            Self::Release => "release",
        }
    }
}

impl LockResult {
    /// Every result, in declaration order.
    pub const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::Failed];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateSubject {
    /// requests from one address
    Address,
    /// requests of one user
    User,
    /// requests with one API key
    ApiKey,
    /// all requests
    Everybody,
    /// what a service counts by itself
    Custom,
}

impl RateSubject {
    /// Every subject, in declaration order.
    pub const ALL: [Self; 5] = [Self::Address, Self::User, Self::ApiKey, Self::Everybody, Self::Custom];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => RateScope::Address.as_str(),
            Self::User => RateScope::User.as_str(),
            Self::ApiKey => RateScope::ApiKey.as_str(),
            Self::Everybody => RateScope::Everybody.as_str(),
            Self::Custom => "custom",
        }
    }
}

impl From<RateScope> for RateSubject {
    fn from(scope: RateScope) -> Self {
        match scope {
            RateScope::Address => Self::Address,
            RateScope::User => Self::User,
            RateScope::ApiKey => Self::ApiKey,
            RateScope::Everybody => Self::Everybody,
        }
    }
}

/// What came of a check, and who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateResult {
    /// within the limit of all nodes
    Allowed,
    /// over it
    Refused,
    /// within this node's share, while Redis does not answer
    LocalAllowed,
    /// over it
    LocalRefused,
}

impl RateResult {
    /// Every result, in declaration order.
    pub const ALL: [Self; 4] = [Self::Allowed, Self::Refused, Self::LocalAllowed, Self::LocalRefused];

    /// Of a decision.
    #[must_use]
    pub fn of(decision: &Decision) -> Self {
        match (decision.judge, decision.verdict) {
            (Judge::Cluster, Verdict::Allowed) => Self::Allowed,
            (Judge::Cluster, Verdict::Refused { .. }) => Self::Refused,
            (Judge::Local, Verdict::Allowed) => Self::LocalAllowed,
            (Judge::Local, Verdict::Refused { .. }) => Self::LocalRefused,
        }
    }

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::LocalAllowed => "local-allowed",
            Self::LocalRefused => "local-refused",
        }
    }
}

/// What becomes of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventCount {
    /// by way of this node
    Published,
    /// to one who listens at this node
    Delivered,
    /// to one who listens at this node, who was told so
    Lost,
}

impl EventCount {
    /// Everything there is, in declaration order.
    pub const ALL: [Self; 3] = [Self::Published, Self::Delivered, Self::Lost];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Delivered => "delivered",
            Self::Lost => "lost",
        }
    }
}

impl StateMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let streams = IntGauge::new("transom_event_streams", "Streams of events that are open");
        let streams = streams.expect("our own names are well formed");
        registry.register(Box::new(streams.clone())).expect("each family is registered once");
        Self {
            locks: Grid::new(
                registry,
                "transom_locks_total",
                "Requests for locks, by what was asked and what came of it",
                ["operation", "result"],
                LockOperation::ALL.map(LockOperation::as_str),
                LockResult::ALL.map(LockResult::as_str),
            ),
            rates: Grid::new(
                registry,
                "transom_rate_limit_total",
                "Checks of rate limits, by what they count and what came of it; local: without Redis",
                ["scope", "result"],
                RateSubject::ALL.map(RateSubject::as_str),
                RateResult::ALL.map(RateResult::as_str),
            ),
            events: Counters::new(
                registry,
                "transom_events_total",
                "Events and changes of presence, by what became of them",
                "what",
                EventCount::ALL.map(EventCount::as_str),
            ),
            streams,
            structures: StructureMetrics::new(registry),
            sessions: Grid::new(
                registry,
                "transom_sessions_total",
                "Requests for sessions, by what was asked and what came of it, or which tier said so",
                ["operation", "result"],
                SessionOperation::ALL.map(SessionOperation::as_str),
                SessionResult::ALL.map(SessionResult::as_str),
            ),
        }
    }

    /// Something was asked of sessions.
    pub fn session(&self, operation: SessionOperation, result: SessionResult) {
        self.sessions.count(operation as usize, result as usize);
    }

    /// So many events were published, delivered or lost.
    pub fn events(&self, what: EventCount, count: u64) {
        self.events.add(what as usize, count);
    }

    /// A filter, a counter or an index was asked for something.
    pub fn structure<T>(&self, operation: StructureOperation, answer: &Result<T, Error>) {
        self.structures.count(operation, StructureResult::of(answer));
    }

    /// A stream of events began.
    pub fn stream_opened(&self) {
        self.streams.inc();
    }

    /// A stream of events ended.
    pub fn stream_closed(&self) {
        self.streams.dec();
    }

    /// A limit was checked.
    pub fn rate(&self, subject: RateSubject, result: RateResult) {
        self.rates.count(subject as usize, result as usize);
    }

    /// A lock was asked for, renewed or released.
    pub fn lock(&self, operation: LockOperation, result: LockResult) {
        self.locks.count(operation as usize, result as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_all_is_the_order_of_declaration() {
        assert!(LockOperation::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(SessionOperation::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(SessionResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(EventCount::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(RateSubject::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(RateResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(LockResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    }
}
