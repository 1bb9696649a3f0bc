//! What is said of the API at its root.

/// What is said of the API at its root. The default is PostgREST's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenApi {
    /// which relations and functions are described
    pub described: Described,
    /// whether tokens are described
    pub security: Security,
    /// where clients reach the API, if not where they ask for the description
    pub server: Option<DescribedServer>,
    /// the function that answers at the root instead, with or without its schema; empty means none
    pub root_function: Vec<String>,
}

/// Which relations and functions a description has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Described {
    /// those that the role has a privilege for
    #[default]
    Privileges,
    /// all of the schema
    Everything,
    /// there is no description
    Nothing,
}

/// Whether a description says that there are tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Security {
    /// it does not
    #[default]
    Omitted,
    /// it does
    Described,
}

/// Where clients reach the API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DescribedServer {
    /// `http` or `https`
    pub scheme: String,
    /// host and port
    pub host: String,
    /// at least a slash
    pub path: String,
}

impl Described {
    /// The words of `openapi_mode`.
    pub(super) const WORDS: &'static [&'static str] = &["follow-privileges", "ignore-privileges", "disabled"];

    pub(super) fn of(text: &str) -> Self {
        match text {
            "ignore-privileges" => Self::Everything,
            "disabled" => Self::Nothing,
            _ => Self::Privileges,
        }
    }
}

impl Security {
    pub(super) fn of(text: &str) -> Self {
        if text == "true" { Self::Described } else { Self::Omitted }
    }
}

impl DescribedServer {
    /// Of a URL such as `https://example.org/api`. As in PostgREST, the port is always named.
    pub(super) fn read(url: &str) -> Option<Self> {
        let url: http::Uri = url.parse().ok()?;
        let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
        let host = url.host().filter(|host| !host.is_empty())?;
        let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        let plain = url.query().is_none();
        plain.then(|| Self { scheme: scheme.to_owned(), host: format!("{host}:{port}"), path: url.path().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_from_its_url() {
        let server = DescribedServer::read("https://example.org/api").unwrap();
        assert_eq!((&*server.scheme, &*server.host, &*server.path), ("https", "example.org:443", "/api"));
        assert_eq!(DescribedServer::read("http://example.org:81").unwrap().host, "example.org:81");
        for wrong in ["example.org", "ftp://example.org", "/api", "http://example.org/?x=y", ""] {
            assert_eq!(DescribedServer::read(wrong), None, "{wrong}");
        }
    }
}
