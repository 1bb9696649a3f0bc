//! Questions that wait at the same time go to Redis together: one command, one write and one answer for all of them.
//!
//! ```text
//! a question ── nothing under way ───> it goes at once, alone, and is under way
//!            ── a command is under way ─> it waits in line; what ends lets the head of the line go, as one command
//!                                         ..unless the line is as long as a command may be: then it goes at once too
//! ```
//!
//! Nobody waits for others to come: a question that is alone costs what it cost before, and how many share a command
//! follows from how busy Redis is, and how far away.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use fred::{clients::Client, interfaces::ClientLike};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::oneshot};

use super::{RedisLink, within};
use crate::{breaker::Breaker, error::RedisError};

/// Questions of one command. Its answer is complete when the last part has come, so this many values of the largest size are
/// what one question may wait for beside its own; more would spare little.
const GATHERED_MAX: usize = 32;
/// What the questions of one command may weigh together, the first of them aside.
const GATHERED_BYTES_MAX: usize = 1 << 20;

/// Commands under way at most: a Redis that is far away answers as many in the time of one.
const UNDER_WAY_MAX: usize = 4;

/// A command that asks one thing or several of the same kind.
pub(crate) trait Command: Sized + Send + Sync + 'static {
    /// What is asked.
    type Asked: Send;
    /// What Redis says to it.
    type Answer: Send;

    /// Asks for all of it, and brings an answer to each, in the same order.
    ///
    /// # Errors
    /// If Redis refuses or fails: all of it, then.
    fn ask(
        &self,
        client: &Client,
        asked: Vec<Self::Asked>,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, RedisError>> + Send;

    /// How many bytes it takes to ask this, if they are many.
    fn weight(_: &Self::Asked) -> usize {
        0
    }
}

/// Asks, what waits at the same time together. What fails opens the breaker, and an open breaker ends the line.
pub(crate) struct Gatherer<C: Command> {
    command: C,
    client: Client,
    timeout: Duration,
    breaker: Arc<Breaker>,
    line: Mutex<Line<C>>,
}

type Answer<C> = Result<<C as Command>::Answer, RedisError>;

/// Who asks, and who waits for that.
struct Line<C: Command> {
    /// commands
    under_way: usize,
    /// they come after these; as many as fills may be in flight, and nobody while nothing is under way
    waiting: VecDeque<Waiting<C>>,
}

/// A question in line.
struct Waiting<C: Command> {
    asked: C::Asked,
    answer: oneshot::Sender<Answer<C>>,
}

/// How a question begins.
enum Place<C: Command> {
    /// nobody else asks
    First(Turn<C>, C::Asked),
    InLine(oneshot::Receiver<Answer<C>>),
}

impl<C: Command> Default for Line<C> {
    fn default() -> Self {
        Self { under_way: 0, waiting: VecDeque::new() }
    }
}

impl<C: Command> Line<C> {
    /// The head of the line, without those who gave up.
    fn head(&mut self) -> Vec<Waiting<C>> {
        let mut head = Vec::with_capacity(self.waiting.len().min(GATHERED_MAX));
        let mut bytes = 0;
        while head.len() < GATHERED_MAX
            && bytes < GATHERED_BYTES_MAX
            && let Some(next) = self.waiting.pop_front()
        {
            if !next.answer.is_closed() {
                bytes += C::weight(&next.asked);
                head.push(next);
            }
        }
        head
    }
}

impl<C: Command> Gatherer<C> {
    pub(crate) fn new(command: C, link: &RedisLink, breaker: Arc<Breaker>) -> Arc<Self> {
        let (client, timeout) = (link.data.clone(), link.timeout);
        Arc::new(Self { command, client, timeout, breaker, line: Mutex::default() })
    }

