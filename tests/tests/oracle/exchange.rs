//! One question, asked of both, and what tells the answers apart.

use std::fmt;

use reqwest::Method;
use transom_tests::{Http, Response};

/// What is asked of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// path and query
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<String>,
}

impl Ask {
    pub(super) fn new(method: Method, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), headers: Vec::new(), body: None }
    }

    pub(super) fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn json(self, body: impl Into<String>) -> Self {
        self.header("Content-Type", "application/json").body(body)
    }

    pub(super) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(super) async fn of(&self, http: &Http) -> Response {
        let request = http.request(self.method.clone(), &self.target);
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let request = match &self.body {
            Some(body) => request.body(body.as_str()),
            None => request,
        };
        request.send().await
    }

    /// The same as a command, below this address.
    fn curl(&self, base: &str) -> String {
        let mut command =
            if self.method == Method::HEAD { "curl -I".to_owned() } else { format!("curl -i -X {}", self.method) };
        for (name, value) in &self.headers {
            command.push_str(&format!(" -H {}", shell(&format!("{name}: {value}"))));
        }
        if let Some(body) = &self.body {
            command.push_str(&format!(" --data-binary {}", shell(body)));
        }
        format!("{command} {}", shell(&format!("{base}{}", self.target)))
    }
}

fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The headers that clients go by. `Content-Type` is compared like the others, the rest is Transom's own or the server's.
const HEADERS: [&str; 9] = [
    "content-type",
    "content-range",
    "content-location",
    "location",
    "preference-applied",
    "range-unit",
    "content-profile",
    "www-authenticate",
    "allow",
];

/// Both answers to one question.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) ask: Ask,
    pub(super) theirs: Response,
    pub(super) ours: Response,
}

impl Exchange {
    /// Whether there is a difference at all.
    pub(super) fn differs(&self) -> bool {
        self.differs_in_status() || self.differing_headers().next().is_some() || self.differs_in_body()
    }

    pub(super) fn differs_in_status(&self) -> bool {
        self.theirs.status != self.ours.status
    }

    pub(super) fn differs_in_body(&self) -> bool {
        self.theirs.body != self.ours.body
    }

    /// Gives our answer their headers of that name.
    pub(super) fn adopt(&mut self, name: &'static str) {
        self.ours.headers.remove(name);
        for value in self.theirs.headers.get_all(name) {
            self.ours.headers.append(name, value.clone());
        }
    }

    pub(super) fn differing_headers(&self) -> impl Iterator<Item = &'static str> {
        HEADERS.into_iter().filter(|name| all(&self.theirs, name) != all(&self.ours, name))
    }
}

fn all<'r>(response: &'r Response, name: &str) -> Vec<&'r [u8]> {
    response.headers.get_all(name).iter().map(|value| value.as_bytes()).collect()
}

/// Shows a difference, and how to see it again.
impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "PostgREST: {}", self.ask.curl("http://127.0.0.1:3000"))?;
        writeln!(f, "Transom:   {}", self.ask.curl("http://127.0.0.1:8000/rest/v1"))?;
        for (who, answer) in [("PostgREST", &self.theirs), ("Transom", &self.ours)] {
            writeln!(f, "  {who}: {}", answer.status)?;
            for name in self.differing_headers() {
                let values: Vec<_> = all(answer, name).into_iter().map(String::from_utf8_lossy).collect();
                writeln!(f, "    {name}: {}", values.join(" | "))?;
            }
            if self.differs_in_body() || self.differs_in_status() {
                writeln!(f, "    {}", answer.text().chars().take(700).collect::<String>())?;
            }
        }
        Ok(())
    }
}
