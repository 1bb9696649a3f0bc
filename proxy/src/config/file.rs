//! The TOML file as a layer of settings.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::app_settings;
use super::problem::ConfigError;
use super::settings::{SETTINGS, setting};
use super::suggest::closest;
use super::written::{Entry, Source, TableSection, Written};

/// The section of per-table overrides.
const TABLES: &str = "tables";

/// Lays the file over what is there. Unknown keys are errors: unlike the environment, the file is all ours.
pub(super) fn lay(written: &mut Written, path: &Path, text: &str) -> Vec<ConfigError> {
    let file = File { path, text };
    let root = match DeTable::parse(text) {
        Ok(root) => root.into_inner(),
        Err(error) => return vec![file.unreadable(&error)],
    };
    let mut errors = Vec::new();
    for (key, value) in &root {
        let name = key.get_ref().as_ref();
        let source = file.source(key.span().start);
        match (name, setting(name)) {
            (TABLES, _) => match file.sections(value) {
                Ok(sections) => written.tables.extend(sections),
                Err(error) => errors.push(error),
            },
            (app_settings::SECTION, _) => match file.keys(value) {
                Ok(keys) => written.app_settings.extend(keys.into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v))),
                Err(error) => errors.push(error),
            },
            (_, None) => errors.push(unknown(name, source)),
            (_, Some(setting)) => match plain(value.get_ref()) {
                Some(text) => written.cover(setting, text, source),
                None => errors.push(not_plain(name, source)),
            },
        }
    }
    errors
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn source(&self, offset: usize) -> Source {
        Source::File(self.path.to_owned(), self.line(offset))
    }

    fn unreadable(&self, error: &toml::de::Error) -> ConfigError {
        let place = error.span().map(|span| format!("line {}: ", self.line(span.start))).unwrap_or_default();
        ConfigError::File { path: self.path.to_owned(), problem: format!("{place}{}", error.message()) }
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
    }

    fn sections(&self, tables: &Spanned<DeValue<'_>>) -> Result<Vec<TableSection>, ConfigError> {
        let refused = |at: usize| not_plain_section(self.source(at));
        let tables_at = tables.span().start;
        let tables = tables.get_ref().as_table().ok_or_else(|| refused(tables_at))?;
        let mut sections = Vec::new();
        for (name, section) in tables {
            let source = self.source(name.span().start);
            let keys = self.keys(section)?;
            sections.push(TableSection { table: name.get_ref().to_string(), source, keys });
        }
        Ok(sections)
    }

    /// The keys of one section.
    fn keys(&self, section: &Spanned<DeValue<'_>>) -> Result<BTreeMap<String, Entry>, ConfigError> {
        let at = section.span().start;
        let section = section.get_ref().as_table().ok_or_else(|| not_plain_section(self.source(at)))?;
        let mut keys = BTreeMap::new();
        for (key, value) in section {
            let source = self.source(key.span().start);
            let text = plain(value.get_ref()).ok_or_else(|| not_plain(key.get_ref(), source.clone()))?;
            keys.insert(key.get_ref().to_string(), Entry { text, source });
        }
        Ok(keys)
    }
}

/// A value as it would be written on a command line; `None` for what has no such form.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            Some(items?.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn unknown(name: &str, source: Source) -> ConfigError {
    let names = SETTINGS.iter().map(|setting| setting.name).chain([TABLES, app_settings::SECTION]);
    let remedy = match closest(name, names) {
        Some(other) => format!("did you mean `{other}`?"),
        None => "see `transom serve --help` for the settings there are".to_owned(),
    };
    let problem = "there is no such setting".to_owned();
    ConfigError::Setting { setting: name.to_owned(), source_of: source, problem, remedy }
}

fn not_plain(name: &str, source: Source) -> ConfigError {
    ConfigError::Setting {
        setting: name.to_owned(),
        source_of: source,
        problem: "the value has the wrong type".to_owned(),
        remedy: "write a string, a whole number or a list of strings".to_owned(),
    }
}

fn not_plain_section(source: Source) -> ConfigError {
    ConfigError::Setting {
        setting: TABLES.to_owned(),
        source_of: source,
        problem: "this is not a section".to_owned(),
        remedy: "write for example [tables.\"public.flights\"] and under it ttl = \"5m\"".to_owned(),
    }
}
