//! From which address a request comes.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;

use crate::config::Network;

/// Where proxies note on whose behalf they ask.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// An IPv6 network of a single site: whoever has one has 2^64 addresses.
const SITE_BITS: u32 = 64;

/// The client behind a connection: its other end, or what trusted proxies say. Each proxy appends whom it was asked by, so
/// the list counts from its end, and only as far as those are trusted who wrote it: the rest is the client's own invention.
pub(super) fn address_of(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[Network]) -> String {
    let Some(peer) = peer.map(|peer| peer.to_canonical()) else { return "unknown".to_owned() };
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
    let mut client = peer;
    if is_trusted(peer) {
        let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
        for said in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Ok(address) = said.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
            if !is_trusted(client) {
                break;
            }
        }
    }
    match client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let site = Ipv6Addr::from_bits(address.to_bits() >> (128 - SITE_BITS) << (128 - SITE_BITS));
            format!("{site}/{SITE_BITS}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn trusted() -> Vec<Network> {
        let settings = [("database_url", "postgres://h/d"), ("trusted_proxies", "10.0.0.0/8, fd00::/8")];
        Config::from_settings(settings).unwrap().rates.trusted_proxies
    }

    fn of(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        address_of(Some(peer.parse().unwrap()), &headers, &trusted())
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_about_whom_they_saw() {
        assert_eq!(of("192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(of("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "a client says what it likes");
        assert_eq!(of("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", &["203.0.113.9", "198.51.100.7"]), "198.51.100.7", "two headers are one list");
        assert_eq!(of("10.0.0.1", &["198.51.100.7, nonsense, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(address_of(None, &HeaderMap::new(), &[]), "unknown");
    }

    #[test]
    fn a_site_has_one_share_however_many_addresses_it_has() {
        assert_eq!(of("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::/64");
        assert_eq!(of("fd00::1", &["2001:db8:1:2::9"]), "2001:db8:1:2::/64");
        assert_eq!(of("::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(of("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
    }
}
