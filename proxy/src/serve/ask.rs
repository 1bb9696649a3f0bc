//! Reads that a node asks by itself, on behalf of shared state. They go the way of all reads: plan, tiers, fill; as a role of
//! their own, with a lifetime and tags of their own. Their answers are not those of clients, who may ask the same.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    cache::Lookup,
    entry::{Entry, Lifetimes},
    freshness::Directives,
    tag::Tag,
};
use http::{HeaderValue, Request, header::HeaderName, request::Parts};

use super::{
    Question, Serve,
    understanding::{Manner, rest_settings},
};
use crate::{
    auth::Principal,
    config::Config,
    error::Error,
    key::RawKey,
    reply::{CacheStatus, Forward, StoredResponse},
    rest::{self, Inbound, Opaque, Plan, ReadPlan, SchemaCache},
};

const ACCEPT_PROFILE: HeaderName = HeaderName::from_static("accept-profile");
/// Begins the keys of these questions. What clients ask begins with a method.
const OWN: &[u8] = b"@state ";
/// Ends the namespace in the keys of their answers. No namespace has such a character.
const APART: &str = "@state:";

/// A read, and how it is asked.
pub(crate) struct Asking<'a> {
    /// path and query below `rest_path`
    pub(crate) target: &'a str,
    /// the schema; `None`: the first
    pub(crate) schema: Option<&'a str>,
    /// as whom
    pub(crate) principal: &'a Principal,
    /// how long the answer is kept
    pub(crate) lifetimes: Lifetimes,
    /// what for: the same read for something else is another question
    pub(crate) purpose: &'static str,
    /// what its answer carries beside the tags of what it is read from; made only for a question that is new
    pub(crate) about: &'a (dyn Fn() -> Vec<Tag> + Sync),
}

impl Serve {
    /// The answer to a read, and where it comes from. It is stored where a client's would be.
    ///
    /// # Errors
    /// If it cannot be planned, or Postgres refuses or does not answer. Nothing that is not fresh stands in.
    pub(crate) async fn ask_for(
        self: &Arc<Self>,
        asking: &Asking<'_>,
    ) -> Result<(Arc<Entry<StoredResponse>>, CacheStatus), Error> {
        let parts = parts_of(&self.config, asking.target, asking.schema)?;
        let question = self.own_question(asking, &parts)?;
        let directives = Directives::default();
        let (why, filled) = match question.bypass {
            Some(why) => {
                let session = question.session_of(&parts, self.written_path(parts.uri.path()));
                (why, self.fill_alone(&question, session, why).await?)
            }
            None => match self.look_up_l1(&question.key, &directives) {
                Lookup::Found(found) => {
                    let status = self.status_of(&parts, &question, &found);
                    return Ok((found.entry, status));
                }
                Lookup::Missing(missing) => {
                    (Forward::Missing(missing.because), self.fill(&question, &directives).await?)
                }
            },
        };
        let status = self.status_of_fill(&parts, &question, why, &filled);
        Ok((filled.entry, status))
    }

    fn own_question(&self, asking: &Asking<'_>, parts: &Parts) -> Result<Arc<Question>, Error> {
        let mut raw = RawKey::from_slice(OWN);
        raw.extend_from_slice(asking.purpose.as_bytes());
        raw.push(b' ');
        raw.extend_from_slice(asking.target.as_bytes());
        self.remembered_or(&raw, || self.understand_own(asking, parts))
    }

    fn understand_own(&self, asking: &Asking<'_>, parts: &Parts) -> Result<Question, Error> {
        let schema = self.schema.load();
        let plan = read_of(rest::plan(&self.inbound(parts, &Bytes::new()), &schema, &self.rest)?)?;
        let namespace = format!("{}{APART}{}", self.config.namespace, asking.purpose);
        let about = (asking.about)();
        let manner = Manner { namespace: Some(&namespace), about: &about, lifetimes: Some(asking.lifetimes) };
        Ok(self.question_of(parts, plan, asking.principal.clone(), &schema, &manner))
    }
}

/// Plans a read on this schema: path and query, and in which of its schemas. Says why answers to it would not be stored, if so.
///
/// # Errors
/// What a client would be told.
pub(crate) fn try_out(
    target: &str,
    schema: Option<&str>,
    known: &SchemaCache,
    config: &Config,
) -> Result<Option<Opaque>, Error> {
    let parts = parts_of(config, target, schema)?;
    let path = parts.uri.path().strip_prefix(&*config.listeners.rest_path).unwrap_or_default().trim_start_matches('/');
    let inbound =
        Inbound { method: &parts.method, path, query: parts.uri.query(), headers: &parts.headers, body: &Bytes::new() };
    Ok(read_of(rest::plan(&inbound, known, &rest_settings(config))?)?.reads.opaque)
}

fn read_of(plan: Plan) -> Result<ReadPlan, Error> {
    match plan {
        Plan::Read(plan) => Ok(plan),
        Plan::Write(_) => Err(Error::NoSuchPath),
    }
}

/// The request that a client would send.
fn parts_of(config: &Config, target: &str, schema: Option<&str>) -> Result<Parts, Error> {
    let uri = format!("{}{target}", config.listeners.rest_path);
    let mut parts = Request::get(uri).body(()).map_err(|_| Error::NoSuchPath)?.into_parts().0;
    if let Some(schema) = schema {
        parts.headers.insert(ACCEPT_PROFILE, HeaderValue::from_str(schema).map_err(|_| Error::NoSuchPath)?);
    }
    Ok(parts)
}
