//! Reads that wait for a connection. Whoever gets one takes those along that ask the same in the same session, with other
//! values: one transaction answers them all, where each would have set up its own.
//!
//! The same statement only, because all wait for the slowest: a quick read does not wait for a slow one of another kind.
//! And only while connections are short: who need not wait has nothing to gain.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Session;
use crate::{
    error::Error,
    rest::{Answer, Statement},
};

/// Reads that are answered together at most: of what many would save, eight save nearly all.
const TOGETHER_MAX: usize = 8;

/// Reads that wait, by their text, in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<HashMap<Arc<str>, VecDeque<Waiting>>>,
    numbers: AtomicU64,
}

/// A read that waits.
pub(super) struct Waiting {
    number: u64,
    session: Session,
    pub(super) statement: Statement,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// The place of a read in the queue. Dropped: it waits no more.
pub(super) struct Turn<'q> {
    queue: &'q Queue,
    number: u64,
    sql: Arc<str>,
    answer: oneshot::Receiver<Result<Answer, Error>>,
}

impl Queue {
    /// Puts a read at the end.
    pub(super) fn join(&self, session: &Session, statement: &Statement) -> Turn<'_> {
        let (sender, answer) = oneshot::channel();
        let (number, sql) = (self.numbers.fetch_add(1, Relaxed), statement.sql.clone());
        let waiting = Waiting { number, session: session.clone(), statement: statement.clone(), answer: sender };
        self.waiting.lock().entry(sql.clone()).or_default().push_back(waiting);
        Turn { queue: self, number, sql, answer }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().values().map(VecDeque::len).sum()
    }
}

impl Turn<'_> {
    /// The answer, once whoever took this read along has it. `None`: they did not get to it. Waits as long as the read
    /// is in the queue.
    pub(super) async fn answered(&mut self) -> Option<Result<Answer, Error>> {
        (&mut self.answer).await.ok()
    }

    /// Takes this read out of the queue, and those along that can be answered with it. `None`: it was taken along itself.
    pub(super) fn take_along(&self) -> Option<Vec<Waiting>> {
        let mut waiting = self.queue.waiting.lock();
        let alike = waiting.get_mut(&self.sql)?;
        let own = alike.remove(alike.iter().position(|read| read.number == self.number)?)?;
        let mut others = Vec::new();
        let mut index = 0;
        while others.len() + 1 < TOGETHER_MAX
            && let Some(read) = alike.get(index)
        {
            if read.session == own.session {
                others.extend(alike.remove(index));
            } else {
                index += 1;
            }
        }
        if alike.is_empty() {
            waiting.remove(&self.sql);
        }
        Some(others)
    }

    /// Takes this read out of the queue. `false`: it was taken along.
    pub(super) fn leave(&self) -> bool {
        let mut waiting = self.queue.waiting.lock();
        let Some(alike) = waiting.get_mut(&self.sql) else { return false };
        let before = alike.len();
        alike.retain(|read| read.number != self.number);
        let was_there = alike.len() < before;
        if alike.is_empty() {
            waiting.remove(&self.sql);
        }
        was_there
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Waiting {
    /// Hands over the answer, unless whoever asked has gone.
    pub(super) fn answer(self, answer: Result<Answer, Error>) {
        // Nobody waits for it any more.
        drop(self.answer.send(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::{Caller, TextParam, Yields};

    fn session(role: &str) -> Session {
        Session::new(Some(role.into()), Caller::Anonymous, "public", &[])
    }

    fn statement(sql: &Arc<str>, value: &str) -> Statement {
        Statement { sql: sql.clone(), params: vec![TextParam(Some(value.to_owned()))], yields: Yields::Answer }
    }

    fn values(taken: &[Waiting]) -> Vec<&str> {
        taken.iter().filter_map(|read| read.statement.params[0].0.as_deref()).collect()
    }

    #[test]
    fn the_same_in_the_same_session_is_taken_along_in_order() {
        let (queue, sql, other) = (Queue::default(), "select $1".into(), "select 2 * $1".into());
        let first = queue.join(&session("a"), &statement(&sql, "1"));
        let turns = [
            queue.join(&session("b"), &statement(&sql, "another role")),
            queue.join(&session("a"), &statement(&other, "another text")),
            queue.join(&session("a"), &statement(&sql, "2")),
            queue.join(&session("a"), &statement(&sql, "3")),
        ];
        assert_eq!(values(&turns[3].take_along().unwrap()), ["1", "2"]);
        assert!(first.take_along().is_none(), "it was taken along");
        assert!(!turns[2].leave());
        assert!(turns[0].take_along().unwrap().is_empty());
        drop(turns);
        assert!(queue.waiting.lock().is_empty(), "who leaves leaves nothing behind");
    }

    #[test]
    fn not_all_are_taken_along() {
        let (queue, sql) = (Queue::default(), "select $1".into());
        let turns: Vec<_> =
            (0..20).map(|value| queue.join(&session("a"), &statement(&sql, &value.to_string()))).collect();
        assert_eq!(values(&turns[0].take_along().unwrap()), ["1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!(turns[8].take_along().unwrap().len(), 7);
    }

    #[tokio::test]
    async fn whoever_takes_along_may_fail() {
        let (queue, sql) = (Queue::default(), "select $1".into());
        let first = queue.join(&session("a"), &statement(&sql, "1"));
        let mut second = queue.join(&session("a"), &statement(&sql, "2"));
        drop(first.take_along());
        assert!(second.answered().await.is_none());
    }
}
