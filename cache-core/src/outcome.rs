//! Names for what happened. The same enums feed headers, metric labels and logs, so that the three never disagree.

/// A cache tier: L1 is this node's memory, L2 is the shared Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// moka, in the process
    L1,
    /// Redis, shared by all nodes of a namespace
    L2,
}

impl Tier {
    /// Every tier, in the order in which they are asked.
    pub const ALL: [Self; 2] = [Self::L1, Self::L2];

    /// The name used in headers, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
        }
    }
}

/// What one tier answered to one lookup. "Absent" and "could not be asked" are different answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TierResult {
    /// found and fresh
    Hit,
    /// nothing stored under the key
    Absent,
    /// found, but its freshness lifetime is over
    Expired,
    /// found, but one of its tags was announced since, or its epoch is over
    Incoherent,
    /// found, but this node cannot prove that it heard every announcement since the fill
    Unproven,
    /// the tier was not asked or did not answer (breaker open, timeout, no lease)
    Unavailable,
}

impl TierResult {
    /// Every result, in declaration order.
    pub const ALL: [Self; 6] =
        [Self::Hit, Self::Absent, Self::Expired, Self::Incoherent, Self::Unproven, Self::Unavailable];

    /// The name used in headers, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Absent => "absent",
            Self::Expired => "expired",
            Self::Incoherent => "incoherent",
            Self::Unproven => "unproven",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why an entry that is not fresh was served all the same (RFC 5861).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StaleReason {
    /// the origin failed and `stale_if_error` allows it
    IfError,
    /// a revalidation runs behind it and `stale_while_revalidate` allows it
    WhileRevalidate,
    /// the request said `Cache-Control: max-stale`
    RequestAllows,
}

impl StaleReason {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 3] = [Self::IfError, Self::WhileRevalidate, Self::RequestAllows];

    /// The name used in headers, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IfError => "stale-if-error",
            Self::WhileRevalidate => "stale-while-revalidate",
            Self::RequestAllows => "max-stale",
        }
    }
}

/// How a collapsed wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CollapseEnd {
    /// the leader's answer was shared
    Shared,
    /// the leader failed and the failure was shared
    Failed,
    /// the waiter's patience ran out
    Impatient,
}

impl CollapseEnd {
    /// Every end, in declaration order.
    pub const ALL: [Self; 3] = [Self::Shared, Self::Failed, Self::Impatient];

    /// The name used in headers, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Failed => "failed",
            Self::Impatient => "impatient",
        }
    }
}

/// What came of asking the peers for the right to fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseResult {
    /// nobody was filling: this node does
    Granted,
    /// a peer was filling, and its entry came
    WaitedHit,
    /// a peer was filling, and no entry came: it failed, died, or its answer is not stored
    WaitedExpired,
    /// a peer was filling, and an announcement outdated that
    Voided,
    /// nobody could be asked: Redis is away, or coherence cannot be proven
    Unavailable,
}

impl LeaseResult {
    /// Every result, in declaration order.
    pub const ALL: [Self; 5] = [Self::Granted, Self::WaitedHit, Self::WaitedExpired, Self::Voided, Self::Unavailable];

    /// The name used in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::WaitedHit => "waited-hit",
            Self::WaitedExpired => "waited-expired",
            Self::Voided => "voided",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a node read the whole coherence table again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResyncReason {
    /// the node just started
    Start,
    /// an announcement arrived whose `seq` was not the next one
    Gap,
    /// the subscription was made again
    Reconnect,
    /// a poll showed announcements that never arrived
    Behind,
    /// Redis speaks of another epoch
    Epoch,
}

impl ResyncReason {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 5] = [Self::Start, Self::Gap, Self::Reconnect, Self::Behind, Self::Epoch];

    /// The name used in headers, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Gap => "gap",
            Self::Reconnect => "reconnect",
            Self::Behind => "behind",
            Self::Epoch => "epoch",
        }
    }
}

/// Why a node could not prove its coherence any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LapseReason {
    /// no poll was answered in time: Redis is away or slow, or this node is starved
    Poll,
    /// announcements that a poll showed did not arrive in time
    Behind,
    /// Redis had not been polled by anybody for a while
    Quiet,
    /// nobody vouched for the change feed in time
    Feed,
    /// it was taken back: another epoch began, or another version of the publication counts
    Revoked,
}

impl LapseReason {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 5] = [Self::Poll, Self::Behind, Self::Quiet, Self::Feed, Self::Revoked];

    /// The name used in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Behind => "behind",
            Self::Quiet => "quiet",
            Self::Feed => "feed",
            Self::Revoked => "revoked",
        }
    }
}

/// Why a value from Redis is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// not written by this release of Transom
    Foreign,
    /// changed or cut short since it was written
    Damaged,
    /// of another key with the same digest
    OtherKey,
    /// it is encrypted, and this node has no keys
    Sealed,
    /// it is not encrypted, and this node reads nothing else
    Unsealed,
    /// encrypted with a key that this node does not have
    UnknownKey,
    /// encrypted, and then changed or put somewhere else
    Forged,
}

impl Unreadable {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 7] =
        [Self::Foreign, Self::Damaged, Self::OtherKey, Self::Sealed, Self::Unsealed, Self::UnknownKey, Self::Forged];

    /// The name used in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Damaged => "damaged",
            Self::OtherKey => "other-key",
            Self::Sealed => "sealed",
            Self::Unsealed => "unsealed",
            Self::UnknownKey => "unknown-key",
            Self::Forged => "forged",
        }
    }
}

/// Where an announcement came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// a write through the proxy
    Write,
    /// a purge by an operator
    Purge,
    /// the database's change feed
    Feed,
    /// the auditor, of an entry that nothing else announced
    Audit,
}

impl Source {
    /// Every source, in declaration order.
    pub const ALL: [Self; 4] = [Self::Write, Self::Purge, Self::Feed, Self::Audit];

    /// The name used in headers, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Purge => "purge",
            Self::Feed => "feed",
            Self::Audit => "audit",
        }
    }
}
