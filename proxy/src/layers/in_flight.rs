//! Sheds requests beyond a number at the same time: at once, and with an answer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use http::Request;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{error::Error, reply::Reply};

/// Makes an [`InFlight`]; all of one layer share one count.
#[derive(Clone)]
pub(crate) struct InFlightLayer {
    count: Arc<AtomicUsize>,
    max: usize,
}

impl InFlightLayer {
    pub(crate) fn new(max: usize) -> Self {
        Self { count: Arc::default(), max }
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight { inner, count: self.count.clone(), max: self.max }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct InFlight<S> {
    inner: S,
    count: Arc<AtomicUsize>,
    max: usize,
}

impl<S, B> Service<Request<B>> for InFlight<S>
where
    S: Service<Request<B>, Response = Reply, Error = Error>,
{
    type Response = Reply;
    type Error = Error;
    type Future = InFlightFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let permit = Permit::take(&self.count);
        if permit.place > self.max {
            return InFlightFuture::Shed { max: self.max };
        }
        InFlightFuture::Admitted { inner: self.inner.call(request), permit }
    }
}

/// A place among the requests in flight, given back when dropped.
struct Permit {
    count: Arc<AtomicUsize>,
    place: usize,
}

impl Permit {
    fn take(count: &Arc<AtomicUsize>) -> Self {
        Self { place: count.fetch_add(1, Relaxed) + 1, count: count.clone() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Relaxed);
    }
}

pin_project! {
    #[project = InFlightProjection]
    pub(crate) enum InFlightFuture<F> {
        Admitted { #[pin] inner: F, permit: Permit },
        Shed { max: usize },
    }
}

impl<F: Future<Output = Result<Reply, Error>>> Future for InFlightFuture<F> {
    type Output = Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            InFlightProjection::Admitted { inner, .. } => inner.poll(cx),
            InFlightProjection::Shed { max } => Poll::Ready(Err(Error::Overloaded { in_flight_max: *max })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let count = Arc::default();
        let (first, second) = (Permit::take(&count), Permit::take(&count));
        assert_eq!((first.place, second.place), (1, 2));
        drop(first);
        assert_eq!(Permit::take(&count).place, 2);
    }
}
