//! How a command ends when it does not succeed.

use crate::config::ConfigErrors;

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// it was called in a way that cannot work
    Usage(String),
    /// the settings are wrong
    Config(ConfigErrors),
    /// it tried and failed
    Runtime(String),
    /// it failed and has already said all there is to say
    Reported,
}

impl Failure {
    pub(super) fn runtime(what: &str, error: impl std::fmt::Display) -> Self {
        Self::Runtime(format!("{what}: {error}"))
    }

    pub(super) fn exit_code(&self) -> i32 {
        match self {
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Runtime(_) | Self::Reported => 1,
        }
    }

    pub(super) fn message(&self) -> Option<String> {
        match self {
            Self::Usage(message) => Some(format!("transom: {message}")),
            Self::Config(errors) => Some(format!("transom cannot start with these settings:\n{errors}")),
            Self::Runtime(message) => Some(format!("transom: {message}")),
            Self::Reported => None,
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}
