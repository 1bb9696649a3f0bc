//! The table of settings in the README.

use std::fmt::Write as _;

use super::settings::{Group, Preset, SETTINGS, Setting};

/// The settings as Markdown, one table per group. A test compares the README with it.
#[must_use]
pub fn settings_markdown() -> String {
    let mut out = String::new();
    for group in Group::ALL {
        let _ = write!(out, "#### {}\n\n| setting | default | meaning |\n|---|---|---|\n", group.title());
        for setting in SETTINGS.iter().filter(|setting| setting.group == group) {
            row(&mut out, setting);
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn row(out: &mut String, setting: &Setting) {
    let default = match setting.default {
        Preset::Value(value) => format!("`{value}`"),
        Preset::Absent(meaning) => meaning.to_owned(),
        Preset::Required => "must be given".to_owned(),
    };
    let aliases: Vec<String> = setting.aliases.iter().map(|alias| format!("`{}`", alias.variable())).collect();
    let also = if aliases.is_empty() { String::new() } else { format!(" (also {})", aliases.join(", ")) };
    let _ = writeln!(out, "| `{}` | {default} | {}{also} |", setting.name, setting.help);
}
