//! The budget of one request. What it started (a fill, a write) goes on and is bounded on its own.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower::{Layer, Service};

use crate::{error::Error, reply::Reply};

/// Makes a [`Deadline`].
#[derive(Clone)]
pub(crate) struct DeadlineLayer {
    budget: Duration,
}

impl DeadlineLayer {
    pub(crate) fn new(budget: Duration) -> Self {
        Self { budget }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, budget: self.budget }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Deadline<S> {
    inner: S,
    budget: Duration,
}

impl<S, B> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Reply, Error = Error>,
{
    type Response = Reply;
    type Error = Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        DeadlineFuture { inner: self.inner.call(request), began: Instant::now(), sleep: None, budget: self.budget }
    }
}

pin_project! {
    pub(crate) struct DeadlineFuture<F> {
        #[pin]
        inner: F,
        began: Instant,
        // Made only when the request has to wait: a hit never asks the timer for anything.
        #[pin]
        sleep: Option<Sleep>,
        budget: Duration,
    }
}

impl<F: Future<Output = Result<Reply, Error>>> Future for DeadlineFuture<F> {
    type Output = Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(end) = this.inner.poll(cx) {
            // Postgres has the same budget for a statement, and now and then its clock is looked at first.
            let late = |error: &Error| error.is_canceled_statement() && this.began.elapsed() >= *this.budget;
            return Poll::Ready(match end {
                Err(error) if late(&error) => Err(Error::Deadline { budget: *this.budget }),
                end => end,
            });
        }
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep(*this.budget)));
        }
        match this.sleep.as_pin_mut().map(|sleep| sleep.poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(Error::Deadline { budget: *this.budget })),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::error::SqlState;

    use super::*;
    use crate::rest::{Caller, Refusal, problem_of_refusal};

    async fn canceled(budget: Duration) -> Error {
        let refusal = Refusal {
            severity: "ERROR".to_owned(),
            state: SqlState::QUERY_CANCELED,
            message: "canceling statement due to statement timeout".to_owned(),
            detail: None,
            hint: None,
        };
        let problem = Box::new(problem_of_refusal(&refusal, Caller::Anonymous));
        let error = Error::Database { problem, state: refusal.state };
        let inner = async { Err(error) };
        let Err(error) = (DeadlineFuture { inner, began: Instant::now(), sleep: None, budget }).await else {
            panic!("it failed")
        };
        error
    }

    /// Found by a busy machine: 500 instead of 504, because the server noticed the end of the budget a moment before the node.
    #[tokio::test]
    async fn whose_clock_ends_the_budget_makes_no_difference() {
        assert!(matches!(canceled(Duration::ZERO).await, Error::Deadline { .. }));
        // A function may have a shorter timeout of its own.
        assert!(matches!(canceled(Duration::from_secs(3_600)).await, Error::Database { .. }));
    }
}
