//! Who asks: the anonymous role, or whoever a bearer token speaks for
//! (<https://docs.postgrest.org/en/v12/references/auth.html>).

mod excerpt;
mod claims;
mod token;

use std::sync::Arc;

use cache_core::{clock::WallMillis, state::session::User};
use http::{HeaderMap, header::AUTHORIZATION};
use moka::sync::Cache;

use self::claims::Claims;
use crate::{
    config::Tokens,
    error::{Error, Refusal},
    rest::{Caller, ClaimsRead},
};

/// As whom a request is answered. The role is part of every cache key (C6), and so are those claims that the answer may
/// depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// the database role; `None`: the role of the connection
    pub role: Option<Arc<str>>,
    /// what the token says, as JSON, with the role in it; what `request.jwt.claims` is set to
    pub claims: Arc<str>,
    /// when the token stops being valid; [`NEVER`] without a token or if it does not say
    pub expires: WallMillis,
    /// whether the role is another than the anonymous one: what a refusal of Postgres means depends on it
    pub caller: Caller,
    /// to whom the token was issued, and when, if the setting `jwt_user_claim` says where that stands
    pub issued: Option<Arc<Issued>>,
}

/// Of a token that names its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// to whom
    pub user: User,
    /// `iat`, in whole seconds since 1970; 0 if the token does not say
    pub at: u64,
}

/// After everything, on the wall clock.
pub const NEVER: WallMillis = WallMillis(u64::MAX);

/// Validated tokens that are remembered, by the bytes of tokens and claims. What is older is validated again.
const REMEMBERED_BYTES_MAX: u64 = 16 << 20;
/// Bytes of a remembered token beside its texts, rounded up.
const OVERHEAD_BYTES: usize = 256;

/// Decides who asks.
#[derive(Debug, Clone)]
pub struct Auth {
    anonymous: Principal,
    tokens: Tokens,
    /// by the exact bytes of the token; only what was found valid, and used only until it expires
    remembered: Cache<Arc<[u8]>, Principal>,
}

impl Principal {
    /// The node itself, as a role; `None`: that of the connection.
    #[must_use]
    pub fn of_node(role: Option<&str>) -> Self {
        let claims = Claims::default().with_role(role);
        Self { role: role.map(Arc::from), claims, expires: NEVER, caller: Caller::Authenticated, issued: None }
    }

    /// Whether it may be used now.
    #[must_use]
    pub fn is_valid(&self, now: WallMillis) -> bool {
        now < self.expires
    }

    /// The claims as JSON, cut down to those that are read: what an answer that is stored may depend on. `None` if none are.
    #[must_use]
    pub fn excerpt(&self, read: &ClaimsRead) -> Option<Arc<str>> {
        excerpt::excerpt(&self.claims, read)
    }
}

impl Auth {
    /// Whoever shows no token gets this role; tokens are verified so.
    #[must_use]
    pub fn new(anon_role: Option<&str>, tokens: Tokens) -> Self {
        let remembered = Cache::builder()
            .max_capacity(REMEMBERED_BYTES_MAX)
            .weigher(|token: &Arc<[u8]>, principal: &Principal| {
                u32::try_from(token.len() + principal.claims.len() + OVERHEAD_BYTES).unwrap_or(u32::MAX)
            })
            .build();
        let role: Option<Arc<str>> = anon_role.map(Arc::from);
        let claims = Claims::default().with_role(role.as_deref());
        let anonymous = Principal { role, claims, expires: NEVER, caller: Caller::Anonymous, issued: None };
        Self { anonymous, tokens, remembered }
    }

    /// Who sent these headers. Time is an argument.
    ///
    /// # Errors
    /// If there is a bearer token and it is not valid, or no key to verify it with: to ignore it would be to answer as
    /// somebody else.
    pub fn principal(&self, headers: &HeaderMap, now: WallMillis) -> Result<Principal, Error> {
        let Some(token) = bearer(headers) else { return Ok(self.anonymous.clone()) };
        if self.tokens.keys.is_empty() {
            return Err(Error::NoTokenSecret);
        }
        if let Some(principal) = self.remembered.get(token).filter(|principal| principal.is_valid(now)) {
            return Ok(principal);
        }
        let principal = self.validate(token, now)?;
        self.remembered.insert(token.into(), principal.clone());
        Ok(principal)
    }

    /// Whether tokens are asked to whom they were issued.
    #[must_use]
    pub fn names_users(&self) -> bool {
        self.tokens.user_claim.is_some()
    }

    fn validate(&self, token: &[u8], now: WallMillis) -> Result<Principal, Refusal> {
        let payload = token::verified_payload(token, &self.tokens.keys)?;
        let claims = Claims::read(&payload)?;
        let expires = claims.check(now, self.tokens.audience.as_deref())?;
        // A token without a role speaks for nobody in particular, but its claims count.
        let role = claims.role(&self.tokens.role_claim).map(Arc::from).or_else(|| self.anonymous.role.clone());
        let caller = if role == self.anonymous.role { Caller::Anonymous } else { Caller::Authenticated };
        let issued = self.tokens.user_claim.as_ref().map(|path| claims.issued(path)).transpose()?.flatten();
        let issued = issued.map(Arc::new);
        Ok(Principal { claims: claims.with_role(role.as_deref()), role, expires, caller, issued })
    }
}

/// The token of the first `Authorization`, if its scheme is `Bearer` in any case. An empty one is none, as PostgREST has
/// it.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at(value.iter().position(u8::is_ascii_whitespace)?);
    let token = token.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
