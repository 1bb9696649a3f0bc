//! The environment as a layer of settings.

use std::collections::BTreeMap;

use super::settings::{Alias, SETTINGS, Setting};
use super::suggest::closest;
use super::written::{Entry, Source, Written};
use super::{app_settings, postgrest};

/// Names the TOML file; the only variable that is not a setting.
pub(super) const CONFIG_VARIABLE: &str = "TRANSOM_CONFIG";

/// Lays the environment over what is there. A variable that is set but empty counts as not set, because that is how
/// compose files and unit files leave something out.
pub(super) fn lay(written: &mut Written, environment: &BTreeMap<String, String>) {
    for setting in SETTINGS {
        if let Some((text, variable)) = strongest(setting, environment) {
            written.cover(setting, text, Source::Environment(variable));
        }
    }
    for (variable, text) in environment {
        if let Some(name) = variable.strip_prefix(app_settings::VARIABLE_PREFIX).filter(|_| !text.is_empty()) {
            let entry = Entry { text: text.clone(), source: Source::Environment(variable.clone()) };
            written.app_settings.insert(name.to_ascii_lowercase(), entry);
        }
    }
    written.warnings.extend(unknown(environment));
}

/// The value among these variables that counts, and its variable.
pub(super) fn strongest(setting: &Setting, environment: &BTreeMap<String, String>) -> Option<(String, String)> {
    let value = |name: &str| environment.get(name).filter(|text| !text.is_empty()).cloned();
    if let Some(text) = value(&setting.variable()) {
        return Some((text, setting.variable()));
    }
    setting.aliases.iter().find_map(|alias| {
        let text = value(alias.variable())?;
        let text = match *alias {
            Alias::Same(_) => text,
            Alias::Seconds(_) => format!("{text}s"),
            Alias::Words(_, ours) => {
                ours.iter().find(|(word, _)| *word == text).map_or(text, |(_, own)| (*own).to_owned())
            }
            Alias::Port(_, host) => socket_address(value(host).as_deref(), &text),
        };
        Some((text, alias.variable().to_owned()))
    })
}

/// PostgREST's host patterns (<https://docs.postgrest.org/en/v12/references/configuration.html#server-host>): its
/// default `!4` and the other wildcards mean any address of a family.
fn socket_address(host: Option<&str>, port: &str) -> String {
    match host.unwrap_or("!4") {
        "*" | "*4" | "!4" => format!("0.0.0.0:{port}"),
        "*6" | "!6" => format!("[::]:{port}"),
        "localhost" => format!("127.0.0.1:{port}"),
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

/// Warnings, not errors: Kubernetes itself sets `TRANSOM_PORT` and its like for a service of that name.
fn unknown(environment: &BTreeMap<String, String>) -> Vec<String> {
    let known: Vec<String> = SETTINGS.iter().flat_map(Setting::variables).chain([CONFIG_VARIABLE.to_owned()]).collect();
    let hosts = ["PGRST_SERVER_HOST", "PGRST_ADMIN_SERVER_HOST"];
    let ours = |name: &&String| {
        let is_passed_on = name.starts_with(app_settings::VARIABLE_PREFIX);
        name.starts_with("TRANSOM_") || name.starts_with("PGRST_") && !is_passed_on
    };
    let unknown = environment.keys().filter(ours).filter(|n| !known.contains(n) && !hosts.contains(&n.as_str()));
    unknown
        .map(|name| match closest(name, known.iter().map(String::as_str)) {
            _ if name.starts_with("PGRST_") => postgrest::remark(name),
            Some(other) => format!("{name} is set, but is no setting; did you mean {other}?"),
            None => format!("{name} is set, but is no setting"),
        })
        .collect()
}
