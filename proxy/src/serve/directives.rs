//! `Cache-Control` of a request (RFC 9111, section 5.2.1).

use std::time::Duration;

use cache_core::freshness::Directives;
use http::{HeaderMap, HeaderValue, header};

/// What a request says about caching. Unknown and malformed directives are ignored, as the RFC has it.
pub(super) fn of(headers: &HeaderMap) -> Directives {
    let mut directives = Directives::default();
    for value in headers.get_all(header::CACHE_CONTROL) {
        let Ok(text) = value.to_str() else { continue };
        text.split(',').for_each(|directive| add(&mut directives, directive.trim()));
    }
    // RFC 9111, section 5.4: only if there is no Cache-Control.
    if !headers.contains_key(header::CACHE_CONTROL) {
        directives.no_cache = headers.get_all(header::PRAGMA).iter().any(says_no_cache);
    }
    directives
}

fn says_no_cache(pragma: &HeaderValue) -> bool {
    pragma.as_bytes().split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
}

/// Seconds. A number beyond counting is as good as the largest (RFC 9111, section 1.2.2).
fn delta_seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

fn add(directives: &mut Directives, directive: &str) {
    let (name, argument) = match directive.split_once('=') {
        Some((name, argument)) => (name.trim(), Some(argument.trim().trim_matches('"'))),
        None => (directive, None),
    };
    let seconds = argument.and_then(delta_seconds);
    if name.eq_ignore_ascii_case("no-cache") {
        directives.no_cache = true;
    } else if name.eq_ignore_ascii_case("no-store") {
        directives.no_store = true;
    } else if name.eq_ignore_ascii_case("only-if-cached") {
        directives.only_if_cached = true;
    } else if name.eq_ignore_ascii_case("max-age") {
        directives.max_age = seconds.or(directives.max_age);
    } else if name.eq_ignore_ascii_case("min-fresh") {
        directives.min_fresh = seconds.unwrap_or(directives.min_fresh);
    } else if name.eq_ignore_ascii_case("max-stale") {
        // Without an argument: a response of any age (section 5.2.1.2).
        directives.max_stale = if argument.is_none() { Some(Duration::MAX) } else { seconds.or(directives.max_stale) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Directives {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, text.parse().unwrap());
        of(&headers)
    }

    #[test]
    fn every_directive_is_read() {
        let all = parse("no-cache, NO-STORE,only-if-cached, max-age=5, min-fresh=\"2\", max-stale=7");
        assert!(all.no_cache && all.no_store && all.only_if_cached);
        assert_eq!(all.max_age, Some(Duration::from_secs(5)));
        assert_eq!(all.min_fresh, Duration::from_secs(2));
        assert_eq!(all.max_stale, Some(Duration::from_secs(7)));
        assert_eq!(parse("max-stale").max_stale, Some(Duration::MAX));
    }

    #[test]
    fn nonsense_changes_nothing() {
        for text in ["max-age=soon", "max-age=-1", "max-stale=x", "max-age=+1", "private, =, ,,"] {
            assert_eq!(parse(text), Directives::default(), "{text}");
        }
    }

    #[test]
    fn a_number_beyond_counting_is_the_largest() {
        let huge = parse("min-fresh=99999999999999999999, max-age=99999999999999999999");
        let largest = Duration::from_secs(u64::MAX);
        assert_eq!((huge.min_fresh, huge.max_age), (largest, Some(largest)));
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(header::PRAGMA, "no-cache".parse().unwrap());
        assert!(of(&headers).no_cache);
        headers.insert(header::CACHE_CONTROL, "max-age=5".parse().unwrap());
        assert!(!of(&headers).no_cache);
    }
}
