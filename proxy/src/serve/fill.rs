//! Asking Postgres on behalf of everybody who wants to know.

use std::sync::Arc;

use cache_core::{
    cache::{FillTicket, Stored},
    clock::Moment,
    collapse::{Joined, Wait, Waiter},
    entry::Entry,
    outcome::CollapseEnd,
};

use super::{Question, Serve};
use crate::{
    error::Error,
    origin::Session,
    reply::{Forward, StoredResponse},
};

/// Registrations of a fill's templates at most: more than one only if a new epoch begins meanwhile.
const REGISTRATIONS_MAX: usize = 3;

/// What a fill brought.
#[derive(Clone)]
pub(super) struct Filled {
    pub(super) entry: Arc<Entry<StoredResponse>>,
    /// `None` if it was not meant to be stored
    pub(super) stored: Option<Stored>,
    /// whether another request asked for it
    pub(super) collapsed: bool,
}

/// How a fill ends, for all who wait for it.
pub(super) type End = Result<Filled, Error>;

impl Serve {
    /// Fills, or waits for the fill that is under way (C7).
    pub(super) async fn fill(self: &Arc<Self>, question: &Arc<Question>) -> End {
        let (waiter, collapsed) = self.join(question).await;
        // Whoever began the fill has no other answer to hope for, and waits as long as a request may take.
        let budget = self.config.limits.request_deadline;
        let patience = if collapsed { self.config.collapse.wait_max } else { budget };
        let wait = waiter.wait(patience).await;
        if collapsed {
            self.metrics.collapsed(match &wait {
                Wait::Ended(Ok(_)) => CollapseEnd::Shared,
                Wait::Ended(Err(_)) | Wait::Abandoned => CollapseEnd::Failed,
                Wait::Impatient => CollapseEnd::Impatient,
            });
        }
        match wait {
            Wait::Ended(end) => end.map(|filled| Filled { collapsed, ..filled }),
            Wait::Abandoned => Err(Error::Abandoned),
            Wait::Impatient if collapsed => Err(Error::Impatient { patience }),
            Wait::Impatient => Err(Error::Deadline { budget }),
        }
    }

    /// Fills behind an answer that was served stale.
    pub(super) fn revalidate(self: &Arc<Self>, question: &Arc<Question>) {
        let (serve, question) = (self.clone(), question.clone());
        // Whoever comes next finds the new entry; nobody waits for this one.
        self.tasks.spawn(async move { drop(serve.join(&question).await) });
    }

    /// Fills past all others: for a request that must not get what was read before it came.
    pub(super) async fn fill_alone(
        self: &Arc<Self>,
        question: &Arc<Question>,
        session: Arc<Session>,
        why: Forward,
    ) -> End {
        let ticket = self.ticket(question).await;
        let (serve, question) = (self.clone(), question.clone());
        let store = matches!(why, Forward::NoCache | Forward::Token);
        let fill = async move { serve.ask(&question, &session, ticket, store).await };
        // Spawned: a query that was sent is worth its answer, even if the client has gone.
        self.tasks.spawn(fill).await.unwrap_or(Err(Error::Abandoned))
    }

    /// A seat at the fill of this question, which is begun if nobody has; and whether somebody had.
    async fn join(self: &Arc<Self>, question: &Arc<Question>) -> (Waiter<End>, bool) {
        let ticket = self.ticket(question).await;
        let now: Moment = ticket.began();
        match self.fills.join(&question.key, now, self.cache.joinable(&ticket)) {
            Joined::Waiter(waiter) => (waiter, true),
            Joined::Leader(leader, waiter) => {
                let (serve, question) = (self.clone(), question.clone());
                self.tasks
                    .spawn(async move { leader.end(serve.ask(&question, &question.session, ticket, true).await) });
                (waiter, false)
            }
        }
    }

    /// The right to store the answer (C1). Whoever announces learns the question's templates first; where that fails, the
    /// answer depends on any row of its tables.
    async fn ticket(&self, question: &Question) -> FillTicket {
        let (key, slots) = (&question.key, &question.slots);
        if question.templates.is_empty() {
            return self.cache.begin(key.clone(), slots.clone());
        }
        for _ in 0..REGISTRATIONS_MAX {
            let Ok(epoch) = self.cache.register(&question.templates).await else { break };
            if let Some(ticket) = self.cache.begin_in(epoch, key.clone(), slots.clone()) {
                return ticket;
            }
        }
        self.cache.begin(key.clone(), self.cache.slots(question.coarse_tags()))
    }

    /// Asks Postgres, within the budget of one request, and stores the answer.
    async fn ask(&self, question: &Question, session: &Session, ticket: FillTicket, store: bool) -> End {
        let budget = self.config.limits.request_deadline;
        let reading = self.origin.read(session, &question.plan.statement);
        let answer = tokio::time::timeout(budget, reading).await.map_err(|_| Error::Deadline { budget })??;
        let rendered = question.plan.shape.answer(answer)?;
        let response = StoredResponse::new(rendered.status, rendered.headers.into_vec(), rendered.body);
        let lifetimes = question.lifetimes(rand::random());
        let (entry, stored) = if store {
            let (entry, stored) = self.cache.store(ticket, response, lifetimes);
            (entry, Some(stored))
        } else {
            (self.cache.pass(ticket, response), None)
        };
        Ok(Filled { entry, stored, collapsed: false })
    }
}
