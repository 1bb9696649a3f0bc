//! What is wrong with the settings, said so that it can be put right.

use std::fmt;
use std::path::PathBuf;

use super::written::Source;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// a setting has a value that cannot be used, or does not exist
    #[error("setting `{setting}` ({source_of}): {problem}; {remedy}")]
    Setting {
        /// the name of the setting, as in the TOML file
        setting: String,
        /// where the value came from
        source_of: Source,
        /// what was wrong
        problem: String,
        /// what would be right
        remedy: String,
    },
    /// a setting that has no default was not given
    #[error("setting `{setting}` is missing; {remedy}")]
    Missing {
        /// the name of the setting
        setting: &'static str,
        /// how to give it
        remedy: String,
    },
    /// the configuration file cannot be read
    #[error("cannot read the configuration file {}: {problem}", path.display())]
    File {
        /// the path as written
        path: PathBuf,
        /// what was wrong
        problem: String,
    },
}

/// Everything that is wrong, so that one restart is enough to put it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}
