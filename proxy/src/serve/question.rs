//! A read that was understood: what to ask Postgres, under which key the answer is stored, what it depends on.

use std::sync::Arc;

use cache_core::{
    cache::FillTicket,
    clock::Clock,
    dependence::Dependence,
    entry::Lifetimes,
    key::{CacheKey, share},
    tag::{Tag, Tags},
};
use http::{HeaderValue, request::Parts};
use moka::sync::Cache;

use super::{absent::Point, repertoire::Repertoire};
use crate::{
    auth::{NEVER, Principal},
    config,
    distinct::Asked,
    feed::Coverage,
    key::{self, Forms, RowTagWriter},
    origin::{RequestSettings, Session},
    reply::Forward,
    rest::{
        Answer, Equality, Facet, Footprint, Grain, Page, ReadPlan, Relation, RelationKind, RowSecurity, RowSet,
        TableId, TextParam,
    },
};

/// A read that was understood. Immutable and shared by all requests that ask it.
pub(super) struct Question {
    pub(super) key: CacheKey,
    pub(super) plan: ReadPlan,
    /// as whom Postgres is asked when the answer is stored
    pub(super) session: Arc<Session>,
    principal: Principal,
    pub(super) dependence: Dependence,
    /// what the answer tells of the rows that it depends on, if it does
    page: Option<Box<Page>>,
    /// `Content-Location` of the reply
    pub(super) location: Option<HeaderValue>,
    /// why the cache has no part in it, if so
    pub(super) bypass: Option<Forward>,
    /// the coverage of the change feed by which `bypass` was judged
    pub(super) coverage: u64,
    /// the schema that it was planned by
    pub(super) fingerprint: u128,
    /// the row that it is about, if it is about one, and its table keeps in mind which rows are absent
    pub(super) point: Option<Point>,
    /// what it counts as
    pub(super) asked: Asked,
    lifetimes: Lifetimes,
    jitter_percent: u32,
}

/// What a question depends on beside the request.
pub(super) struct Context<'c> {
    pub(super) namespace: &'c str,
    pub(super) fingerprint: u128,
    pub(super) policies: &'c config::Cache,
    pub(super) database: &'c config::Database,
    pub(super) coverage: &'c Coverage,
    pub(super) repertoire: &'c Repertoire,
    pub(super) forms: &'c Forms,
    /// what is asked, as the schema cache knows it
    pub(super) relation: Option<&'c Relation>,
    /// what its answer carries beside the tags of what it is read from
    pub(super) about: &'c [Tag],
    /// how long its answer is kept, if the policies of the tables do not say that
    pub(super) lifetimes: Option<Lifetimes>,
}

/// Why an answer from a table that the change feed does not cover is not stored.
const NOT_IN_FEED: &str = "not-in-feed";

