//! Who may use shared state: whoever has a token for a role, or the key of the services.

use cache_core::clock::WallMillis;
use http::HeaderMap;
use subtle::ConstantTimeEq as _;

use crate::{
    admission::Admission,
    auth::NEVER,
    config,
    error::{Error, StateRefusal},
    rest::Caller,
};

/// The header with the key of the services.
pub(super) const SERVICE_KEY: &str = "transom-service-key";

/// Decides who may.
pub(super) struct Access {
    admission: Admission,
    service_key: Option<config::Secret>,
    /// `None`: every role but the anonymous one
    roles: Option<Vec<String>>,
}

impl Access {
    pub(super) fn new(config: &config::State, admission: Admission) -> Self {
        Self { admission, service_key: config.service_key.clone(), roles: config.roles.clone() }
    }

    /// Whether who sent these headers may use shared state, and until when.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<WallMillis, Error> {
        if let Some(shown) = headers.get(SERVICE_KEY) {
            let known = self.service_key.as_ref();
            return match known.filter(|key| is_same(key.expose().as_bytes(), shown.as_bytes())) {
                Some(_) => Ok(NEVER),
                None => Err(StateRefusal::Unauthorized.into()),
            };
        }
        let principal = self.admission.principal(headers).await?;
        if principal.caller == Caller::Anonymous {
            return Err(StateRefusal::Unauthorized.into());
        }
        let role = principal.role.as_deref().unwrap_or_default();
        match &self.roles {
            Some(roles) if !roles.iter().any(|allowed| allowed == role) => {
                Err(StateRefusal::Forbidden { role: role.to_owned() }.into())
            }
            _ => Ok(principal.expires),
        }
    }
}

/// Takes as long whatever differs, so that the time tells nothing of the key.
fn is_same(key: &[u8], shown: &[u8]) -> bool {
    key.ct_eq(shown).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_whole() {
        assert!(is_same(b"key", b"key"));
        for other in [&b"kez"[..], b"Key", b"ke", b"keys", b""] {
            assert!(!is_same(b"key", other), "{other:?}");
        }
    }
}
