//! Notices a connection that brings no answer and reports no error either: a black hole.
//!
//! The client library notices one on which nothing more is asked, because it counts from the last question; here questions
//! follow each other. And it does not look after one that subscribed. The kernel gives up after a quarter of an hour.

use fred::interfaces::ClientLike;
use tokio_util::task::AbortOnDropHandle;

use crate::{clock::Moment, error::RedisError, redis::UNRESPONSIVE_AFTER};

/// The watch over one connection.
pub(super) struct Vigil<C> {
    client: C,
    /// its name in logs
    line: &'static str,
    /// when the first of the questions was given up that all remained without an answer
    silent_since: Option<Moment>,
    /// a new connection on its way
    anew: Option<AbortOnDropHandle<()>>,
}

impl<C: ClientLike + Clone + Send + Sync + 'static> Vigil<C> {
    pub(super) fn over(client: C, line: &'static str) -> Self {
        Self { client, line, silent_since: None, anew: None }
    }

    /// Hears what came of a question. After a second of silence the connection is made anew, by the rules by which the
    /// library connects.
    pub(super) fn hear<T>(&mut self, answer: &Result<T, RedisError>, now: Moment) {
        if !matches!(answer, Err(RedisError::Timeout(_))) {
            self.silent_since = None;
            return;
        }
        let since = *self.silent_since.get_or_insert(now);
        let under_way = self.anew.as_ref().is_some_and(|task| !task.is_finished());
        // Without a connection it is the library that tries, again and again.
        if now.since(since) < UNRESPONSIVE_AFTER || under_way || !self.client.is_connected() {
            return;
        }
        tracing::warn!(line = self.line, "redis does not answer on a connection; making it anew");
        self.silent_since = None;
        let client = self.client.clone();
        self.anew = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = client.force_reconnection().await {
                tracing::debug!(%error, "a connection to redis was not made anew");
            }
        })));
    }
}
