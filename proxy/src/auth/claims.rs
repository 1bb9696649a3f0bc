//! What a token says (RFC 7519, section 4), checked in the order of PostgREST 12.0.2 and with its leeway.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use cache_core::{clock::WallMillis, state::session::User};
use serde_json::{Value, value::RawValue};

use super::{Issued, NEVER};
use crate::{
    config::{ClaimPath, Step},
    error::Refusal,
};

/// How far the clocks of an issuer and of this node may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// The claims by name. Their values keep the text they came in, so that no number loses a digit on its way to Postgres.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<String, Box<RawValue>>);

impl Claims {
    pub(super) fn read(payload: &[u8]) -> Result<Self, Refusal> {
        if let Ok(claims) = serde_json::from_slice(payload) {
            return Ok(Self(claims));
        }
        Err(Refusal::Claims(match serde_json::from_slice::<Value>(payload) {
            Ok(other) => mismatch("$", "JWT Claims Set", "Object", &other).into(),
            Err(_) => "Error in $: not a valid json value".into(),
        }))
    }

    /// Whether the token is valid now and here, and until when it is.
    pub(super) fn check(&self, now: WallMillis, audience: Option<&str>) -> Result<WallMillis, Refusal> {
        for name in ["iss", "sub"] {
            self.value(name)?.iter().try_for_each(|value| string_or_uri(name, value))?;
        }
        let audiences = self.audiences()?;
        let (expires, begins) = (self.date("exp")?, self.date("nbf")?);
        let issued = self.date("iat")?;
        if let Some(other) = self.value("jti")?.filter(|value| !value.is_string()) {
            return Err(Refusal::Claims(mismatch("$.jti", "Text", "String", &other).into()));
        }
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are exact in a double")]
        let now = now.0 as f64 / 1000.0;
        let leeway = LEEWAY.as_secs_f64();
        if expires.is_some_and(|expires| now >= expires + leeway) {
            return Err(Refusal::Expired);
        }
        if issued.is_some_and(|issued| issued > now + leeway) {
            return Err(Refusal::IssuedInFuture);
        }
        if begins.is_some_and(|begins| begins > now + leeway) {
            return Err(Refusal::NotYetValid);
        }
        let meant = |named: &String| audience.is_none_or(|audience| audience == named);
        if audiences.is_some_and(|named| !named.iter().any(meant)) {
            return Err(Refusal::Audience);
        }
        Ok(expires.map_or(NEVER, |expires| millis(expires + leeway)))
    }

    /// The role at the end of the path; what is no string stands for itself, as PostgREST has it.
    pub(super) fn role(&self, path: &ClaimPath) -> Option<String> {
        self.find(path).map(text)
    }

    /// To whom the token was issued, and when; `None` if it does not say to whom.
    pub(super) fn issued(&self, path: &ClaimPath) -> Result<Option<Issued>, Refusal> {
        let Some(user) = self.find(path).filter(|user| !user.is_null()).map(text).filter(|user| !user.is_empty())
        else {
            return Ok(None);
        };
        // Rounded down: rather issued a moment too early than too late.
        let at = self.date("iat")?.map_or(0, |seconds| millis(seconds).0 / 1000);
        Ok(Some(Issued { user: User::new(user.into()), at }))
    }

    fn find(&self, path: &ClaimPath) -> Option<Value> {
        let (first, deeper) = path.0.split_first()?;
        let Step::Key(name) = first else { return None };
        let root: Value = serde_json::from_str(self.0.get(name)?.get()).ok()?;
        let found = deeper.iter().try_fold(&root, |value, step| match step {
            Step::Key(key) => value.as_object()?.get(key),
            Step::Index(index) => value.as_array()?.get(*index),
        })?;
        Some(found.clone())
    }

    /// All claims as JSON, with the role that was found among them.
    pub(super) fn with_role(mut self, role: Option<&str>) -> Arc<str> {
        if let Some(role) = role {
            let text = serde_json::value::to_raw_value(role).expect("a text can be written as JSON");
            self.0.insert("role".to_owned(), text);
        }
        serde_json::to_string(&self.0).expect("JSON can be written as JSON").into()
    }

    /// A claim; `null` counts as absent. What cannot be read (too deep, too large a number) does not: it may forbid.
    fn value(&self, name: &str) -> Result<Option<Value>, Refusal> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let value: Value = serde_json::from_str(text.get())
            .map_err(|_| Refusal::Claims(Cow::Owned(format!("Error in $.{name}: not a value that can be read"))))?;
        Ok(Some(value).filter(|value| !value.is_null()))
    }

    /// Seconds since 1970, perhaps with a fraction.
    fn date(&self, name: &str) -> Result<Option<f64>, Refusal> {
        match self.value(name)? {
            None => Ok(None),
            Some(Value::Number(seconds)) => Ok(seconds.as_f64()),
            Some(other) => Err(Refusal::Claims(mismatch(&format!("$.{name}"), "NumericDate", "Number", &other).into())),
        }
    }

    /// One audience or a list of them.
    fn audiences(&self) -> Result<Option<Vec<String>>, Refusal> {
        let named = match self.value("aud")? {
            None => return Ok(None),
            Some(Value::Array(named)) => named,
            Some(one) => vec![one],
        };
        named.iter().try_for_each(|value| string_or_uri("aud", value))?;
        Ok(Some(named.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
    }
}

/// A text, or what stands for itself.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// RFC 7519, section 2: a text with a colon must be a URI.
fn string_or_uri(name: &str, value: &Value) -> Result<(), Refusal> {
    let Value::String(text) = value else {
        return Err(Refusal::Claims(mismatch(&format!("$.{name}"), "StringOrURI", "String", value).into()));
    };
    let is_uri = |(scheme, rest): (&str, &str)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
            && rest.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b))
    };
    if text.split_once(':').is_none_or(is_uri) {
        return Ok(());
    }
    Err(Refusal::Claims(Cow::Owned(format!("Error in $.{name}: failed to parse StringOrURI"))))
}

fn mismatch(place: &str, what: &str, expected: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(_) => "Number",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    };
    format!("Error in {place}: parsing {what} failed, expected {expected}, but encountered {found}")
}

/// Rounded down: rather a moment too early than too late.
fn millis(seconds: f64) -> WallMillis {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a double saturates: what is over long ago is 0, and what never ends is the maximum"
    )]
    WallMillis((seconds * 1000.0).floor() as u64)
}
