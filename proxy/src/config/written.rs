//! Settings as written: texts, each with the place it came from, laid over one another.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::settings::Setting;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// nowhere: the default
    Default,
    /// the TOML file, at this line
    File(PathBuf, usize),
    /// this environment variable
    Environment(String),
    /// this flag, without the dashes in front
    Flag(String),
    /// the database, as this parameter
    Database(String),
    /// the command itself (`transom demo` brings its own database)
    Command,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{} line {line}", path.display()),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Database(parameter) => write!(f, "database {parameter}"),
            Self::Command => f.write_str("this command"),
        }
    }
}

/// A text and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) text: String,
    pub(super) source: Source,
}

/// One `[tables."schema.table"]` section: keys to texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableSection {
    pub(super) table: String,
    pub(super) source: Source,
    pub(super) keys: BTreeMap<String, Entry>,
}

/// All that was written; a later layer covers an earlier one.
#[derive(Clone, Default)]
pub(super) struct Written {
    values: BTreeMap<&'static str, Entry>,
    pub(super) tables: Vec<TableSection>,
    /// of the application's own, by their names in lower case
    pub(super) app_settings: BTreeMap<String, Entry>,
    /// oddities that must not stop a node, but that somebody should hear about
    pub(super) warnings: Vec<String>,
}

/// Some of the values are secrets.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written(***)")
    }
}

impl Written {
    /// Covers what weaker layers said about a setting.
    pub(super) fn cover(&mut self, setting: &Setting, text: impl Into<String>, source: Source) {
        self.values.insert(setting.name, Entry { text: text.into(), source });
    }

    /// The text that counts, if anybody wrote one.
    pub(super) fn entry(&self, setting: &Setting) -> Option<&Entry> {
        self.values.get(setting.name)
    }
}
