//! Asking Postgres on behalf of everybody who wants to know.

use std::sync::Arc;

use cache_core::{
    cache::{FillTicket, Found, Lookup, Sought, Stored, Wanted},
    clock::Moment,
    collapse::{Joined, Wait, Waiter},
    entry::Entry,
    freshness::{Directives, Right},
    outcome::{CollapseEnd, LeaseResult, Tier, TierResult},
};

use super::{Question, Serve, lasting::Lasting};
use crate::{
    error::Error,
    origin::Session,
    reply::{Forward, StoredResponse},
};

/// What a fill brought.
#[derive(Clone)]
pub(super) struct Filled {
    pub(super) entry: Arc<Entry<StoredResponse>>,
    pub(super) whence: Whence,
    /// whether another request asked for it
    pub(super) collapsed: bool,
}

/// Where it was.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whence {
    /// in Postgres
    Origin {
        /// `None` if it was not meant to be stored
        stored: Option<Stored>,
        /// what L2 said before, if it was asked
        l2: Option<TierResult>,
    },
    /// in a tier after all: another fill, here or on a peer, was faster
    Tier {
        /// which tier
        tier: Tier,
        /// by which right it may answer
        right: Right,
        /// what came of the fill lease, if it was asked for
        lease: Option<LeaseResult>,
    },
}

/// What the leader of a fill does first.
#[derive(Debug, Clone, Copy)]
enum First {
    /// look into L2, and ask the peers
    Seek(Wanted),
    /// nothing: whatever is stored was refused already
    AskOrigin,
}

/// Whether an answer is meant to be stored.
#[derive(Debug, Clone, Copy)]
enum Keep {
    Yes,
    No,
}

/// How a fill ends, for all who wait for it.
pub(super) type End = Result<Filled, Error>;

/// A seat at a fill.
enum Seat {
    /// that of whoever began it, and does it on behalf of all; it goes on if they leave
    Leader(Lasting<End>),
    /// that of somebody who came later
    Waiter(Waiter<End>),
}

impl Serve {
    /// Fills, or waits for the fill that is under way, here or on a peer (C7).
    pub(super) async fn fill(self: &Arc<Self>, question: &Arc<Question>, directives: &Directives) -> End {
        let plain = *directives == Directives::default();
        let first = if plain { First::Seek(Wanted::AnyAnswer) } else { First::AskOrigin };
        let filled = self.fill_together(question, first).await?;
        let Whence::Tier { tier, .. } = filled.whence else { return Ok(filled) };
        // Who joined a fill that ended with a stored entry may have asked for a younger one.
        match self.cache.judge(filled.entry.clone(), tier, directives, self.cache.clock().now()) {
            Lookup::Missing(missing) if !plain => {
                self.fill_alone(question, question.session.clone(), Forward::Missing(missing.because)).await
            }
            Lookup::Missing(_) | Lookup::Found(_) => Ok(filled),
        }
    }

    async fn fill_together(self: &Arc<Self>, question: &Arc<Question>, first: First) -> End {
        match self.join(question, first).await {
            Seat::Leader(fill) => {
                // Whoever began the fill has no other answer to hope for, and waits as long as a request may take.
                let budget = self.config.limits.request_deadline;
                tokio::time::timeout(budget, fill).await.unwrap_or(Err(Error::Deadline { budget }))
            }
            Seat::Waiter(waiter) => self.wait(waiter).await,
        }
    }

    /// Waits for the fill of another request.
    async fn wait(&self, waiter: Waiter<End>) -> End {
        let patience = self.config.collapse.wait_max;
        let wait = waiter.wait(patience).await;
        self.metrics.collapsed(match &wait {
            Wait::Ended(Ok(_)) => CollapseEnd::Shared,
            Wait::Ended(Err(_)) | Wait::Abandoned => CollapseEnd::Failed,
            Wait::Impatient => CollapseEnd::Impatient,
        });
        match wait {
            Wait::Ended(end) => end.map(|filled| Filled { collapsed: true, ..filled }),
            Wait::Abandoned => Err(Error::Abandoned),
            Wait::Impatient => Err(Error::Impatient { patience }),
        }
    }

    /// Fills behind an answer that was served stale.
    pub(super) fn revalidate(self: &Arc<Self>, question: &Arc<Question>) {
        let (serve, question) = (self.clone(), question.clone());
        // Whoever comes next finds the new entry; nobody waits for this one.
        self.tasks.spawn(async move {
            if let Seat::Leader(fill) = serve.join(&question, First::Seek(Wanted::FreshAnswer)).await {
                drop(fill.await);
            }
        });
    }

