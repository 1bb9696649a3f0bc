//! Asks the clients of a draining node to leave, with the answers that they get anyway.
//!
//! A connection that is closed while it is idle may be closed just as the next request arrives on it. One whose last
//! answer said `Connection: close` (RFC 9112, section 9.6) carries no further request, so nothing is lost.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::readiness::Readiness;

/// Makes a [`Farewell`].
#[derive(Clone)]
pub(crate) struct FarewellLayer {
    readiness: Arc<Readiness>,
}

impl FarewellLayer {
    pub(crate) fn new(readiness: Arc<Readiness>) -> Self {
        Self { readiness }
    }
}

impl<S> Layer<S> for FarewellLayer {
    type Service = Farewell<S>;

    fn layer(&self, inner: S) -> Farewell<S> {
        Farewell { inner, readiness: self.readiness.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Farewell<S> {
    inner: S,
    readiness: Arc<Readiness>,
}

impl<S, B, R> Service<Request<B>> for Farewell<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = FarewellFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let version = request.version();
        FarewellFuture { inner: self.inner.call(request), version, readiness: self.readiness.clone() }
    }
}

pin_project! {
    pub(crate) struct FarewellFuture<F> {
        #[pin]
        inner: F,
        version: Version,
        readiness: Arc<Readiness>,
    }
}

impl<F, R> Future for FarewellFuture<F>
where
    F: Future<Output = Result<Response<R>, Infallible>>,
{
    type Output = Result<Response<R>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.inner.poll(cx));
        bid_if_due(this.readiness, *this.version, response.headers_mut());
        Poll::Ready(Ok(response))
    }
}

/// Asks the client to leave, if it is to. HTTP/2 has no such header: there GOAWAY says it, when the listener stops, and
/// loses nothing.
pub(crate) fn bid_if_due(readiness: &Readiness, version: Version, headers: &mut HeaderMap) {
    // A connection that becomes a WebSocket carries no further request anyhow, and is ended by a close of its own.
    if version <= Version::HTTP_11 && !readiness.holds() && !headers.contains_key(header::UPGRADE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}
