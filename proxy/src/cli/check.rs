//! `transom check`: one line per thing that a node needs, and what to fix.

mod postgres;
mod feed;
mod redis;
mod finding;

use self::finding::{Finding, Level};
use super::failure::Failure;
use super::serve;
use crate::config::{Config, Inputs, Loaded};
use crate::stored_settings::{self, StoredSettingsError};

pub(super) fn run(inputs: &Inputs) -> Result<(), Failure> {
    let Loaded { config, mut warnings } = Config::load(inputs)?;
    let runtime = serve::runtime(1)?;
    let (config, stored) = match runtime.block_on(stored_settings::complete(config.clone())) {
        Ok(loaded) => {
            warnings.extend(loaded.warnings);
            (loaded.config, None)
        }
        // Which is said below.
        Err(StoredSettingsError::Unreachable(_)) => (config, None),
        Err(error) => (config, Some(Finding::fail("settings", error.to_string(), "correct them in the database"))),
    };
    let mut findings = settings(&config, warnings);
    findings.extend(stored);
    findings.extend(runtime.block_on(postgres::check(&config)));
    findings.extend(runtime.block_on(redis::check(config.redis.as_ref(), &config.namespace)));
    for finding in &findings {
        println!("{finding}");
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    if failed { Err(Failure::Reported) } else { Ok(()) }
}

fn settings(config: &Config, warnings: Vec<String>) -> Vec<Finding> {
    let given = config.view.values().filter(|shown| shown.source != "default").count();
    let sound = Finding::ok("settings", format!("{given} given, {} by default", config.view.len() - given));
    let odd = warnings.into_iter().map(|warning| Finding::warn("settings", warning, "remove or correct it"));
    std::iter::once(sound).chain(odd).collect()
}
