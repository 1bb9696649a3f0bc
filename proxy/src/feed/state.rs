//! What a feed is of, and what it does.

use std::time::Duration;

use cache_core::clock::Moment;

/// How changes are heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// from the database's log
    Logical,
    /// from what triggers record
    Trigger,
}

impl Kind {
    /// The name used in settings, `/health`, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logical => "logical",
            Self::Trigger => "trigger",
        }
    }
}

/// What the feed of this node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// there is none
    Off,
    /// it announces; the newest heartbeat that came back was sent at this moment
    Leading {
        /// by this node's clock
        proven: Moment,
    },
    /// another node announces
    Following,
    /// it cannot do either
    Down {
        /// since when, and why
        reason: String,
    },
}

impl State {
    /// The name used in `/health` and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Leading { .. } => "leading",
            Self::Following => "following",
            Self::Down { .. } => "down",
        }
    }

    /// Says each reason once.
    pub(super) fn go_down(&mut self, reason: String) {
        if *self != (Self::Down { reason: reason.clone() }) {
            tracing::warn!(%reason, "change feed: nothing is proven to be fresh until it is back");
            *self = Self::Down { reason };
        }
    }

    /// How old the newest proof is: what a change may lag at most. Known to the leader alone.
    #[must_use]
    pub fn lag(&self, now: Moment) -> Option<Duration> {
        match self {
            Self::Leading { proven } => Some(now.since(*proven)),
            Self::Off | Self::Following | Self::Down { .. } => None,
        }
    }
}
