//! The budget of one request. What it started (a fill, a write) goes on and is bounded on its own.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
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
        DeadlineFuture { inner: self.inner.call(request), sleep: None, budget: self.budget }
    }
}

pin_project! {
    pub(crate) struct DeadlineFuture<F> {
        #[pin]
        inner: F,
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
            return Poll::Ready(end);
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
