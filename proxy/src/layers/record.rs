//! Counts, times and logs every request, and names it.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    reply::{self, Reply},
    telemetry::{Metrics, REQUEST_ID, RequestId, RequestOutcome},
};

/// Makes a [`Record`].
#[derive(Clone)]
pub(crate) struct RecordLayer {
    metrics: Arc<Metrics>,
}

impl RecordLayer {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;

    fn layer(&self, inner: S) -> Record<S> {
        Record { inner, metrics: self.metrics.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Record<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B> Service<Request<B>> for Record<S>
where
    S: Service<Request<B>, Response = Reply, Error = Infallible>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = RecordFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asked = Asked {
            id: RequestId::of(request.headers(), rand::random),
            method: request.method().clone(),
            uri: request.uri().clone(),
            began: Instant::now(),
        };
        RecordFuture { inner: self.inner.call(request), asked, metrics: self.metrics.clone() }
    }
}

struct Asked {
    id: RequestId,
    method: Method,
    uri: Uri,
    began: Instant,
}

pin_project! {
    pub(crate) struct RecordFuture<F> {
        #[pin]
        inner: F,
        asked: Asked,
        metrics: Arc<Metrics>,
    }
}

impl<F: Future<Output = Result<Reply, Infallible>>> Future for RecordFuture<F> {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(reply) = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(record(this.asked, this.metrics, reply)))
    }
}

fn record(asked: &Asked, metrics: &Metrics, reply: Reply) -> Response<Full<Bytes>> {
    let Reply { mut response, route, outcome } = reply;
    let elapsed = asked.began.elapsed();
    let status = response.status();
    metrics.request(route, status, outcome, elapsed);
    // The path and not the query: values are the clients' business, and stay out of the log unless somebody debugs.
    // A fault of this program is worth a line each. That a part of the pillar is down was said once, by who noticed.
    if outcome == RequestOutcome::Error && status == StatusCode::INTERNAL_SERVER_ERROR {
        let (id, method) = (asked.id.as_str(), asked.method.as_str());
        tracing::warn!(id, method, path = asked.uri.path(), status = status.as_u16(), ?elapsed, "request failed");
    } else {
        log(&asked.id, &asked.method, &asked.uri, status, outcome, elapsed);
    }
    reply::add_timing(response.headers_mut(), outcome, elapsed);
    response.headers_mut().insert(REQUEST_ID, asked.id.header());
    response
}

/// A line about a request that went as it should.
pub(crate) fn log(
    id: &RequestId,
    method: &Method,
    uri: &Uri,
    status: StatusCode,
    outcome: RequestOutcome,
    elapsed: Duration,
) {
    let (id, method, outcome) = (id.as_str(), method.as_str(), outcome.as_str());
    tracing::debug!(id, method, %uri, status = status.as_u16(), outcome, ?elapsed, "request");
}
