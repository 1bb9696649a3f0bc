//! What a request meets first. A hit that the lane of this worker has at hand leaves here; all else passes the stack.
//!
//! Such a hit is answered before anything is waited for, so the stack has nothing to bound: it is never in flight, and has no
//! deadline to miss. What the stack does for every answer is done here too, by the same functions.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service};
use tower::{Service, ServiceExt as _, util::Oneshot};

use crate::{
    layers::{cors::Origins, farewell},
    readiness::Readiness,
    serve::Serve,
};

/// See the module.
#[derive(Clone)]
pub(crate) struct Front<S> {
    serve: Arc<Serve>,
    origins: Origins,
    readiness: Arc<Readiness>,
    stack: S,
}

impl<S> Front<S> {
    pub(crate) fn new(serve: Arc<Serve>, readiness: Arc<Readiness>, stack: S) -> Self {
        let origins = Origins::new(serve.origins());
        Self { serve, origins, readiness, stack }
    }

    fn hit<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let began = Instant::now();
        let mut response = self.serve.hit_in_lane(request.method(), request.uri(), request.headers(), began)?;
        if let Some(told) = self.origins.judge(request.headers()) {
            told.dress(response.headers_mut());
        }
        farewell::bid_if_due(&self.readiness, request.version(), response.headers_mut());
        Some(response)
    }
}

impl<S> service::Service<Request<Incoming>> for Front<S>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = FrontFuture<S>;

    fn call(&self, request: Request<Incoming>) -> FrontFuture<S> {
        match self.hit(&request) {
            Some(response) => FrontFuture::Hit(Some(response)),
            // Boxed, so that a hit does not carry the room that all else needs.
            None => FrontFuture::Passed(Box::pin(self.stack.clone().oneshot(request))),
        }
    }
}

/// An answer, or the way through the stack.
pub(crate) enum FrontFuture<S: Service<Request<Incoming>>> {
    Hit(Option<Response<Full<Bytes>>>),
    Passed(Pin<Box<Oneshot<S, Request<Incoming>>>>),
}

impl<S> Future for FrontFuture<S>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>,
{
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Hit(response) => Poll::Ready(Ok(response.take().expect("a future is not polled after it is ready"))),
            Self::Passed(future) => future.as_mut().poll(cx),
        }
    }
}
