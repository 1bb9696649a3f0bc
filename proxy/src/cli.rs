//! Commands and flags.

use std::process::ExitCode;

/// Parses the command line, runs the command and says how the process ends.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
