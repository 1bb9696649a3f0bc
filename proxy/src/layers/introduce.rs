//! Tells requests from which address their connection came: one per connection.

use std::net::IpAddr;

use http::Request;
use hyper::service::Service;

/// The address at the other end of a connection, among a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// See the module.
#[derive(Clone)]
pub(crate) struct Introduce<S> {
    inner: S,
    /// `None` if nobody wants to know: then requests stay as they are
    peer: Option<Peer>,
}

impl<S> Introduce<S> {
    pub(crate) fn new(inner: S, peer: Option<Peer>) -> Self {
        Self { inner, peer }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Introduce<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> S::Future {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.inner.call(request)
    }
}
