//! Reads that wait at the same time go to Redis together: one command, one write and one answer for all of them.
//!
//! ```text
//! a read ── nothing under way ──> it goes at once, as a GET, and is under way
//!        ── one is under way ───> it waits in line; what ends lets the head of the line go, as one MGET
//! ```
//!
//! Nobody waits for others to come: a read that is alone costs what it cost before, and how many share a command
//! follows from how busy Redis is.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::{ClientLike, KeysInterface},
};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::oneshot};

use super::{RedisLink, within};
use crate::{breaker::Breaker, error::RedisError};

/// Reads of one `MGET`. Its answer is complete when the last value has come, so this many values of the largest size are
/// what one read may wait for beside its own; more would spare little.
const GATHERED_MAX: usize = 32;

/// What is stored under a name, or why that is not known.
type Answer = Result<Option<Bytes>, RedisError>;

/// Reads strings, those that wait at the same time together. What fails opens the breaker, and an open breaker ends the line.
pub(crate) struct Gatherer {
    client: Client,
    timeout: Duration,
    breaker: Arc<Breaker>,
    line: Mutex<Line>,
}

/// Who reads, and who waits for that.
enum Line {
    /// nothing is under way
    Free,
    /// a command is under way, and these come after it; as many as requests may be in flight
    Busy(VecDeque<Asked>),
}

/// A read in line.
struct Asked {
    name: String,
    answer: oneshot::Sender<Answer>,
}

/// How a read begins.
enum Place {
    /// nobody else reads
    First(Turn, String),
    InLine(oneshot::Receiver<Answer>),
}

impl Gatherer {
    pub(crate) fn new(link: &RedisLink, breaker: Arc<Breaker>) -> Arc<Self> {
        Arc::new(Self { client: link.data.clone(), timeout: link.timeout, breaker, line: Mutex::new(Line::Free) })
    }

    /// The bytes under this name. Waits at most one timeout, its time in line included. Whoever gives up strands nobody.
    ///
    /// # Errors
    /// If Redis does not answer; what fails fails for all who share the command, and for all who wait behind it.
    pub(crate) async fn get(self: &Arc<Self>, name: String) -> Answer {
        if self.breaker.is_open() {
            return Err(RedisError::BreakerOpen);
        }
        // In a Cluster the names of one command have to be in one slot, which those of entries are not.
        if self.client.is_clustered() {
            return self.get_alone(name).await;
        }
        match self.enter(name) {
            Place::First(turn, name) => {
                let answer = self.get_alone(name).await;
                drop(turn);
                answer
            }
            Place::InLine(answer) => match tokio::time::timeout(self.timeout, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(RedisError::Client("the read was abandoned".to_owned())),
                Err(_) => self.judged(Err(RedisError::Timeout(self.timeout))),
            },
        }
    }

    async fn get_alone(&self, name: String) -> Answer {
        self.judged(within(self.timeout, self.client.get(name)).await)
    }

    /// What Redis answered, or that it did not: then nobody else asks.
    fn judged<T>(&self, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        answer.inspect_err(|error| self.breaker.trip(error))
    }

    fn enter(self: &Arc<Self>, name: String) -> Place {
        let mut line = self.line.lock();
        match &mut *line {
            Line::Free => {
                *line = Line::Busy(VecDeque::new());
                Place::First(Turn(self.clone()), name)
            }
            Line::Busy(waiting) => {
                let (answer, receiver) = oneshot::channel();
                waiting.push_back(Asked { name, answer });
                Place::InLine(receiver)
            }
        }
    }

    /// The head of the line, without those who gave up; frees the line if there is nobody, or nobody is to ask.
    fn next(&self) -> Vec<Asked> {
        if self.breaker.is_open() {
            self.refuse();
            return Vec::new();
        }
        let mut line = self.line.lock();
        let Line::Busy(waiting) = &mut *line else { return Vec::new() };
        let mut batch = Vec::with_capacity(waiting.len().min(GATHERED_MAX));
        while batch.len() < GATHERED_MAX
            && let Some(asked) = waiting.pop_front()
        {
            if !asked.answer.is_closed() {
                batch.push(asked);
            }
        }
        if batch.is_empty() {
            *line = Line::Free;
        }
        batch
    }

    /// Sends the whole line away: Redis just failed, and each of them would wait for it once more.
    fn refuse(&self) {
        if let Line::Busy(waiting) = mem::replace(&mut *self.line.lock(), Line::Free) {
            waiting.into_iter().for_each(|asked| drop(asked.answer.send(Err(RedisError::BreakerOpen))));
        }
    }

    /// Reads what these ask for. Who gave up in between does not hear it.
    async fn answer(&self, batch: Vec<Asked>) {
        let (names, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|asked| (asked.name, asked.answer)).unzip();
        let read = within(self.timeout, self.client.mget::<Vec<Option<Bytes>>, _>(names)).await;
        match self.judged(read.and_then(|values| as_many(values, answers.len()))) {
            Ok(values) => answers.into_iter().zip(values).for_each(|(answer, value)| drop(answer.send(Ok(value)))),
            Err(error) => answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone())))),
        }
    }
}

fn as_many(values: Vec<Option<Bytes>>, asked: usize) -> Result<Vec<Option<Bytes>>, RedisError> {
    if values.len() == asked {
        Ok(values)
    } else {
        Err(RedisError::Protocol(format!("{} values of {asked}", values.len())))
    }
}

/// The right to have a command under way. Dropping it, with an answer or without, lets the next ones go.
struct Turn(Arc<Gatherer>);

impl Drop for Turn {
    fn drop(&mut self) {
        let batch = self.0.next();
        if batch.is_empty() {
            return;
        }
        let turn = Turn(self.0.clone());
        // The task is owned by its turn: it ends within one timeout, and is the only one of its gatherer.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                turn.0.answer(batch).await;
                drop(turn);
            })),
            // The runtime is gone, and with it whoever waited.
            Err(_) => drop(batch),
        }
    }
}
