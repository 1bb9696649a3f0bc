//! The `Prefer` header (RFC 7240), and which preferences an answer says it applied.

use http::HeaderMap;

use crate::rest::Error;

/// The preferences that matter here; of several of one kind the first counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::rest) struct Preferences {
    pub(in crate::rest) resolution: Option<Resolution>,
    pub(in crate::rest) missing: Option<Missing>,
    pub(in crate::rest) returns: Option<Return>,
    pub(in crate::rest) count: Option<Count>,
    pub(in crate::rest) handling: Option<Handling>,
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

/// How the total is counted. Transom counts exactly whatever is asked: an exact number is an estimate too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Count {
    Exact,
    Planned,
    Estimated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Handling {
    Strict,
    Lenient,
}

impl Preferences {
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Error> {
        let mut preferences = Self::default();
        let mut unknown = Vec::new();
        let values = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
        for token in values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty()) {
            if !preferences.add(token) && !is_ignored(token) {
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
        let words = [
            self.resolution.filter(|_| kinds == Kinds::Inserts).map(Resolution::word),
            self.missing.filter(|_| payload).map(Missing::word),
            self.returns.filter(|_| kinds != Kinds::Reads).map(Return::word),
            self.count.map(Count::word),
            self.handling.map(Handling::word),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Takes `token` in if it is a preference of a kind that has none yet; false if it is none at all.
    fn add(&mut self, token: &str) -> bool {
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
            _ => return false,
        }
        true
    }
}

/// Which preferences can apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Kinds {
    Reads,
    /// inserts; those without a key to conflict with resolve nothing
    Inserts,
    KeylessInserts,
    Updates,
    /// deletes and `PUT`
    Others,
}

fn keep<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

/// Preferences that PostgREST knows and, as it is set up by default, does not apply.
fn is_ignored(token: &str) -> bool {
    matches!(token, "tx=commit" | "tx=rollback" | "params=single-object" | "params=multiple-objects")
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
