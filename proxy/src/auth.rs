//! Who asks. So far only the anonymous role; tokens have their place here.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, StatusCode, header::AUTHORIZATION};

use crate::error::{Error, Problem};

/// As whom a request is answered. Part of every cache key (C6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// the database role; `None`: the role of the connection
    pub role: Option<Arc<str>>,
}

/// Decides who asks.
#[derive(Debug, Clone)]
pub struct Auth {
    anonymous: Principal,
}

impl Auth {
    /// Everybody is anonymous and gets this role.
    #[must_use]
    pub fn new(anon_role: Option<&str>) -> Self {
        Self { anonymous: Principal { role: anon_role.map(Arc::from) } }
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// A bearer token is refused as PostgREST refuses it while it has no `jwt-secret`: to ignore it would be to answer
    /// as somebody else.
    pub fn principal(&self, headers: &HeaderMap) -> Result<Principal, Error> {
        let bearer = headers.get(AUTHORIZATION).is_some_and(|value| {
            value.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
        });
        if bearer { Err(no_secret()) } else { Ok(self.anonymous.clone()) }
    }
}

fn no_secret() -> Error {
    Error::Refused(Box::new(Problem {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: "PGRST300".into(),
        message: "Server lacks JWT secret".into(),
        details: None,
        hint: Some(Cow::Borrowed("leave out Authorization: this node answers everybody as the anonymous role")),
    }))
}
