//! A closed loop: so many connections, each of which sends its next request when it has its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{Answer, Client, Spread};

/// What to ask, of whom, and for how long.
pub struct Load {
    /// the port of the server
    pub port: u16,
    /// how many ask at the same time
    pub connections: usize,
    /// when no more requests are sent
    pub until: Until,
}

/// When a load ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// after this time
    Elapsed(Duration),
    /// after so many requests
    Sent(u64),
}

/// What a load brought.
#[derive(Debug, Default)]
pub struct Lap {
    /// from request to answer
    pub latency: Spread,
    /// from the first request to the last answer
    pub took: Duration,
    /// answers that `counts` said yes to
    pub counted: u64,
}

impl Lap {
    /// Answers per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rate(&self) -> f64 {
        self.latency.count() as f64 / self.took.as_secs_f64()
    }
}

impl Load {
    /// Runs it. `target` makes the target of each request from its number; `counts` looks at each answer.
    ///
    /// # Panics
    /// If an answer is no success, or a connection breaks.
    pub async fn run(
        &self,
        target: impl Fn(u64) -> String + Send + Sync + 'static,
        counts: impl Fn(u64, &Answer) -> bool + Send + Sync + 'static,
    ) -> Lap {
        let (next, asked) = (Arc::new(AtomicU64::new(0)), Arc::new((target, counts)));
        let (began, until) = (Instant::now(), self.until);
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            let mut client = Client::to(self.port);
            let (next, asked) = (next.clone(), asked.clone());
            connections.push(tokio::spawn(async move {
                let mut lap = Lap::default();
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    let over = match until {
                        Until::Elapsed(time) => began.elapsed() >= time,
                        Until::Sent(count) => number >= count,
                    };
                    if over {
                        return lap;
                    }
                    let (target, counts) = &*asked;
                    let target = target(number);
                    let sent = Instant::now();
                    let answer = client.get(&target).await;
                    lap.latency.add(sent.elapsed());
                    lap.counted += u64::from(counts(number, &answer));
                }
            }));
        }
        let mut all = Lap::default();
        for connection in connections {
            let lap = connection.await.expect("the load does not panic");
            all.latency.merge(&lap.latency);
            all.counted += lap.counted;
        }
        all.took = began.elapsed();
        all
    }
}
