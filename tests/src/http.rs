//! A small HTTP client whose answers are easy to make claims about.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Longer than any deadline of the proxy: a request that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client for one base address.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    base: String,
}

impl Http {
    /// `base` is what comes before the path: `http://127.0.0.1:8000/rest/v1`.
    ///
    /// # Panics
    /// If the system has no randomness or the like.
    #[must_use]
    pub fn new(base: impl Into<String>) -> Self {
        Self::over(reqwest::Client::builder(), base.into())
    }

    /// The same with a connection for each request: for a server that closes them when it likes.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn without_reuse(base: impl Into<String>) -> Self {
        Self::over(reqwest::Client::builder().pool_max_idle_per_host(0), base.into())
    }

    fn over(builder: reqwest::ClientBuilder, base: String) -> Self {
        let builder = builder.timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        // Only loopback is asked here, whatever the environment says about proxies.
        let client = builder.no_proxy().build().expect("a plain client can be built");
        Self { client, base }
    }

    /// Begins a request; `target` is appended to the base address as it is.
    #[must_use]
    pub fn request(&self, method: Method, target: &str) -> Request {
        Request { builder: self.client.request(method, format!("{}{target}", self.base)) }
    }

    /// Begins a GET.
    #[must_use]
    pub fn get(&self, target: &str) -> Request {
        self.request(Method::GET, target)
    }

    /// Begins a HEAD.
    #[must_use]
    pub fn head(&self, target: &str) -> Request {
        self.request(Method::HEAD, target)
    }

    /// Begins a POST of JSON.
    #[must_use]
    pub fn post(&self, target: &str, body: &Value) -> Request {
        self.request(Method::POST, target).json(body)
    }

    /// Begins a PATCH with JSON.
    #[must_use]
    pub fn patch(&self, target: &str, body: &Value) -> Request {
        self.request(Method::PATCH, target).json(body)
    }

    /// Begins a DELETE.
    #[must_use]
    pub fn delete(&self, target: &str) -> Request {
        self.request(Method::DELETE, target)
    }
}

/// A request being built.
#[derive(Debug)]
pub struct Request {
    builder: reqwest::RequestBuilder,
}

impl Request {
    /// Adds a header.
    #[must_use]
    pub fn header(self, name: &str, value: impl AsRef<str>) -> Self {
        Self { builder: self.builder.header(name, value.as_ref()) }
    }

    /// Sends these bytes; the content type is the caller's.
    #[must_use]
    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { builder: self.builder.body(bytes.into()) }
    }

    fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// If there is no whole answer.
    pub async fn send(self) -> Response {
        self.try_send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// As [`Request::send`], for tests in which a connection may fail.
    ///
    /// # Errors
    /// If there is no whole answer.
    pub async fn try_send(self) -> Result<Response, reqwest::Error> {
        let response = self.builder.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Response { status, headers, body: response.bytes().await?.to_vec() })
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether no announcement touched what is stored: it answered, or it would have if the node could have proven that it is
    /// fresh. A machine that stalls costs a node its lease for a moment, now and then.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.is_hit() || self.header("cache-status").ends_with("detail=unproven")
    }

    /// Whether it came fresh from one of the tiers.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        self.header("cache-status").starts_with("transom; hit; detail=l")
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none; the message shows the answer.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }

    /// Passes the answer on if it has this status.
    ///
    /// # Panics
    /// If it has another; the message shows the answer.
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        self
    }
}
