//! Whether the leader keeps up with the log, and what it does if not.
//!
//! The server keeps the log that was not announced. To write the tags of each row, and to raise the slot of each in Redis,
//! takes longer than to say that the table changed. So a leader that is behind says only that, until it has caught up.

use std::time::Duration;

/// A leader is behind when the newest heartbeat that came back is older than this,
const BEHIND_MAX: Duration = Duration::from_secs(5);
/// or when the server keeps more of its log than this for it. A transaction of this size counts too: it changed more rows
/// than tags are counted.
const BEHIND_BYTES_MAX: u64 = 128 << 20;

/// How far a leader is behind the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lag {
    /// of the newest heartbeat that came back
    pub(super) age: Duration,
    /// what is in the log and was not read to the end of a transaction
    pub(super) bytes: u64,
}

/// How exactly changes are announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pace {
    /// by the rows' tags
    #[default]
    Exact,
    /// by table
    Coarse,
}

impl Pace {
    /// The pace of who is this far behind. It is kept until much less is behind, so that it does not change with every
    /// heartbeat.
    pub(super) fn at(self, Lag { age, bytes }: Lag) -> Self {
        match self {
            Self::Exact if age > BEHIND_MAX || bytes > BEHIND_BYTES_MAX => Self::Coarse,
            Self::Coarse if age < BEHIND_MAX / 4 && bytes < BEHIND_BYTES_MAX / 4 => Self::Exact,
            same => same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_is_coarse_until_it_caught_up() {
        use Pace::{Coarse, Exact};
        let by_age = [0, 4_000, 6_000, 3_000, 1_300, 1_200, 4_000].map(|millis| (millis, 0));
        assert_eq!(paces(by_age), [Exact, Exact, Coarse, Coarse, Coarse, Exact, Exact]);
        let by_size = [0, 100, 200, 100, 33, 31, 100].map(|mebibytes| (0, mebibytes));
        assert_eq!(paces(by_size), [Exact, Exact, Coarse, Coarse, Coarse, Exact, Exact]);
        let by_both = [(6_000, 0), (0, 200), (6_000, 0), (2_000, 0), (0, 33), (0, 0), (0, 0)];
        assert_eq!(paces(by_both), [Coarse, Coarse, Coarse, Coarse, Coarse, Exact, Exact]);
    }

    fn paces(lags: [(u64, u64); 7]) -> [Pace; 7] {
        let mut pace = Pace::default();
        lags.map(|(millis, mebibytes)| {
            pace = pace.at(Lag { age: Duration::from_millis(millis), bytes: mebibytes << 20 });
            pace
        })
    }
}
