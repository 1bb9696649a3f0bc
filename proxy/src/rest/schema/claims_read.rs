//! Which claims an answer depends on, as paths into the JSON of `request.jwt.claims`.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The keys that lead to a claim, from the outside in; empty for all claims.
pub(super) type Path = Vec<Arc<str>>;

/// The claims that are read. No path in it leads through another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimsRead(BTreeSet<Path>);

impl ClaimsRead {
    /// Every path, sorted; an empty one stands for all claims.
    pub fn paths(&self) -> impl Iterator<Item = &[Arc<str>]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Adds a claim with everything in it.
    pub(super) fn add(&mut self, path: Path) {
        if self.0.iter().any(|known| path.starts_with(known)) {
            return;
        }
        self.0.retain(|known| !known.starts_with(&path));
        self.0.insert(path);
    }

    /// Adds everything that another one reads.
    pub(super) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|path| self.add(path));
    }
}

impl<'k, P: IntoIterator<Item = &'k str>> FromIterator<P> for ClaimsRead {
    fn from_iter<I: IntoIterator<Item = P>>(paths: I) -> Self {
        let mut read = Self::default();
        paths.into_iter().for_each(|path| read.add(path.into_iter().map(Arc::from).collect()));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.split('.').filter(|key| !key.is_empty()).map(Arc::from).collect()
    }

    #[test]
    fn what_holds_another_path_takes_its_place() {
        let mut read: ClaimsRead =
            ["app.team", "sub", "app.team.name", "application"].iter().map(|path| path.split('.')).collect();
        let paths = |read: &ClaimsRead| read.paths().map(|path| path.join(".")).collect::<Vec<_>>();
        assert_eq!(paths(&read), ["app.team", "application", "sub"]);
        read.add(path("app"));
        assert_eq!(paths(&read), ["app", "application", "sub"]);
        read.add(path(""));
        assert_eq!(paths(&read), [""]);
        read.add(path("sub"));
        assert_eq!(paths(&read), [""]);
    }
}
