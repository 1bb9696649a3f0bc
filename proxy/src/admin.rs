//! The listener for operators: is it alive, is it ready, how is it, what does it count, purge.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use cache_core::clock::Moment;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower::Service;

use crate::{
    config::View,
    distinct::{Counts, TableReport},
    feed::{Kind, Report, State},
    origin::Health,
    readiness::Readiness,
    reply::Body,
    serve::{Purge, SchemaAge, Serve},
    telemetry::Gauges,
};

/// Bytes of a purge request at most.
const PURGE_BYTES_MAX: usize = 1024 * 1024;

/// Longest wait for Postgres' answer to "are you there?".
const HEALTH_PATIENCE: Duration = Duration::from_secs(1);

/// The service of the admin listener. It runs before there is anything to serve, because a node that waits for Postgres
/// is alive, and whoever probes it must be able to hear that.
#[derive(Clone)]
pub(crate) struct Admin {
    /// empty until the node has started
    serve: Arc<OnceLock<Arc<Serve>>>,
    readiness: Arc<Readiness>,
    view: Arc<View>,
}

type Answer = Response<Body>;

impl Admin {
    pub(crate) fn new(serve: Arc<OnceLock<Arc<Serve>>>, readiness: Arc<Readiness>, view: View) -> Self {
        Self { serve, readiness, view: Arc::new(view) }
    }

    async fn answer(self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET | &Method::HEAD, "/livez") => text(StatusCode::OK, "live\n"),
            (&Method::GET | &Method::HEAD, "/readyz") if self.readiness.holds() => text(StatusCode::OK, "ready\n"),
            (&Method::GET | &Method::HEAD, "/readyz") => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            (&Method::GET | &Method::HEAD, "/config") => {
                // What the database says of them is known once the node has started.
                let view = self.serve.get().map_or(&*self.view, |serve| serve.settings());
                json_answer(StatusCode::OK, &json!(view))
            }
            (&Method::GET | &Method::HEAD, "/health") => match self.serve.get() {
                Some(serve) => self.health(serve).await,
                None => json_answer(StatusCode::OK, &json!({ "ready": false, "starting": true })),
            },
            (&Method::GET | &Method::HEAD, "/metrics") => self.started(metrics),
            (&Method::GET | &Method::HEAD, "/feed") => self.started(precision),
            (&Method::GET | &Method::HEAD, "/distinct") => match self.serve.get() {
                Some(serve) => distinct(serve).await,
                None => starting(),
            },
            (&Method::POST, "/purge") => match self.serve.get() {
                Some(serve) => purge(serve, request).await,
                None => starting(),
            },
            (_, "/purge") => wrong_method("POST"),
            (_, "/livez" | "/readyz" | "/health" | "/metrics" | "/config" | "/feed" | "/distinct") => {
                wrong_method("GET, HEAD")
            }
            _ => {
                let paths = "/livez, /readyz, /health, /feed, /distinct, /metrics, /config or POST /purge";
                problem(StatusCode::NOT_FOUND, &format!("try {paths}"))
            }
        }
    }

    fn started(&self, answer: impl FnOnce(&Serve) -> Answer) -> Answer {
        self.serve.get().map_or_else(starting, |serve| answer(serve))
    }

    /// One entry per part of the pillar. 200 as long as the node can answer something.
    async fn health(&self, serve: &Serve) -> Answer {
        let cache = &serve.cache;
        // Asked now: without traffic nobody else would notice that it is gone.
        let postgres = match serve.origin.health(HEALTH_PATIENCE).await {
            Some(Health::Up) => json!({ "status": "up" }),
            Some(Health::Down(reason)) => json!({ "status": "down", "reason": reason }),
            None => json!({ "status": "silent", "reason": format!("no answer within {HEALTH_PATIENCE:?}") }),
        };
        let now = cache.clock().now();
        let coherence = cache.coherence();
        let (entries, bytes) = cache.l1_size();
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
            "feed": feed(serve, now),
            "schema": schema(&serve.schema_age()),
            "l1": { "entries": entries, "bytes": bytes },
        });
        json_answer(StatusCode::OK, &body)
    }
}