    /// Fills past all others: for a request that must not get what was read before it came.
    pub(super) async fn fill_alone(
        self: &Arc<Self>,
        question: &Arc<Question>,
        session: Arc<Session>,
        why: Forward,
    ) -> End {
        let ticket = self.cache.begin_on(&question.key, &question.dependence).await;
        let (serve, question) = (self.clone(), question.clone());
        let keep =
            if matches!(why, Forward::NoCache | Forward::Token | Forward::Missing(_)) { Keep::Yes } else { Keep::No };
        // A query that was sent is worth its answer, even if the client has gone.
        Lasting::new(&self.tasks, async move { serve.ask(&question, &session, ticket, keep, None).await }).await
    }

    /// A seat at the fill of this question, which is begun if nobody has.
    async fn join(self: &Arc<Self>, question: &Arc<Question>, first: First) -> Seat {
        let ticket = self.cache.begin_on(&question.key, &question.dependence).await;
        let now: Moment = ticket.began();
        match self.fills.join(&question.key, now, self.cache.joinable(&ticket)) {
            Joined::Waiter(waiter) => Seat::Waiter(waiter),
            Joined::Leader(leader) => {
                let (serve, question) = (self.clone(), question.clone());
                Seat::Leader(Lasting::new(&self.tasks, async move {
                    let end = serve.lead(&question, ticket, first).await;
                    leader.end(end.clone());
                    end
                }))
            }
        }
    }

    /// What the leader of a fill does on behalf of all.
    async fn lead(&self, question: &Question, ticket: FillTicket, first: First) -> End {
        let (ticket, l2) = match first {
            First::AskOrigin => (ticket, None),
            First::Seek(wanted) => match self.cache.seek(&question.key, &question.dependence, wanted).await {
                Sought::Found { found, lease } => return Ok(self.sought(found, lease)),
                Sought::Missing { ticket, l2, lease } => {
                    l2.inspect(|l2| self.metrics.tier_lookup(Tier::L2, *l2));
                    lease.inspect(|lease| self.metrics.fill_lease(*lease));
                    (ticket, l2)
                }
            },
        };
        self.ask(question, &question.session, ticket, Keep::Yes, l2).await
    }

    fn sought(&self, found: Found<StoredResponse>, lease: Option<LeaseResult>) -> Filled {
        let Found { entry, tier, right } = found;
        if tier == Tier::L2 {
            let fresh = matches!(right, Right::Fresh { .. });
            self.metrics.tier_lookup(tier, if fresh { TierResult::Hit } else { TierResult::Expired });
        }
        lease.inspect(|lease| self.metrics.fill_lease(*lease));
        Filled { entry, whence: Whence::Tier { tier, right, lease }, collapsed: false }
    }

    /// Asks Postgres, within the budget of one request, and stores the answer in L1.
    async fn ask(
        &self,
        question: &Question,
        session: &Session,
        ticket: FillTicket,
        keep: Keep,
        l2: Option<TierResult>,
    ) -> End {
        let budget = self.config.limits.request_deadline;
        let (statement, estimate) = (&question.plan.statement, question.plan.estimate.as_deref());
        // Not named: a future that is moved after it was given a name takes its room twice.
        let answer = tokio::time::timeout(budget, self.origin.read(session, statement, estimate)).await;
        let answer = answer.map_err(|_| Error::Deadline { budget })??;
        // What a function says of the answer is said to this request alone: a cookie must not reach another (C6).
        let keep = if answer.said.is_nothing() { keep } else { Keep::No };
        self.learn(question, &answer, ticket.began());
        let ticket = question.narrowed(ticket, &answer);
        let rendered = question.plan.shape.answer(answer)?;
        let response = StoredResponse::new(rendered.status, &rendered.headers, &rendered.body);
        let lifetimes = question.lifetimes(rand::random());
        let (entry, stored) = match keep {
            Keep::Yes => {
                let (entry, stored) = self.cache.store(ticket, response, lifetimes);
                (entry, Some(stored))
            }
            Keep::No => (self.cache.pass(ticket, response), None),
        };
        Ok(Filled { entry, whence: Whence::Origin { stored, l2 }, collapsed: false })
    }
}
