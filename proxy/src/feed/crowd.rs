//! Whether commits come in a crowd, so that several are better announced together.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// So many commits
const CROWD: usize = 16;
/// within this time are a crowd: 2 000 a second, which writers reach only if they are several, or do not wait for a proxy.
const WITHIN: Duration = Duration::from_millis(8);

/// The last commits that were decoded.
#[derive(Default)]
pub(super) struct Crowd {
    /// when, oldest first; at most [`CROWD`]
    arrivals: VecDeque<Instant>,
}

impl Crowd {
    /// A commit was decoded.
    pub(super) fn joined(&mut self, now: Instant) {
        if self.arrivals.len() == CROWD {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
    }

    /// Whether they come that fast.
    pub(super) fn is_one(&self, now: Instant) -> bool {
        let oldest = self.arrivals.front().filter(|_| self.arrivals.len() == CROWD);
        oldest.is_some_and(|oldest| now.saturating_duration_since(*oldest) <= WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_many_in_a_short_time_and_only_then() {
        let began = Instant::now();
        let at = |micros: u64| began + Duration::from_micros(micros);
        let mut crowd = Crowd::default();
        for commit in 0..15 {
            crowd.joined(at(commit));
            assert!(!crowd.is_one(at(commit)), "of {}", commit + 1);
        }
        crowd.joined(at(15));
        assert!(crowd.is_one(at(15)));
        assert!(crowd.is_one(at(8_000)));
        assert!(!crowd.is_one(at(8_001)), "it is over");
        for (every, is_one) in [(400, true), (700, false)] {
            (1_000..1_032).for_each(|commit| crowd.joined(at(commit * every)));
            assert_eq!(crowd.is_one(at(1_031 * every)), is_one, "one each {every} us");
        }
    }
}
