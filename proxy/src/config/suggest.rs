//! Did you mean ...?

/// Below this similarity a suggestion confuses more than it helps.
const SIMILAR_ENOUGH: f64 = 0.82;

/// The candidate most like `written`, if any is like it at all.
pub(super) fn closest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.into_iter().map(|name| (strsim::jaro_winkler(written, name), name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score >= SIMILAR_ENOUGH).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_noise_finds_none() {
        let names = ["max_staleness", "listen", "admin_listen"];
        assert_eq!(closest("max_stalenes", names), Some("max_staleness"));
        assert_eq!(closest("lissten", names), Some("listen"));
        assert_eq!(closest("zebra", names), None);
    }
}
