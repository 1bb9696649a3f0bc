//! Structured logs on stderr.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// for people
    Text,
    /// one JSON object a line, for collectors
    Json,
}

/// Sends the events of this process to stderr. The process has one logger: a second call changes nothing, so that
/// several nodes in one test process do no harm.
pub fn init(level: LevelFilter, format: Format) {
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        // Colors are for eyes: a collector would store them as noise.
        Format::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let _already_set = Registry::default().with(lines.with_filter(targets(level))).try_init();
}

/// Our own events at the level asked for. Libraries say at `info` what only their authors care about.
fn targets(level: LevelFilter) -> Targets {
    let libraries = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_default(libraries).with_target("transom", level).with_target("cache_core", level)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_quiet_unless_somebody_debugs() {
        let info = targets(LevelFilter::INFO);
        assert!(info.would_enable("transom::app", &Level::INFO));
        assert!(info.would_enable("fred::router", &Level::WARN));
        assert!(!info.would_enable("fred::router", &Level::INFO));
        assert!(targets(LevelFilter::DEBUG).would_enable("fred::router", &Level::DEBUG));
        assert!(!targets(LevelFilter::ERROR).would_enable("fred::router", &Level::WARN));
    }
}
