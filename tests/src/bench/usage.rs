//! What a process used of the processor.

use std::fs;
use std::time::Duration;

/// Linux counts in these, whatever the machine (`man 5 proc`).
const TICK: Duration = Duration::from_millis(10);

/// User and system time of processes up to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage(Duration);

impl Usage {
    /// Of one process with all its threads.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self::of_all([pid])
    }

    /// Of several, added up. One that ended counts nothing.
    #[must_use]
    pub fn of_all(pids: impl IntoIterator<Item = u32>) -> Self {
        Self(TICK * pids.into_iter().filter_map(ticks).sum::<u32>())
    }

    /// What was used since an earlier look.
    #[must_use]
    pub fn since(self, before: Self) -> Duration {
        self.0.saturating_sub(before.0)
    }
}

fn ticks(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // "pid (name) state ppid ...": the name may hold anything, so count from its closing parenthesis.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}
