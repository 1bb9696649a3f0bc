//! The settings as an operator may see them: every value with its source, secrets redacted.

use std::collections::BTreeMap;

use serde::Serialize;

use super::kind::Kind;
use super::settings::{SETTINGS, Setting};
use super::written::{Source, Written};

/// What `/config` shows, by the name of the setting.
pub type View = BTreeMap<&'static str, Shown>;

/// In the place of a secret.
const HIDDEN: &str = "***";

/// One setting as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// the value as written, or what its absence means; passwords are replaced
    pub value: String,
    /// where it was written
    pub source: String,
}

pub(super) fn view(written: &Written) -> View {
    SETTINGS.iter().map(|setting| (setting.name, shown(setting, written))).collect()
}

fn shown(setting: &Setting, written: &Written) -> Shown {
    let Some(entry) = written.entry(setting) else {
        return Shown { value: setting.shown_default().to_owned(), source: Source::Default.to_string() };
    };
    let value = match setting.kind {
        // It may look like anything, a URL included.
        Kind::TokenSecret | Kind::ServiceKey | Kind::EncryptionKeys => HIDDEN.to_owned(),
        kind if kind.is_secret() => redacted(&entry.text),
        _ => entry.text.clone(),
    };
    Shown { value, source: entry.source.to_string() }
}

/// A URL without its password and without its query, which may hold one too. Rather too much is hidden than too
/// little: whatever stands before the last `@` counts as credentials, and what is no URL is hidden whole.
fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return HIDDEN.to_owned();
    };
    let (credentials, place) = rest.rsplit_once('@').map_or((None, rest), |(c, p)| (Some(c), p));
    let place = match place.split_once('?') {
        Some((place, _)) => format!("{place}?***"),
        None => place.to_owned(),
    };
    match credentials {
        Some(credentials) => {
            let user = credentials.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***@{place}")
        }
        None => format!("{scheme}://{place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_password_is_shown() {
        for (written, shown) in [
            ("postgres://app:s3cret@db:5432/app", "postgres://app:***@db:5432/app"),
            ("postgres://app:s3/c@r?e:t@db/app?sslmode=require&password=x", "postgres://app:***@db/app?***"),
            ("postgres:///app?host=/run&password=s3cret", "postgres:///app?***"),
            ("redis://:s3cret@cache:6379/1", "redis://:***@cache:6379/1"),
            ("redis://cache:6379", "redis://cache:6379"),
            ("host=db user=app password=s3cret", "***"),
        ] {
            assert_eq!(redacted(written), shown);
        }
    }
}
