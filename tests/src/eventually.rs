//! Waiting for a condition instead of sleeping for luck.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Something that can be "not yet": `false`, `None` or an error.
pub trait Settle {
    /// What is left when the wait is over.
    type Value;

    /// The value, or why it is not there yet.
    ///
    /// # Errors
    /// The reason, shown if the deadline passes with it.
    fn settle(self) -> Result<Self::Value, String>;
}

impl Settle for bool {
    type Value = ();

    fn settle(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("still false".to_owned()) }
    }
}

impl<T> Settle for Option<T> {
    type Value = T;

    fn settle(self) -> Result<T, String> {
        self.ok_or_else(|| "still nothing".to_owned())
    }
}

impl<T, E: Display> Settle for Result<T, E> {
    type Value = T;

    fn settle(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Asks `condition` again and again until it settles, and returns what it settled to.
///
/// # Panics
/// After `within`, with `what` and the last reason. The condition has that long too: one that hangs counts as failed.
pub async fn eventually<F, Fut, S>(what: &str, within: Duration, mut condition: F) -> S::Value
where
    // Not `AsyncFnMut`: whether its futures are `Send` cannot be said, and tests spawn.
    F: FnMut() -> Fut,
    Fut: Future<Output = S>,
    S: Settle,
{
    let deadline = Instant::now() + within;
    let mut last = "it never answered".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, condition()).await.map(Settle::settle) {
            Ok(Ok(value)) => return value,
            Ok(Err(reason)) => last = reason,
            Err(_) => {}
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what} (last: {last})");
        sleep(POLL_EVERY).await;
    }
}

/// How long one question of [`within_bound`] may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `condition` again and again until it settles, as a promise about time wants it: whoever *begins to ask* after `bound`
/// gets what settles. A machine that is slow to ask or to answer does not break that; the clock starts with the call.
///
/// # Panics
/// If a question that was asked after `bound` does not settle, or one hangs.
pub async fn within_bound<F, Fut, S>(what: &str, bound: Duration, mut condition: F) -> S::Value
where
    F: FnMut() -> Fut,
    Fut: Future<Output = S>,
    S: Settle,
{
    let began = Instant::now();
    loop {
        let asked = began.elapsed();
        let answer = tokio::time::timeout(PATIENCE, condition()).await;
        match answer.map(Settle::settle) {
            Ok(Ok(value)) => return value,
            Ok(Err(reason)) => {
                assert!(asked <= bound, "asked after {asked:?}, bound {bound:?}: {what} (was: {reason})");
            }
            Err(_) => panic!("no answer within {PATIENCE:?}: {what}"),
        }
        sleep(POLL_EVERY).await;
    }
}
