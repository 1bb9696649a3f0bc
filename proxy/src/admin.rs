//! The listener for operators: is it alive, is it ready, how is it, what does it count, purge.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower::Service;

use crate::{
    config::View,
    origin::Health,
    serve::{Purge, Serve},
    telemetry::Gauges,
};

/// Bytes of a purge request at most.
const PURGE_BYTES_MAX: usize = 1024 * 1024;

/// Whether the node wants traffic: raised when it has started, dropped when it begins to drain.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicBool);

impl Readiness {
    pub(crate) fn raise(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn lower(&self) {
        self.0.store(false, Relaxed);
    }

    fn holds(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The service of the admin listener.
#[derive(Clone)]
pub(crate) struct Admin {
    serve: Arc<Serve>,
    readiness: Arc<Readiness>,
    view: Arc<View>,
}

type Answer = Response<Full<Bytes>>;

impl Admin {
    pub(crate) fn new(serve: Arc<Serve>, readiness: Arc<Readiness>, view: View) -> Self {
        Self { serve, readiness, view: Arc::new(view) }
    }

    async fn answer(self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        match (request.method().clone(), path.as_str()) {
            (Method::GET | Method::HEAD, "/livez") => text(StatusCode::OK, "live\n"),
            (Method::GET | Method::HEAD, "/readyz") if self.readiness.holds() => text(StatusCode::OK, "ready\n"),
            (Method::GET | Method::HEAD, "/readyz") => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            (Method::GET | Method::HEAD, "/health") => self.health(),
            (Method::GET | Method::HEAD, "/metrics") => self.metrics(),
            (Method::GET | Method::HEAD, "/config") => json_answer(StatusCode::OK, &json!(*self.view)),
            (Method::POST, "/purge") => self.purge(request).await,
            (_, "/livez" | "/readyz" | "/health" | "/metrics" | "/config" | "/purge") => {
                problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not know that method")
            }
            _ => problem(StatusCode::NOT_FOUND, "try /livez, /readyz, /health, /metrics, /config or POST /purge"),
        }
    }

    /// One line per part of the pillar. 200 as long as the node can answer something.
    fn health(&self) -> Answer {
        let (cache, origin) = (&self.serve.cache, &self.serve.origin);
        let now = cache.clock().now();
        let coherence = cache.coherence();
        let (entries, bytes) = cache.l1_size();
        let postgres = match origin.health() {
            Health::Up => json!({ "status": "up" }),
            Health::Down(reason) => json!({ "status": "down", "reason": reason }),
        };
        let redis = match cache.l2_available() {
            None => json!({ "status": "not configured" }),
            Some(true) => json!({ "status": "up" }),
            Some(false) => json!({ "status": "down" }),
        };
        let body = json!({
            "ready": self.readiness.holds(),
            "postgres": postgres,
            "redis": redis,
            "coherence": {
                "lease_held": coherence.lease_held(now),
                "epoch": coherence.epoch().map(|epoch| epoch.to_string()),
                "watermark": coherence.watermark().0,
                "max_staleness_ms": coherence.max_staleness().as_millis(),
                "owes_announcements": cache.owes(),
            },
            "l1": { "entries": entries, "bytes": bytes },
        });
        json_answer(StatusCode::OK, &body)
    }

    fn metrics(&self) -> Answer {
        let cache = &self.serve.cache;
        let (l1_entries, l1_bytes) = cache.l1_size();
        let (pool_idle, pool_in_use) = self.serve.origin.connections();
        let text = self.serve.metrics.render(Gauges {
            l1_entries,
            l1_bytes,
            pool_idle,
            pool_in_use,
            watermark: cache.coherence().watermark().0,
            lease_held: cache.coherence().lease_held(cache.clock().now()),
        });
        answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into())
    }

    async fn purge(&self, request: Request<Incoming>) -> Answer {
        let body = match Limited::new(request.into_body(), PURGE_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {error}")),
        };
        let purge: Purge = match serde_json::from_slice(&body) {
            Ok(purge) => purge,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("not a purge: {error}")),
        };
        if purge.is_empty() {
            return problem(
                StatusCode::BAD_REQUEST,
                "nothing to purge: name tables, tags or urls, or say \"all\": true",
            );
        }
        match self.serve.purge(&purge).await {
            Ok(token) => json_answer(StatusCode::OK, &json!({ "purged": true, "token": token.to_string() })),
            Err(error) => json_answer(
                StatusCode::ACCEPTED,
                &json!({ "purged": "on this node", "details": format!("the peers follow when redis answers: {error}") }),
            ),
        }
    }
}

impl Service<Request<Incoming>> for Admin {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let admin = self.clone();
        Box::pin(async move { Ok(admin.answer(request).await) })
    }
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    answer(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn problem(status: StatusCode, message: &str) -> Answer {
    json_answer(status, &json!({ "code": "TRANSOM12", "message": message, "details": null, "hint": null }))
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    answer(status, "application/json; charset=utf-8", format!("{body:#}\n").into())
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