fn feed(serve: &Serve, now: Moment) -> Value {
    let state = serve.feed.state();
    let reason = match &state {
        State::Down { reason } => Some(reason.clone()),
        State::Off | State::Leading { .. } | State::Following => None,
    };
    json!({
        "status": state.as_str(),
        "kind": serve.feed.kind().map(Kind::as_str),
        "reason": reason,
        "lag_ms": state.lag(now).map(|lag| lag.as_millis()),
        "tables_covered": serve.feed.coverage().size(),
    })
}

/// How exactly the changes of each table are announced.
fn precision(serve: &Serve) -> Answer {
    let table = |report: &Report| {
        json!({
            "table": report.table.to_string(),
            "precision": report.precision.as_str(),
            "columns": report.columns.iter().map(|column| &**column).collect::<Vec<&str>>(),
            "remedy": report.remedy.as_ref().map(|remedy| json!({ "run": remedy.run, "effect": remedy.effect })),
        })
    };
    let tables: Option<Vec<Value>> = serve.precision().map(|reports| reports.iter().map(table).collect());
    let now = serve.cache.clock().now();
    json_answer(StatusCode::OK, &json!({ "feed": feed(serve, now), "tables": tables }))
}

/// How many different keys were asked of each table, and by how many different users, in this window and the one before.
async fn distinct(serve: &Serve) -> Answer {
    let report = match serve.asked().await {
        Ok(report) => report,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &format!("redis does not answer: {error}")),
    };
    let counts = |Counts { keys, users }: Counts| json!({ "keys": keys, "users": users });
    let table = |report: &TableReport| {
        let table = report.table.to_string();
        json!({ "table": table, "now": counts(report.now), "before": counts(report.before) })
    };
    let tables: Vec<Value> = report.tables.iter().map(table).collect();
    let body = json!({
        "window_ms": report.window.as_millis(),
        "since": report.since.as_secs(),
        "dropped": report.dropped,
        "tables": tables,
    });
    json_answer(StatusCode::OK, &body)
}

fn schema(age: &SchemaAge) -> Value {
    json!({
        "status": if age.failure.is_none() { "loaded" } else { "old" },
        "reason": age.failure,
        "loaded_at": age.loaded_at.as_secs(),
        "age_ms": age.age.as_millis(),
        "fingerprint": format!("{:032x}", age.fingerprint),
    })
}

fn metrics(serve: &Serve) -> Answer {
    let cache = &serve.cache;
    let (l1_entries, l1_bytes) = cache.l1_size();
    let (pool_idle, pool_in_use) = serve.origin.connections();
    serve.settle_metrics();
    let text = serve.metrics.render(Gauges {
        l1_entries,
        l1_bytes,
        pool_idle,
        pool_in_use,
        pool_waiting_reads: serve.origin.waiting_reads(),
        watermark: cache.coherence().watermark().0,
        lease_held: cache.coherence().lease_held(cache.clock().now()),
        fills_waiting: cache.fills_waiting(),
        feed_lag: serve.feed.state().lag(cache.clock().now()),
    });
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into())
}

async fn purge(serve: &Serve, request: Request<Incoming>) -> Answer {
    let body = match Limited::new(request.into_body(), PURGE_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {error}")),
    };
    let purge: Purge = match serde_json::from_slice(&body) {
        Ok(purge) => purge,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("not a purge: {error}")),
    };
    if purge.is_empty() {
        return problem(StatusCode::BAD_REQUEST, "nothing to purge: name tables, tags or urls, or say \"all\": true");
    }
    if let Err(message) = purge.check() {
        return problem(StatusCode::BAD_REQUEST, &message);
    }
    match serve.purge(&purge).await {
        Ok(token) => json_answer(StatusCode::OK, &json!({ "purged": true, "token": token.to_string() })),
        Err(error) => json_answer(
            StatusCode::ACCEPTED,
            &json!({ "purged": "on this node", "details": format!("the peers follow when redis answers: {error}") }),
        ),
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

fn starting() -> Answer {
    problem(StatusCode::SERVICE_UNAVAILABLE, "the node is starting")
}

/// RFC 9110, section 15.5.6: such an answer names the methods that would do.
fn wrong_method(allowed: &'static str) -> Answer {
    let message = format!("this path does not know that method; it knows {allowed}");
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, &message);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn problem(status: StatusCode, message: &str) -> Answer {
    json_answer(status, &json!({ "code": "TRANSOM12", "message": message, "details": null, "hint": null }))
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    answer(status, "application/json; charset=utf-8", format!("{body:#}\n").into())
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
