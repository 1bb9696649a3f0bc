//! The methods that a resource allows.

use super::Answer;

/// Which methods a resource may allow, as far as the schema cache knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Allowed {
    /// the root
    Reads,
    /// a function that writes
    Posts,
    /// a function that does not
    Calls,
    /// a table or view: the rest is in the row
    Table {
        /// `PUT` names a row by its primary key
        has_key: bool,
    },
}

const UPDATES: u32 = 1 << 2;
const INSERTS: u32 = 1 << 3;
const DELETES: u32 = 1 << 4;

impl Allowed {
    /// The value of `Allow`.
    pub(super) fn header(self, row: &Answer) -> String {
        let events: u32 = std::str::from_utf8(&row.body).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let takes = |event| events & event != 0;
        match self {
            Self::Reads => "OPTIONS,GET,HEAD".to_owned(),
            Self::Posts => "OPTIONS,POST".to_owned(),
            Self::Calls => "OPTIONS,GET,HEAD,POST".to_owned(),
            Self::Table { has_key } => {
                let methods = [
                    ("POST", takes(INSERTS)),
                    ("PUT", takes(INSERTS) && takes(UPDATES) && has_key),
                    ("PATCH", takes(UPDATES)),
                    ("DELETE", takes(DELETES)),
                ];
                let allowed = methods.into_iter().filter(|(_, allowed)| *allowed).map(|(method, _)| method);
                ["OPTIONS", "GET", "HEAD"].into_iter().chain(allowed).collect::<Vec<_>>().join(",")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(allowed: Allowed, events: &'static str) -> String {
        let said = super::super::Said { headers: None, status: None };
        allowed.header(&Answer { total: None, page: 0, body: events.into(), said, location: None, end: None })
    }

    #[test]
    fn a_view_allows_what_its_triggers_take() {
        assert_eq!(header(Allowed::Table { has_key: true }, "28"), "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE");
        assert_eq!(header(Allowed::Table { has_key: false }, "28"), "OPTIONS,GET,HEAD,POST,PATCH,DELETE");
        assert_eq!(header(Allowed::Table { has_key: true }, "8"), "OPTIONS,GET,HEAD,POST");
        assert_eq!(header(Allowed::Table { has_key: true }, "0"), "OPTIONS,GET,HEAD");
    }
}
