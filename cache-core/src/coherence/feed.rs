//! What the leader of the change feed tells its peers: where its stream stands, and until when they may rely on it.

use crate::clock::Moment;

/// Where a stream of changes stands. Whoever takes the stream over compares: does it continue what was announced?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// the leader's session, a name of its own
    pub session: String,
    /// which database this is, and which of its histories (a promoted standby begins another one)
    pub database: String,
    /// version of the publication: what is covered
    pub covers: String,
    /// position in the write-ahead log: everything before it is announced
    pub at: u64,
}

/// When a heartbeat was sent, by the clock that judges its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentAt {
    /// this node's own
    Here(Moment),
    /// milliseconds of Redis' clock
    Redis(u64),
}

/// Whether a change from before the epoch may still become visible without being announced by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// no
    Yes,
    /// yes: whoever takes over now has to begin a new epoch
    NotYet,
}

/// Whether peers were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// they were
    Yes,
    /// another session leads
    Deposed,
}

/// Why a leader had to begin a new epoch. The name is used in logs and metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Break {
    /// nobody knows how far the changes were announced: the first leader, or Redis lost its memory
    Unknown,
    /// another database, or the same one on another timeline: commits that were cached may never have happened
    Database,
    /// the publication was changed: changes may have passed unseen
    Publication,
    /// the slot begins after the last change that was announced: it was lost, made anew, or advanced by somebody
    Slot,
    /// the leader before died before everything from before its own epoch was over
    Unsettled,
}

impl Break {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 5] = [Self::Unknown, Self::Database, Self::Publication, Self::Slot, Self::Unsettled];

    /// The name used in scripts, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Database => "database",
            Self::Publication => "publication",
            Self::Slot => "slot",
            Self::Unsettled => "unsettled",
        }
    }
}
