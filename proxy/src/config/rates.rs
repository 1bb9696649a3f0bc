//! How often who may ask.

use std::net::IpAddr;

use cache_core::state::rate::Quota;

use super::{ClaimPath, units};

/// How often who may ask. Without rules nothing is limited, and nothing is asked.
#[derive(Debug, Clone)]
pub struct Rates {
    /// in the order in which they are judged
    pub rules: Vec<RateRule>,
    /// what a node admits by itself while Redis does not answer, in percent of each limit
    pub local_share_percent: u32,
    /// where a token names the tier of its bearer
    pub tier_claim: ClaimPath,
    /// who may say on whose behalf they ask
    pub trusted_proxies: Vec<Network>,
}

/// `user@pro:/rest/v1/rpc=1000/1m`: so often, for each of these, in this tier, below this path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateRule {
    /// whose requests are counted together
    pub scope: RateScope,
    /// `None`: whoever has no rule of their own
    pub tier: Option<String>,
    /// the path, and all below it; empty: every path
    pub path: String,
    /// how often
    pub quota: Quota,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateScope {
    /// those from one address
    Address,
    /// those of one user
    User,
    /// those with one API key
    ApiKey,
    /// all
    Everybody,
}

impl RateScope {
    const ALL: [Self; 4] = [Self::Address, Self::User, Self::ApiKey, Self::Everybody];

    /// The word in a rule, in headers and in keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "ip",
            Self::User => "user",
            Self::ApiKey => "key",
            Self::Everybody => "all",
        }
    }
}

impl RateRule {
    /// Of a rule as it is written.
    fn read(text: &str) -> Option<Self> {
        let (whom, often) = text.split_once('=')?;
        let (whom, path) = whom.find(':').map_or((whom, ""), |at| (&whom[..at], &whom[at + 1..]));
        let (scope, tier) = whom.split_once('@').map_or((whom, None), |(scope, tier)| (scope, Some(tier)));
        let scope = RateScope::ALL.into_iter().find(|known| known.as_str() == scope)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let sound = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        let whole = (path.is_empty() || path.starts_with('/')) && tier.is_none_or(|tier| !tier.is_empty());
        if !whole || !sound(path) || !tier.is_none_or(sound) {
            return None;
        }
        let (limit, window) = often.split_once('/')?;
        let quota = Quota::new(limit.trim().parse().ok()?, units::duration(window)?)?;
        Some(Self { scope, tier: tier.map(str::to_owned), path: path.to_owned(), quota })
    }

    /// Whom it is about: what two rules must not share.
    #[must_use]
    pub fn name(&self) -> String {
        let tier = self.tier.as_ref().map_or_else(String::new, |tier| format!("@{tier}"));
        let path = if self.path.is_empty() { String::new() } else { format!(":{}", self.path) };
        format!("{}{tier}{path}", self.scope.as_str())
    }
}

/// Rules separated by commas, no two about the same.
pub(super) fn rules(text: &str) -> Option<Vec<RateRule>> {
    let rules: Vec<RateRule> = text.split(',').map(|rule| RateRule::read(rule.trim())).collect::<Option<_>>()?;
    let different =
        rules.iter().enumerate().all(|(i, rule)| rules[..i].iter().all(|other| other.name() != rule.name()));
    different.then_some(rules)
}

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Of `10.0.0.0/8`, or of a single address.
    fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        Some(Self { address, bits })
    }

    /// Whether the address is one of them.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= self.bits
    }
}

/// Networks separated by commas.
pub(super) fn networks(text: &str) -> Option<Vec<Network>> {
    text.split(',').map(|network| Network::read(network.trim())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rules_are_read_whole() {
        let rules = rules("ip=300/1m, user@pro:/rest/v1/rpc/=1000/500ms,all:/rest/v1=5/1h").unwrap();
        let names: Vec<String> = rules.iter().map(RateRule::name).collect();
        assert_eq!(names, ["ip", "user@pro:/rest/v1/rpc", "all:/rest/v1"]);
        assert_eq!((rules[1].quota.limit(), rules[1].quota.window()), (1_000, Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for wrong in [
            "",
            "ip",
            "ip=",
            "ip=5",
            "ip=5/",
            "ip=5/1",
            "ip=0/1m",
            "ip=5/1ms",
            "ip=-1/1m",
            "net=5/1m",
            "ip@=5/1m",
            "ip:rest=5/1m",
            "ip =5/1m",
            "ip=5/1m,ip=6/1m",
            "ip=5/1m,",
            "ip:/a\"b=5/1m",
        ] {
            assert_eq!(rules(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn networks_hold_what_begins_alike() {
        let networks = networks("10.1.0.0/16, 192.0.2.7, fd00::/8").unwrap();
        let holds = |text: &str| networks.iter().any(|network| network.holds(text.parse().unwrap()));
        for inside in ["10.1.0.0", "10.1.255.255", "192.0.2.7", "fd12::1"] {
            assert!(holds(inside), "{inside}");
        }
        for outside in ["10.2.0.0", "192.0.2.8", "fe80::1", "::ffff:10.1.0.1"] {
            assert!(!holds(outside), "{outside}");
        }
        assert!(Network::read("0.0.0.0/0").unwrap().holds("1.2.3.4".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/-1", "host", "::/129"] {
            assert_eq!(Network::read(wrong), None, "{wrong}");
        }
    }
}
