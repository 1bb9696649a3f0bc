//! Which part of the proxy a request is for.

use std::{
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tower::Service;

use crate::{
    error::Error,
    reply::Reply,
    serve::Serve,
    state::{self, State},
};

/// How much of a body that is too large is read on before the client is left to itself.
const DISCARDED_BYTES_MAX: usize = 64 << 20;

/// The innermost service: hands requests to [`Serve`] or to [`State`].
#[derive(Clone)]
pub(crate) struct Router {
    serve: Arc<Serve>,
    state: Arc<State>,
    body_bytes_max: usize,
}

impl Router {
    pub(crate) fn new(serve: Arc<Serve>, state: Arc<State>, body_bytes_max: usize) -> Self {
        Self { serve, state, body_bytes_max }
    }
}

impl Service<Request<Incoming>> for Router {
    type Response = Reply;
    type Error = Error;
    type Future = RouteFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> RouteFuture {
        let (parts, body) = request.into_parts();
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        // A hit needs no future of its own: it is answered before anything is boxed.
        if let Some(hit) = reads.then(|| self.serve.hit_at_once(&parts)).flatten() {
            return RouteFuture::Hit(ready(Ok(hit)));
        }
        if self.state.serves(parts.uri.path()) {
            let state = self.state.clone();
            return RouteFuture::Work(Box::pin(async move {
                let body = whole(body, state::BODY_BYTES_MAX).await?;
                state.answer(&parts, &body).await
            }));
        }
        if !self.serve.serves(parts.uri.path()) {
            return RouteFuture::Hit(ready(Err(Error::NoSuchPath)));
        }
        let (serve, bytes_max) = (self.serve.clone(), self.body_bytes_max);
        // A box of its own, which has not to hold a write.
        if reads {
            return RouteFuture::Work(Box::pin(async move { serve.read(&parts).await }));
        }
        RouteFuture::Work(Box::pin(async move {
            if expects_leave(&parts) && body.size_hint().lower() > bytes_max as u64 {
                return Err(Error::BodyTooLarge { bytes_max });
            }
            let body = whole(body, bytes_max).await?;
            serve.write(&parts, body).await
        }))
    }
}

/// Ready at once, or work.
pub(crate) enum RouteFuture {
    Hit(Ready<Result<Reply, Error>>),
    Work(Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>),
}

impl Future for RouteFuture {
    type Output = Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Hit(hit) => Pin::new(hit).poll(cx),
            Self::Work(work) => work.as_mut().poll(cx),
        }
    }
}

/// Whether the client sends the body only after it is told to (RFC 9110, section 10.1.1), which reading it does.
fn expects_leave(parts: &Parts) -> bool {
    parts.headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The whole body, if it is not too large.
async fn whole(mut body: Incoming, bytes_max: usize) -> Result<Bytes, Error> {
    match Limited::new(&mut body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            discard(body).await;
            Err(Error::BodyTooLarge { bytes_max })
        }
        Err(error) => Err(Error::BodyBroken { reason: error.to_string() }),
    }
}

/// Reads on to no purpose but that the client, busy sending, gets to read the answer: to close a connection over unread
/// bytes is to reset it.
async fn discard(mut body: Incoming) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}
