//! Turns every typed error into a response: the one place where that happens.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    error::Error,
    reply::{self, Reply},
};

/// Makes a [`Rescue`].
#[derive(Clone)]
pub(crate) struct RescueLayer;

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue { inner }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Rescue<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Rescue<S>
where
    S: Service<Request<B>, Response = Reply, Error = Error>,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = RescueFuture<S::Future>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Nothing below pushes back: what is over a limit is shed with an error of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        RescueFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    pub(crate) struct RescueFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = Result<Reply, Error>>> Future for RescueFuture<F> {
    type Output = Result<Reply, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let end = ready!(self.project().inner.poll(cx));
        Poll::Ready(Ok(end.unwrap_or_else(|error| {
            tracing::debug!(%error, detail = error.detail(), "rescued");
            reply::to_error(&error)
        })))
    }
}
