//! Refuses whoever asks too often. Only there if there are rules: it asks Redis about every request.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use tower::{Layer, Service};

use super::introduce::Peer;
use crate::{error::Error, rates::Rates, reply::Reply};

/// Makes a [`RateLimit`].
#[derive(Clone)]
pub(crate) struct RateLimitLayer {
    rates: Arc<Rates>,
}

impl RateLimitLayer {
    pub(crate) fn new(rates: Arc<Rates>) -> Self {
        Self { rates }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, rates: self.rates.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct RateLimit<S> {
    inner: S,
    rates: Arc<Rates>,
}

impl<S, B> Service<Request<B>> for RateLimit<S>
where
    S: Service<Request<B>, Response = Reply, Error = Error, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = Reply;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was asked whether it is ready, and a copy for the next.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let rates = self.rates.clone();
        Box::pin(async move {
            let peer = request.extensions().get::<Peer>().map(|Peer(address)| *address);
            let asked = rates.who(request.headers(), request.uri().path(), peer);
            let standings = rates.admit(&asked).await?;
            let mut reply = inner.call(request).await?;
            standings.tell(reply.response.headers_mut());
            Ok(reply)
        })
    }
}
