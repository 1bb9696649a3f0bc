//! Execution plans in the place of rows (<https://docs.postgrest.org/en/v12/references/observability.html#execution-plan>).

use std::fmt;

/// A plan that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::rest) struct Execution {
    encoding: Encoding,
    /// the media type whose making is planned
    pub(super) subject: String,
    options: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Encoding {
    Text,
    Json,
}

/// The options of EXPLAIN that can be asked for, in the order in which they are written.
const OPTIONS: [&str; 5] = ["analyze", "verbose", "settings", "buffers", "wal"];

impl Execution {
    /// Reads a media type in small letters and its parameters; `None` if it is not that of a plan.
    pub(super) fn read(name: &str, parameters: &[&str]) -> Option<Self> {
        let encoding = match name.strip_prefix("application/vnd.pgrst.plan")? {
            "" | "+text" => Encoding::Text,
            "+json" => Encoding::Json,
            _ => return None,
        };
        let value = |name: &str| parameters.iter().find_map(|parameter| parameter.strip_prefix(name));
        let subject = value("for=").unwrap_or_default().trim_matches('"').to_ascii_lowercase();
        let asked: Vec<&str> = value("options=").unwrap_or_default().split('|').collect();
        Some(Self {
            encoding,
            subject: match subject.as_str() {
                "" => "application/json".to_owned(),
                "application/vnd.pgrst.object" | "application/vnd.pgrst.array" => format!("{subject}+json"),
                _ => subject,
            },
            options: OPTIONS.into_iter().filter(|option| asked.contains(option)).collect(),
        })
    }

    /// What stands in front of the statement.
    pub(in crate::rest) fn explain(&self) -> String {
        let format = match self.encoding {
            Encoding::Text => "FORMAT TEXT",
            Encoding::Json => "FORMAT JSON",
        };
        let options = self.options.iter().map(|option| option.to_ascii_uppercase());
        format!("EXPLAIN ({}) ", options.chain([format.to_owned()]).collect::<Vec<_>>().join(", "))
    }

    pub(in crate::rest) fn content_type(&self) -> String {
        format!("{self}; charset=utf-8")
    }
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoding = match self.encoding {
            Encoding::Text => "text",
            Encoding::Json => "json",
        };
        write!(f, "application/vnd.pgrst.plan+{encoding}; for=\"{}\"", self.subject)?;
        if self.options.is_empty() { Ok(()) } else { write!(f, "; options={}", self.options.join("|")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each was asked of PostgREST 12.0.2.
    #[test]
    fn a_plan_is_named_as_in_postgrest() {
        for (parameters, sql, shown) in [
            (&[][..], "EXPLAIN (FORMAT TEXT) ", "application/vnd.pgrst.plan+text; for=\"application/json\""),
            (
                &["for=\"application/vnd.pgrst.object\"", "options=wal|analyze|nonsense"],
                "EXPLAIN (ANALYZE, WAL, FORMAT TEXT) ",
                "application/vnd.pgrst.plan+text; for=\"application/vnd.pgrst.object+json\"; options=analyze|wal",
            ),
        ] {
            let execution = Execution::read("application/vnd.pgrst.plan", parameters).unwrap();
            assert_eq!((execution.explain().as_str(), execution.to_string().as_str()), (sql, shown));
        }
        assert_eq!(Execution::read("application/vnd.pgrst.planet", &[]), None);
    }
}