    /// What Redis says to this. Waits at most one timeout, its time in line included. Whoever gives up strands nobody.
    ///
    /// # Errors
    /// If Redis does not answer; what fails fails for all who share the command, and for all who wait behind it.
    pub(crate) async fn ask(self: &Arc<Self>, asked: C::Asked) -> Answer<C> {
        if self.breaker.is_open() {
            return Err(RedisError::BreakerOpen);
        }
        // In a Cluster the names of one command have to be in one slot, which those of entries are not.
        if self.client.is_clustered() {
            return self.ask_alone(asked).await;
        }
        match self.enter(asked) {
            Place::First(turn, asked) => {
                let answer = self.ask_alone(asked).await;
                drop(turn);
                answer
            }
            Place::InLine(answer) => match tokio::time::timeout(self.timeout, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(RedisError::Client("the question was abandoned".to_owned())),
                // No sign that Redis failed: of that, the commands before it tell.
                Err(_) => Err(RedisError::Timeout(self.timeout)),
            },
        }
    }

    async fn ask_alone(&self, asked: C::Asked) -> Answer<C> {
        let mut answers = self.ask_all(vec![asked]).await?;
        answers.pop().ok_or_else(|| RedisError::Protocol("nothing".to_owned()))
    }

    /// Asks, waits at most one timeout, and has the breaker hear of it if Redis failed: then nobody else asks.
    async fn ask_all(&self, asked: Vec<C::Asked>) -> Result<Vec<C::Answer>, RedisError> {
        let number = asked.len();
        // Boxed, as the client's future is twenty times the size of what is awaited around it.
        let answers = within(self.timeout, Box::pin(self.command.ask(&self.client, asked)));
        self.breaker.guard(async { as_many(answers.await?, number) }).await
    }

    fn enter(self: &Arc<Self>, asked: C::Asked) -> Place<C> {
        let mut line = self.line.lock();
        if line.under_way == 0 {
            line.under_way = 1;
            return Place::First(Turn(self.clone()), asked);
        }
        let (answer, receiver) = oneshot::channel();
        line.waiting.push_back(Waiting { asked, answer });
        if line.waiting.len() >= GATHERED_MAX && line.under_way < UNDER_WAY_MAX {
            line.under_way += 1;
            let head = line.head();
            drop(line);
            Turn(self.clone()).go(head);
        }
        Place::InLine(receiver)
    }

    /// What a command that ended lets go; nothing if nobody waits, or nobody is to ask.
    fn next(&self) -> Vec<Waiting<C>> {
        let mut line = self.line.lock();
        if self.breaker.is_open() {
            // Redis just failed, and each of them would wait for it once more.
            let refused = mem::take(&mut line.waiting);
            line.under_way -= 1;
            drop(line);
            refused.into_iter().for_each(|next| drop(next.answer.send(Err(RedisError::BreakerOpen))));
            return Vec::new();
        }
        let head = line.head();
        if head.is_empty() {
            line.under_way -= 1;
        }
        head
    }

    /// Asks what these ask. Who gave up in between does not hear it.
    async fn answer(&self, batch: Vec<Waiting<C>>) {
        let (asked, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(|next| (next.asked, next.answer)).unzip();
        match self.ask_all(asked).await {
            Ok(answers) => waiting.into_iter().zip(answers).for_each(|(one, answer)| drop(one.send(Ok(answer)))),
            Err(error) => waiting.into_iter().for_each(|one| drop(one.send(Err(error.clone())))),
        }
    }
}

fn as_many<T>(answers: Vec<T>, asked: usize) -> Result<Vec<T>, RedisError> {
    if answers.len() == asked {
        Ok(answers)
    } else {
        Err(RedisError::Protocol(format!("{} answers to {asked} questions", answers.len())))
    }
}

/// The right to have a command under way. Dropping it, with an answer or without, lets the next ones go.
struct Turn<C: Command>(Arc<Gatherer<C>>);

impl<C: Command> Turn<C> {
    /// Asks what these ask, in a task that its turn owns: it ends within one timeout, and its gatherer has
    /// [few](UNDER_WAY_MAX).
    fn go(self, head: Vec<Waiting<C>>) {
        // Without a runtime whoever waited is gone too.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                self.0.answer(head).await;
                drop(self);
            });
        }
    }
}

impl<C: Command> Drop for Turn<C> {
    fn drop(&mut self) {
        let head = self.0.next();
        if !head.is_empty() {
            Self(self.0.clone()).go(head);
        }
    }
}
