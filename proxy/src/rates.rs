//! Who may ask how often: which rules a request falls under, and what came of counting it.

mod origin;
mod standing;

use std::{net::IpAddr, sync::Arc};

use cache_core::{
    clock::Clock,
    state::rate::{Decision, Quota, RateKey, RateLimits, Verdict},
};
use http::HeaderMap;
use serde_json::Value;

use self::origin::address_of;
pub(crate) use self::standing::{Standing, Standings};
use crate::{
    auth::{Auth, Principal},
    config::{self, RateRule, RateScope},
    error::{Error, StateRefusal},
    telemetry::{Metrics, RateResult, RateSubject},
};

/// The headers in which clients send API keys. Nobody here knows whether they are valid.
const API_KEYS: [&str; 2] = ["apikey", "x-api-key"];

/// Judges requests by the rules; one per node.
pub(crate) struct Rates {
    counter: Counter,
    groups: Vec<Group>,
    settings: config::Rates,
    auth: Auth,
    clock: Clock,
}

/// Counts against limits, and what came of it.
pub(crate) struct Counter {
    limits: Arc<RateLimits>,
    metrics: Arc<Metrics>,
}

/// The rules of one scope and path: at most one of them counts.
struct Group {
    scope: RateScope,
    path: String,
    rules: Vec<RateRule>,
}

/// Who asks, as far as the rules want to know.
pub(crate) struct Asked {
    address: String,
    user: Option<String>,
    api_key: Option<String>,
    tier: Option<String>,
    path: String,
}

impl Rates {
    /// `None` if there are no rules.
    pub(crate) fn new(
        settings: &config::Rates,
        limits: Arc<RateLimits>,
        auth: Auth,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for rule in &settings.rules {
            match groups.iter_mut().find(|group| (group.scope, &group.path) == (rule.scope, &rule.path)) {
                Some(group) => group.rules.push(rule.clone()),
                None => {
                    groups.push(Group { scope: rule.scope, path: rule.path.clone(), rules: vec![rule.clone()] });
                }
            }
        }
        let settings = settings.clone();
        let counter = Counter::new(limits, metrics);
        (!groups.is_empty()).then_some(Self { counter, groups, settings, auth, clock })
    }

    /// Who sent a request with these headers, over a connection from this address.
    pub(crate) fn who(&self, headers: &HeaderMap, path: &str, peer: Option<IpAddr>) -> Asked {
        // A token that is not valid speaks for nobody; whoever serves the request refuses it.
        let principal = self.auth.principal(headers, self.clock.wall()).ok();
        let claims = principal.as_ref().and_then(claims);
        let api_key = API_KEYS.iter().find_map(|name| headers.get(*name)).filter(|key| !key.is_empty());
        Asked {
            address: address_of(peer, headers, &self.settings.trusted_proxies),
            user: claims.as_ref().and_then(|claims| claims.get("sub")?.as_str().map(str::to_owned)),
            api_key: api_key.map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned()),
            tier: claims.as_ref().and_then(|claims| self.settings.tier_claim.find(claims)),
            path: path.to_owned(),
        }
    }

    /// Counts a request by every rule that it falls under, until one has no room for it.
    ///
    /// # Errors
    /// [`StateRefusal::RateLimited`]. The rules before that one have counted it.
    pub(crate) async fn admit(&self, asked: &Asked) -> Result<Standings, Error> {
        let mut standings = Standings::default();
        for group in self.groups.iter().filter(|group| is_below(&asked.path, &group.path)) {
            let Some(rule) = group.rule_for(asked.tier.as_deref()) else { continue };
            let name = rule.name();
            let key = asked.key(rule.scope, &name);
            self.counter.count(rule.scope.into(), &key, (&name, rule.quota), 1, &mut standings).await?;
        }
        Ok(standings)
    }
}

impl Counter {
    pub(crate) fn new(limits: Arc<RateLimits>, metrics: Arc<Metrics>) -> Self {
        Self { limits, metrics }
    }

    /// Counts one of this cost, and notes how its client stands with the limit, which is told under that name.
    ///
    /// # Errors
    /// [`StateRefusal::RateLimited`], with all that was noted.
    pub(crate) async fn count(
        &self,
        subject: RateSubject,
        key: &RateKey,
        (name, quota): (&str, Quota),
        cost: u32,
        standings: &mut Standings,
    ) -> Result<Decision, Error> {
        let decision = self.limits.check(key, quota, cost).await;
        self.metrics.state().rate(subject, RateResult::of(&decision));
        standings.push(Standing::new(name.to_owned(), quota, &decision));
        match decision.verdict {
            Verdict::Allowed => Ok(decision),
            Verdict::Refused { retry_after } => {
                Err(StateRefusal::RateLimited { retry_after, headers: standings.headers() }.into())
            }
        }
    }
}

impl Group {
    /// The rule of the tier, or the one for all who have none.
    fn rule_for(&self, tier: Option<&str>) -> Option<&RateRule> {
        let of = |wanted: Option<&str>| self.rules.iter().find(|rule| rule.tier.as_deref() == wanted);
        tier.and_then(|tier| of(Some(tier))).or_else(|| of(None))
    }
}

impl Asked {
    /// Whose share it is. Who is no user, or has no key, counts by address.
    fn key(&self, scope: RateScope, rule: &str) -> RateKey {
        let by_address = || RateKey::new(RateScope::Address.as_str(), &self.address, rule);
        let by = |subject: &Option<String>| {
            subject.as_ref().map_or_else(by_address, |subject| RateKey::new(scope.as_str(), subject, rule))
        };
        match scope {
            RateScope::Address => by_address(),
            RateScope::User => by(&self.user),
            RateScope::ApiKey => by(&self.api_key),
            RateScope::Everybody => RateKey::new(scope.as_str(), "all", rule),
        }
    }
}

fn claims(principal: &Principal) -> Option<Value> {
    serde_json::from_str(&principal.claims).ok()
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_holds_what_is_below_it_and_not_what_begins_like_it() {
        for inside in ["/rest/v1", "/rest/v1/", "/rest/v1/flights"] {
            assert!(is_below(inside, "/rest/v1") && is_below(inside, ""), "{inside}");
        }
        for outside in ["/rest/v12", "/rest", "/"] {
            assert!(!is_below(outside, "/rest/v1"), "{outside}");
        }
    }
}