impl Question {
    /// Who asked it.
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(super) fn new(mut plan: ReadPlan, principal: Principal, url: Tag, context: &Context<'_>) -> Self {
        let policy = strictest(context.policies, std::iter::once(&plan.target).chain(&plan.reads.tables));
        let bypass = match &plan.reads.opaque {
            Some(opaque) => Some(Forward::Opaque(opaque.reason())),
            // It may refuse whom it likes, and change what the statement after it finds.
            None if !context.database.pre_request.is_empty() => Some(Forward::PreRequest),
            None if !policy.cache => Some(Forward::Uncached),
            None => (!context.coverage.covers(&plan.reads.tables)).then_some(Forward::Opaque(NOT_IN_FEED)),
        };
        // Kept as tags, which are smaller.
        let footprint = std::mem::take(&mut plan.footprint);
        let (footprint, templates) = if bypass.is_none() {
            let footprint = footprint.keeping(|table| context.coverage.tells_rows_of(table));
            context.repertoire.admit(footprint)
        } else {
            (Footprint::default(), Box::default())
        };
        let about = || context.about.iter().copied();
        let tags_of = |footprint: &Footprint| -> Tags {
            key::tags_of_read(url, &plan.reads.tables, footprint).chain(about()).collect()
        };
        let claims = principal.excerpt(&plan.reads.claims);
        let page = footprint.page().cloned().map(Box::new);
        let certain = page.is_some().then(|| tags_of(&footprint));
        let footprint = footprint.without_page();
        let dependence = Dependence::exactly(tags_of(&footprint), templates, tags_of(&Footprint::default()));
        let dependence = match certain {
            Some(tags) => dependence.with_certain(tags),
            None => dependence,
        };
        let session = Session::new(
            principal.role.clone(),
            principal.caller,
            &plan.target.schema,
            &context.database.extra_search_path,
        )
        .in_zone(plan.zone);
        let claims_of_key = claims.as_deref();
        let key =
            key::cache(context.namespace, context.fingerprint, &principal, claims_of_key, &mut plan, context.forms);
        let point = if policy.absent_filter && claims.is_none() && bypass.is_none() {
            point(&plan, &footprint, context.relation)
        } else {
            None
        };
        Self {
            point,
            asked: Asked::new(&key, &principal),
            key,
            // It is told what is in the key and nothing else, so nothing else can be in the answer.
            session: context.forms.session(match claims {
                Some(claims) => session.of_claims(claims),
                None => session,
            }),
            dependence,
            page,
            // A name with a control character cannot stand in a header; its path is percent-encoded all the same.
            location: HeaderValue::try_from(std::mem::take(&mut plan.location))
                .ok()
                .filter(|location| !location.is_empty()),
            bypass,
            coverage: context.coverage.generation(),
            fingerprint: context.fingerprint,
            lifetimes: context.lifetimes.unwrap_or(Lifetimes {
                fresh_for: policy.ttl,
                stale_while_revalidate_for: policy.stale_while_revalidate,
                stale_if_error_for: policy.stale_if_error,
            }),
            jitter_percent: context.policies.ttl_jitter_percent,
            plan,
            principal,
        }
    }

    /// Whether whoever asked still may: a question is remembered under the bytes of the token.
    pub(super) fn is_valid(&self, clock: Clock) -> bool {
        self.principal.expires == NEVER || self.principal.is_valid(clock.wall())
    }

    /// As whom Postgres is asked for this request. What is not stored may depend on all of it.
    pub(super) fn session_of(&self, parts: &Parts, path: &str) -> Arc<Session> {
        if self.bypass.is_none() {
            return self.session.clone();
        }
        let request = RequestSettings::new(parts, path, self.principal.claims.clone());
        Arc::new(self.session.of_request(request))
    }

    /// The ticket with the tags of no more rows than the answer depends on.
    pub(super) fn narrowed(&self, ticket: FillTicket, answer: &Answer) -> FillTicket {
        let rows = self.page.as_ref().and_then(|page| Some((&page.table, page.rows(answer.page, answer.end)?)));
        match rows {
            Some((table, rows)) => ticket.narrowed(key::tags_of_rows(table, &[rows])),
            None => ticket,
        }
    }

    /// The lifetimes of one answer, shortened by chance, so that what was filled together does not expire together.
    /// `chance` is between 0 and 1.
    pub(super) fn lifetimes(&self, chance: f64) -> Lifetimes {
        let shortened = 1.0 - chance.clamp(0.0, 1.0) * f64::from(self.jitter_percent.min(100)) / 100.0;
        Lifetimes { fresh_for: self.lifetimes.fresh_for.mul_f64(shortened), ..self.lifetimes }
    }
}

