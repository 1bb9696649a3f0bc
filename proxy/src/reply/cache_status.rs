//! How a request was handled, in the words of RFC 9211.

use std::time::Duration;

use cache_core::{
    cache::Stored,
    outcome::{StaleReason, Tier, TierResult},
};
use http::HeaderValue;

use super::format_value;
use crate::{error::Error, telemetry::RequestOutcome};

/// How a read was handled; rendered as `Cache-Status`, and as the outcome in metrics and logs.
#[derive(Debug, Clone, Copy)]
pub enum CacheStatus {
    /// `hit`
    Hit {
        /// where the entry was
        tier: Tier,
        /// how long it stays fresh
        ttl: Duration,
    },
    /// `hit`: the row that was asked for is certainly absent
    Absent {
        /// how long that is certain, unless announced
        ttl: Duration,
    },
    /// `hit`, though not fresh
    Stale {
        /// by whose leave
        reason: StaleReason,
        /// since when it is not
        expired_for: Duration,
    },
    /// `fwd`, `collapsed`: a peer asked Postgres, and the answer came by L2
    ByPeer {
        /// why nothing stored did
        why: Forward,
        /// how long it stays fresh
        ttl: Duration,
    },
    /// `fwd`: Postgres was asked
    Forwarded {
        /// why
        why: Forward,
        /// what became of the answer; `None` if it was never meant to be stored
        stored: Option<Stored>,
        /// how long it stays fresh
        ttl: Duration,
        /// whether it was somebody else's request that asked
        collapsed: bool,
    },
}

/// Why Postgres was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// no stored answer may be used
    Missing(TierResult),
    /// the request said `no-cache`
    NoCache,
    /// the request said `no-store`
    NoStore,
    /// the request shows a token that this node has not reached
    Token,
    /// the answer depends on something that no announcement covers
    Opaque(&'static str),
    /// the setting `db_pre_request` names a function that may refuse or change anything
    PreRequest,
    /// a setting says not to cache this table
    Uncached,
}

impl CacheStatus {
    pub(super) fn header(self) -> HeaderValue {
        match self {
            Self::Hit { tier, ttl } => {
                format_value(format_args!("transom; hit; detail={}; ttl={}", tier.as_str(), ttl.as_secs()))
            }
            Self::Absent { ttl } => format_value(format_args!("transom; hit; detail=absent; ttl={}", ttl.as_secs())),
            Self::Stale { reason, expired_for } => {
                format_value(format_args!("transom; hit; detail={}; ttl=-{}", reason.as_str(), expired_for.as_secs()))
            }
            Self::ByPeer { why, ttl } => {
                let (fwd, tier) = (why.words().0, Tier::L2.as_str());
                format_value(format_args!("transom; fwd={fwd}; collapsed; ttl={}; detail={tier}", ttl.as_secs()))
            }
            Self::Forwarded { why, stored, ttl, collapsed } => {
                let collapsed = if collapsed { "; collapsed" } else { "" };
                let (fwd, detail) = why.words();
                match (stored, detail) {
                    (Some(Stored::Yes), "") => {
                        format_value(format_args!("transom; fwd={fwd}; stored{collapsed}; ttl={}", ttl.as_secs()))
                    }
                    (Some(Stored::Yes), detail) => format_value(format_args!(
                        "transom; fwd={fwd}; stored{collapsed}; ttl={}; detail={detail}",
                        ttl.as_secs()
                    )),
                    (Some(Stored::TooLarge), _) => {
                        format_value(format_args!("transom; fwd={fwd}{collapsed}; detail=too-large"))
                    }
                    (Some(Stored::Outdated), _) => {
                        format_value(format_args!("transom; fwd={fwd}{collapsed}; detail=invalidated-while-filling"))
                    }
                    (None, "") => format_value(format_args!("transom; fwd={fwd}{collapsed}")),
                    (None, detail) => format_value(format_args!("transom; fwd={fwd}{collapsed}; detail={detail}")),
                }
            }
        }
    }

    pub(super) fn outcome(self) -> RequestOutcome {
        match self {
            Self::Hit { tier: Tier::L1, .. } | Self::Absent { .. } => RequestOutcome::HitL1,
            Self::Hit { tier: Tier::L2, .. } | Self::ByPeer { .. } => RequestOutcome::HitL2,
            Self::Stale { .. } => RequestOutcome::Stale,
            Self::Forwarded { why: Forward::Missing(_), .. } => RequestOutcome::Miss,
            Self::Forwarded { .. } => RequestOutcome::Bypass,
        }
    }
}

impl Forward {
    /// The `fwd` parameter (RFC 9211, section 2.2), and our own reason where that says too little.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing(TierResult::Absent | TierResult::Hit) => ("uri-miss", ""),
            Self::Missing(because @ TierResult::Unavailable) => ("uri-miss", because.as_str()),
            Self::Missing(because) => ("stale", because.as_str()),
            Self::NoCache => ("request", "no-cache"),
            Self::NoStore => ("request", "no-store"),
            Self::Token => ("request", "token"),
            Self::Opaque(reason) => ("bypass", reason),
            Self::PreRequest => ("bypass", "pre-request"),
            Self::Uncached => ("bypass", "cache-off"),
        }
    }
}

/// `Cache-Status` of an error: what went wrong, in one word.
pub(super) fn of_error(error: &Error) -> HeaderValue {
    format_value(format_args!("transom; detail={}", error.detail()))
}
