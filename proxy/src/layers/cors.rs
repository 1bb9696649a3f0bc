//! Cross-origin requests, answered as PostgREST 12.0.2 does (<https://docs.postgrest.org/en/v12/references/api/cors.html>):
//! every origin may ask unless a setting names those that may. An answer is dressed here, after it left the cache, so no
//! entry carries what one origin was told to another.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Method, Request, header};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::reply::{self, Reply};

/// What a page may read of an answer beside what it always may: PostgREST's list, and Transom's own.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Server, Transfer-Encoding, \
     Range-Unit, Cache-Status, Age, ETag, Preference-Applied, Transom-Token",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD");
/// How long a browser may remember the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");
const ANY: HeaderValue = HeaderValue::from_static("*");
/// What a page may always send, named for browsers that ask about it all the same.
const SIMPLE: [&str; 3] = ["Accept", "Accept-Language", "Content-Language"];

/// The origins that may ask; `None`: all.
#[derive(Clone)]
pub(crate) struct Origins(Option<Arc<[String]>>);

impl Origins {
    pub(crate) fn new(origins: Option<&[String]>) -> Self {
        Self(origins.map(Into::into))
    }

    /// What the origin of a request is told, if it may ask. The others get the answer all the same, and their browsers keep
    /// it from them.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> Option<Told> {
        let origin = headers.get(header::ORIGIN)?;
        match &self.0 {
            None => Some(Told::Any),
            Some(origins) if origins.iter().any(|one| one.as_bytes() == origin.as_bytes()) => {
                Some(Told::Alone(origin.clone()))
            }
            Some(_) => None,
        }
    }
}

/// Makes a [`Cors`].
#[derive(Clone)]
pub(crate) struct CorsLayer {
    origins: Origins,
}

impl CorsLayer {
    pub(crate) fn new(origins: Origins) -> Self {
        Self { origins }
    }
}

impl<S> Layer<S> for CorsLayer {
    type Service = Cors<S>;

    fn layer(&self, inner: S) -> Cors<S> {
        Cors { inner, origins: self.origins.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Cors<S> {
    inner: S,
    origins: Origins,
}

impl<S, B> Service<Request<B>> for Cors<S>
where
    S: Service<Request<B>, Response = Reply>,
{
    type Response = Reply;
    type Error = S::Error;
    type Future = CorsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let origin = self.origins.judge(request.headers());
        match preflight(&request).zip(origin.clone()) {
            Some((asked, origin)) => CorsFuture::Preflight { reply: Some(asked.reply(&origin)) },
            None => CorsFuture::Passed { inner: self.inner.call(request), origin },
        }
    }
}

/// What an origin is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// that everybody may ask
    Any,
    /// that it may, with its cookies
    Alone(HeaderValue),
}

impl Told {
    /// Tells it with an answer.
    pub(crate) fn dress(&self, headers: &mut HeaderMap) {
        self.tell(headers);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }

    fn tell(&self, headers: &mut HeaderMap) {
        match self {
            Self::Any => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
            }
            Self::Alone(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
            }
        }
    }
}

/// A browser's question whether a page may send a request.
struct Preflight {
    /// the headers that the page wants to send
    headers: Option<HeaderValue>,
}

/// The preflight in a request, if it is one: `OPTIONS` with the method that will follow.
fn preflight<B>(request: &Request<B>) -> Option<Preflight> {
    let headers = request.headers();
    let asks = *request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    asks.then(|| Preflight { headers: headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned() })
}

impl Preflight {
    /// Answered here: Postgres has no say in it.
    fn reply(self, origin: &Told) -> Reply {
        let mut reply = reply::to_preflight();
        let headers = reply.response.headers_mut();
        origin.tell(headers);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.allowed_headers());
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        reply
    }

    /// Whatever the page wants to send.
    fn allowed_headers(&self) -> HeaderValue {
        let asked = self.headers.as_ref().and_then(|asked| asked.to_str().ok()).unwrap_or_default();
        let names = asked.split(',').map(str::trim).filter(|name| !name.is_empty());
        let all: Vec<&str> = std::iter::once("Authorization").chain(names).chain(SIMPLE).collect();
        HeaderValue::try_from(all.join(", ")).unwrap_or(ANY)
    }
}

pin_project! {
    #[project = CorsFutureProjection]
    pub(crate) enum CorsFuture<F> {
        Preflight { reply: Option<Reply> },
        Passed { #[pin] inner: F, origin: Option<Told> },
    }
}

impl<F, E> Future for CorsFuture<F>
where
    F: Future<Output = Result<Reply, E>>,
{
    type Output = Result<Reply, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            CorsFutureProjection::Preflight { reply } => {
                Poll::Ready(Ok(reply.take().expect("a future is not polled after it is ready")))
            }
            CorsFutureProjection::Passed { inner, origin } => {
                let mut reply = ready!(inner.poll(cx))?;
                if let Some(origin) = origin {
                    origin.dress(reply.response.headers_mut());
                }
                Poll::Ready(Ok(reply))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt as _, service_fn};

    use super::*;

    /// What a request with these headers is told, if only `https://known.example` may ask, or everybody.
    async fn told(origins: Option<&[String]>, method: Method, headers: &[(&str, &str)]) -> HeaderMap {
        let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(reply::to_preflight()) });
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        CorsLayer::new(Origins::new(origins)).layer(inner).oneshot(request).await.unwrap().response.headers().clone()
    }

    #[tokio::test]
    async fn only_who_may_ask_is_told_so_and_alone() {
        let known = ["https://known.example".to_owned()];
        let from = |origin| [("origin", origin)];
        let headers = told(Some(&known), Method::GET, &from("https://known.example")).await;
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://known.example");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[header::VARY], "Origin", "caches in between keep the answers apart");
        assert_eq!(told(Some(&known), Method::GET, &from("https://other.example")).await, HeaderMap::new());
        assert_eq!(told(Some(&known), Method::GET, &from("https://known.example.org")).await, HeaderMap::new());
        assert_eq!(told(Some(&known), Method::GET, &[]).await, HeaderMap::new());
    }

    #[tokio::test]
    async fn everybody_is_told_so_without_cookies() {
        let headers = told(None, Method::GET, &[("origin", "https://any.example")]).await;
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(headers[header::ACCESS_CONTROL_EXPOSE_HEADERS], EXPOSED);
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[tokio::test]
    async fn a_preflight_may_send_whatever_it_asks_for() {
        let asked = [
            ("origin", "https://any.example"),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "prefer, ,x-own"),
        ];
        let headers = told(None, Method::OPTIONS, &asked).await;
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_METHODS], METHODS);
        let allowed = "Authorization, prefer, x-own, Accept, Accept-Language, Content-Language";
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_HEADERS], allowed);
        let no_method = told(None, Method::OPTIONS, &asked[..1]).await;
        assert!(!no_method.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS), "it asks for the methods of a resource");
    }
}
