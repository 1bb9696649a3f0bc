//! Time as a value. Policy code takes a [`Moment`] as an argument and never asks what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point on this node's monotonic clock, in nanoseconds. Means nothing on another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Before everything.
    pub const PAST: Self = Self(0);
    /// After everything: a lease until then never ends.
    pub const NEVER: Self = Self(u64::MAX);

    /// From nanoseconds on whatever monotonic clock the caller keeps (the simulator keeps its own).
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds on the same clock.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment and `duration` more.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// `duration` before this moment.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds since the Unix epoch: the only time that travels between nodes, and used for `Age` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallMillis(pub u64);

impl WallMillis {
    /// How long ago `earlier` was; zero if a peer's clock runs ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Reads the two clocks of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

/// Moments start here and not at zero, so that an entry older than the process still has a moment of its own.
const ORIGIN_NANOS: u64 = 1 << 60;

impl Clock {
    /// A clock whose moments count from now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The present on the monotonic clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(ORIGIN_NANOS + nanos(self.origin.elapsed()))
    }

    /// A reading of the monotonic clock that was taken already.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Moment {
        Moment(ORIGIN_NANOS + nanos(instant.saturating_duration_since(self.origin)))
    }

    /// The present on the wall clock.
    #[must_use]
    pub fn wall(&self) -> WallMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