/// The row of a plain table that a question is about, by its primary key alone: where that row is not there, nothing of the
/// question makes a difference but how it is asked.
fn point(plan: &ReadPlan, footprint: &Footprint, relation: Option<&Relation>) -> Option<Point> {
    let Relation { id, kind: RelationKind::Table, primary_key, traced: Some(traced), .. } = relation? else {
        return None;
    };
    // Policies may hide rows from who reads the keys, and refuse who asks.
    let is_plain = traced.row_security == RowSecurity::Off && traced.partitions.is_empty();
    let [column] = &**primary_key else { return None };
    let [RowSet { columns, tuples }] = footprint.rows_of(id)? else { return None };
    let ([Facet { name, equality, grain: Grain::Value }], [tuple]) = (&**columns, &**tuples) else { return None };
    let [Some(value)] = &**tuple else { return None };
    // Their texts say whether they are values at all: what is none is an error, and not an absent row.
    let is_certain =
        matches!(equality, Equality::SmallInteger | Equality::Integer | Equality::BigInteger | Equality::Uuid);
    // Which of the parameters it is: exactly one has this value, so the others are of how it is asked.
    let is_it =
        |param: &TextParam| param.0.as_deref().and_then(|given| equality.canonical(given)).as_deref() == Some(&**value);
    let mut places = plan.statement.params.iter().enumerate().filter(|(_, param)| is_it(param)).map(|(place, _)| place);
    let (Some(place), None) = (places.next(), places.next()) else { return None };
    // What the planner guesses is not what is there.
    let is_known = plan.estimate.is_none();
    let is_here = plan.target == *id && plan.reads.tables == [id.clone()];
    (is_plain && is_certain && is_known && is_here && name == column).then(|| {
        let tag = RowTagWriter::default().tag(id, [(&**column, Grain::Value, Some(&**value))]);
        Point { tag, column: column.clone(), place }
    })
}

/// The strictest of the policies of all tables an answer is made of.
fn strictest<'t>(cache: &config::Cache, tables: impl Iterator<Item = &'t TableId>) -> config::TablePolicy {
    let policies = tables.map(|table| cache.policy_of(&table.schema, &table.name));
    let strictest = policies.reduce(|a, b| config::TablePolicy {
        cache: a.cache && b.cache,
        ttl: a.ttl.min(b.ttl),
        stale_while_revalidate: a.stale_while_revalidate.min(b.stale_while_revalidate),
        stale_if_error: a.stale_if_error.min(b.stale_if_error),
        absent_filter: a.absent_filter && b.absent_filter,
    });
    strictest.unwrap_or(cache.policy)
}

/// The second index of L1: from the bytes of a request to the question in it. Bounded in bytes.
pub(super) struct Questions(Cache<Arc<[u8]>, Arc<Question>>);

/// Bytes of a question beside its texts, with the nodes of the index; as measured, rounded up.
const OVERHEAD_BYTES: usize = 1_280;
/// Bytes that one of a page has beside that: where it ends, and the tags that it carries anyway.
const PAGE_BYTES: usize = 200;

impl Questions {
    pub(super) fn new(bytes_max: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|raw: &Arc<[u8]>, question: &Arc<Question>| {
                let statement = &question.plan.statement;
                let params: usize = statement.params.iter().map(|param| param.0.as_deref().map_or(0, str::len)).sum();
                let claims = question.principal.claims.len();
                let tags = size_of::<Tag>() * question.dependence.exact().len();
                let estimate = question.plan.estimate.as_ref().map_or(0, |estimate| estimate.statement.sql.len());
                let page = question.page.as_ref().map_or(0, |_| PAGE_BYTES);
                let statements = share(&statement.sql) + params + estimate;
                let texts = claims + raw.len() + statements + question.key.weight() + tags + page;
                u32::try_from(texts + OVERHEAD_BYTES).unwrap_or(u32::MAX)
            })
            .build();
        Self(cache)
    }

    pub(super) fn get(&self, raw: &[u8]) -> Option<Arc<Question>> {
        self.0.get(raw)
    }

    pub(super) fn put(&self, raw: &[u8], question: Arc<Question>) {
        self.0.insert(raw.into(), question);
    }
}
