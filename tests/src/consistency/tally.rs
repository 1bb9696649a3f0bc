//! What clients saw, counted.

use std::time::{Duration, Instant};

/// Latencies are counted in steps of a quarter of a power of two, from one microsecond.
const STEPS: usize = 4 * 26;

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// an answer that was judged, or waits to be
    Answered {
        /// whether it came from the cache
        from: From,
    },
    /// 5xx
    Refused,
    /// no connection, or a broken one
    Unconnected,
    /// no answer within the client's patience
    Hung,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// L1 or L2, as fresh
    Cache,
    /// L1 or L2, marked as stale
    StaleCache,
    /// Postgres
    Origin,
}

/// Counts over some time.
#[derive(Debug, Clone)]
pub struct Tally {
    /// answers from the cache, as fresh
    pub hits: u64,
    /// answers marked as stale
    pub marked: u64,
    /// answers from Postgres
    pub misses: u64,
    /// 5xx
    pub refused: u64,
    /// no connection
    pub unconnected: u64,
    /// no answer
    pub hung: u64,
    /// reads that were judged
    pub judged: u64,
    /// reads with a token
    pub with_token: u64,
    /// reads that no judgment was possible for
    pub dropped: u64,
    /// the most that a fresh answer was superseded for
    pub stalest: Duration,
    /// the longest answer
    pub slowest: Duration,
    /// the longest time in which a client got no answer from its node
    pub outage: Duration,
    latencies: Box<[u64; STEPS]>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            hits: 0,
            marked: 0,
            misses: 0,
            refused: 0,
            unconnected: 0,
            hung: 0,
            judged: 0,
            with_token: 0,
            dropped: 0,
            stalest: Duration::ZERO,
            slowest: Duration::ZERO,
            outage: Duration::ZERO,
            latencies: Box::new([0; STEPS]),
        }
    }
}

impl Tally {
    /// A read ended.
    pub fn ended(&mut self, ending: Ending, took: Duration) {
        match ending {
            Ending::Answered { from } => {
                match from {
                    From::Cache => self.hits += 1,
                    From::StaleCache => self.marked += 1,
                    From::Origin => self.misses += 1,
                }
                self.slowest = self.slowest.max(took);
                self.latencies[step(took)] += 1;
            }
            Ending::Refused => self.refused += 1,
            Ending::Unconnected => self.unconnected += 1,
            Ending::Hung => self.hung += 1,
        }
    }

    /// Reads that got an answer.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.hits + self.marked + self.misses
    }

    /// Reads that got none.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.refused + self.unconnected + self.hung
    }

    /// The latency that this share of the answers did not exceed, rounded up to a step.
    #[must_use]
    pub fn latency(&self, share: f64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a share of a count need not be exact")]
        let wanted = self.answered() as f64 * share;
        let mut seen = 0;
        for (step, count) in self.latencies.iter().enumerate() {
            seen += count;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            if *count > 0 && seen as f64 >= wanted {
                return upper(step).min(self.slowest);
            }
        }
        self.slowest
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.marked += other.marked;
        self.misses += other.misses;
        self.refused += other.refused;
        self.unconnected += other.unconnected;
        self.hung += other.hung;
        self.judged += other.judged;
        self.with_token += other.with_token;
        self.dropped += other.dropped;
        self.stalest = self.stalest.max(other.stalest);
        self.slowest = self.slowest.max(other.slowest);
        self.outage = self.outage.max(other.outage);
        self.latencies.iter_mut().zip(other.latencies.iter()).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// How long a client has been without an answer.
#[derive(Debug, Default)]
pub struct Outage(Option<Instant>);

impl Outage {
    /// A request that began at `begun` got no answer.
    pub fn failed(&mut self, begun: Instant) {
        self.0.get_or_insert(begun);
    }

    /// One got an answer; says how long there was none.
    pub fn over(&mut self) -> Duration {
        self.0.take().map_or(Duration::ZERO, |since| since.elapsed())
    }
}

fn step(took: Duration) -> usize {
    let micros = took.as_micros().max(1);
    let power = micros.ilog2() as usize;
    let quarter = usize::try_from(((micros << 2) >> power) & 3).unwrap_or(3);
    (power * 4 + quarter).min(STEPS - 1)
}

fn upper(step: usize) -> Duration {
    let (power, quarter) = (step / 4, step as u64 % 4);
    Duration::from_micros(((5 + quarter) << power) / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_known_to_a_quarter_of_a_power_of_two() {
        let mut tally = Tally::default();
        for micros in 1..=1_000 {
            tally.ended(Ending::Answered { from: From::Cache }, Duration::from_micros(micros));
        }
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let latency = tally.latency(share).as_secs_f64() * 1e6;
            assert!(latency >= micros && latency <= micros * 1.26, "{share}: {latency}");
        }
    }
}
