//! From the bytes of a request to the question in it: remembered, or understood anew.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{entry::Lifetimes, tag::Tag};
use http::{HeaderMap, Method, Uri, request::Parts, uri::PathAndQuery};

use super::{
    Serve,
    question::{self, Question},
};
use crate::{
    auth::Principal,
    config::Config,
    error::Error,
    key,
    rest::{self, Inbound, Plan, ReadPlan, SchemaCache},
};

/// What is different in a question that is not a client's.
#[derive(Default)]
pub(super) struct Manner<'m> {
    pub(super) namespace: Option<&'m str>,
    pub(super) about: &'m [Tag],
    pub(super) lifetimes: Option<Lifetimes>,
}

impl Serve {
    /// What is asked: remembered from the same bytes, or understood anew.
    pub(super) fn question(&self, parts: &Parts) -> Result<Arc<Question>, Error> {
        let raw = raw_key(&parts.method, &parts.uri, &parts.headers);
        let question = self.remembered_or(&raw, || self.understand(parts))?;
        self.distinct.note(&question.plan.target, &question.asked);
        Ok(question)
    }

    /// A question from the same bytes, or this one, which is remembered from now on.
    pub(super) fn remembered_or(
        &self,
        raw: &[u8],
        understood: impl FnOnce() -> Result<Question, Error>,
    ) -> Result<Arc<Question>, Error> {
        if let Some(question) = self.remembered(raw) {
            return Ok(question);
        }
        let question = Arc::new(understood()?);
        self.questions.put(raw, question.clone());
        Ok(question)
    }

    /// A question from the same bytes, if neither the schema nor what the change feed covers has changed since, and if it was
    /// not asked with a token that is over by now, or of which nobody can say at once that it still counts.
    fn remembered(&self, raw: &[u8]) -> Option<Arc<Question>> {
        self.questions.get(raw).filter(|question| self.holds(question))
    }

    /// Whether the question is still what its bytes ask, and whoever asked it still may.
    pub(super) fn holds(&self, question: &Question) -> bool {
        question.coverage == self.feed.coverage().generation()
            && question.fingerprint == self.schema.load().fingerprint()
            && question.is_valid(self.cache.clock())
            && self.admission.holds(question.principal())
    }

    /// Who asks, and what.
    fn understand(&self, parts: &Parts) -> Result<Question, Error> {
        let principal = self.auth.principal(&parts.headers, self.cache.clock().wall())?;
        let schema = self.schema.load();
        match rest::plan(&self.inbound(parts, &Bytes::new()), &schema, &self.rest)? {
            Plan::Read(plan) => Ok(self.question_of(parts, plan, principal, &schema, &Manner::default())),
            Plan::Write(_) => Err(Error::NoSuchPath),
        }
    }

    /// What a plan asks, as whom, and what its answer depends on.
    pub(super) fn question_of(
        &self,
        parts: &Parts,
        plan: ReadPlan,
        principal: Principal,
        schema: &SchemaCache,
        manner: &Manner<'_>,
    ) -> Question {
        let url = key::url(self.resource(parts), parts.uri.query());
        let context = question::Context {
            relation: schema
                .relation(&plan.target.schema, &plan.target.name)
                .filter(|relation| self.has_absences(relation)),
            namespace: manner.namespace.unwrap_or(&self.config.namespace),
            about: manner.about,
            lifetimes: manner.lifetimes,
            fingerprint: schema.fingerprint(),
            policies: &self.config.cache,
            database: &self.config.database,
            coverage: &self.feed.coverage(),
            repertoire: &self.repertoire,
            forms: &self.forms,
        };
        Question::new(plan, principal, url, &context)
    }

    /// The request as the planner sees it.
    pub(super) fn inbound<'r>(&self, parts: &'r Parts, body: &'r Bytes) -> Inbound<'r> {
        Inbound {
            method: &parts.method,
            path: self.resource(parts),
            query: parts.uri.query(),
            headers: &parts.headers,
            body,
        }
    }

    fn resource<'r>(&self, parts: &'r Parts) -> &'r str {
        self.below_rest_path(parts.uri.path())
    }

    /// The path as it was written, with the slash in front and without `rest_path`.
    pub(super) fn written_path<'p>(&self, path: &'p str) -> &'p str {
        path.strip_prefix(&*self.config.listeners.rest_path).unwrap_or(path)
    }

    /// The path below `rest_path`, without a slash in front.
    pub(super) fn below_rest_path<'p>(&self, path: &'p str) -> &'p str {
        self.written_path(path).trim_start_matches('/')
    }
}

/// What of the settings the planner goes by.
pub(super) fn rest_settings(config: &Config) -> rest::Settings {
    rest::Settings {
        schemas: config.database.schemas.clone(),
        max_rows: config.database.max_rows.map(u64::from),
        api: config.database.api,
        openapi: config.database.openapi.clone(),
        base_path: match &*config.listeners.rest_path {
            "" => "/".to_owned(),
            path => path.to_owned(),
        },
    }
}

/// The bytes that decide what is asked.
pub(super) fn raw_key(method: &Method, uri: &Uri, headers: &HeaderMap) -> key::RawKey {
    key::raw(method, uri.path_and_query().map_or("", PathAndQuery::as_str), headers)
}
