//! What every request passes that is not answered at once, from the outside in.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder};

use crate::{
    config::Limits,
    layers::{
        cors::{CorsLayer, Origins},
        deadline::DeadlineLayer,
        farewell::FarewellLayer,
        in_flight::InFlightLayer,
        record::RecordLayer,
        rescue::RescueLayer,
    },
    readiness::Readiness,
    route::Router,
    serve::Serve,
};

/// The whole service, in the order in which a request meets it.
pub(crate) fn stack(
    serve: Arc<Serve>,
    limits: &Limits,
    readiness: Arc<Readiness>,
) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    ServiceBuilder::new()
        // Outermost: it concerns the connection, and no request.
        .layer(FarewellLayer::new(readiness))
        // Around all that answers: whatever happens below is counted, timed, logged and named, errors too.
        .layer(RecordLayer::new(serve.metrics.clone()))
        // Around errors too: a page may read why its request failed.
        .layer(CorsLayer::new(Origins::new(serve.origins())))
        // Above everything that can fail, so that all errors look alike.
        .layer(RescueLayer)
        // Before any work is done for the request.
        .layer(InFlightLayer::new(limits.in_flight_max))
        // Around the work alone: a request that was shed has nothing to wait for.
        .layer(DeadlineLayer::new(limits.request_deadline))
        .service(Router::new(serve, limits.body_bytes_max))
}
