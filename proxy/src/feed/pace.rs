//! Whether the leader keeps up with the log, and what it does if not.
//!
//! The server keeps the log that was not announced. To write the tags of each row, and to raise the slot of each in Redis,
//! takes longer than to say that the table changed. So a leader that is behind says only that, until it has caught up.

use std::time::Duration;

/// A leader is behind when a heartbeat takes longer than this to come back.
const BEHIND_MAX: Duration = Duration::from_secs(5);

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
    /// The pace after a heartbeat came back that is this old. It is kept until much less is behind, so that it does not change
    /// with every heartbeat.
    pub(super) fn after(self, age: Duration) -> Self {
        match self {
            Self::Exact if age > BEHIND_MAX => Self::Coarse,
            Self::Coarse if age < BEHIND_MAX / 4 => Self::Exact,
            same => same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_is_coarse_until_it_caught_up() {
        let ages = [0, 4_000, 6_000, 3_000, 1_300, 1_200, 4_000];
        let mut pace = Pace::default();
        let paces = ages.map(|millis| {
            pace = pace.after(Duration::from_millis(millis));
            pace
        });
        use Pace::{Coarse, Exact};
        assert_eq!(paces, [Exact, Exact, Coarse, Coarse, Coarse, Exact, Exact]);
    }
}
