//! Rows that are certainly absent: a scan for ids that are not there never reaches Postgres.
//!
//! A table that has `absent_filter` is read once, key by key, and what is kept is a [`TagFilter`] of its rows' tags. A question for one row
//! by its key whose tag is not in it is a question for a row that was not there, and is judged as an entry would be that was
//! filled with nothing when the table was read: by a ticket taken before (C1), with all of the question's tags (C3). A row that comes is
//! announced by its tag (the template is registered before), so whatever the filter says of it does not count any more. Nothing
//! has to be told to the filter, and it is made anew when too much was announced.
//!
//! The answer is what Postgres said when it was asked the same of another row that was not there.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use cache_core::{absence::TagFilter, cache::FillTicket, clock::Moment, entry::Entry, tag::Tag};
use http::request::Parts;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{Question, Serve, asked};
use crate::{
    config,
    error::Error,
    key::RowTagWriter,
    reply::{self, CacheStatus, Reply, StoredResponse},
    rest::{Answer, Grain, Relation, TableId, TextParam, keys_statement},
    telemetry::AbsentResult,
};

/// Keys that are read at once.
const PAGE: u32 = 20_000;
/// Rows of a table that has a filter, at most: a larger one has none.
const ROWS_MAX: usize = 10_000_000;
/// Between two attempts to make a filter, at least; and so many times what the last one took.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_TIMES: u32 = 20;
/// While there is no connection to spare, one is looked for so often ..
const SPARE_EVERY: Duration = Duration::from_millis(200);
/// .. and for so long.
const SPARE_WITHIN: Duration = Duration::from_secs(60);
/// Ways to ask that are remembered with a filter.
const ANSWERS_MAX: usize = 1_024;

/// The one row that a question is about.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) tag: Tag,
    /// the primary key
    pub(super) column: Arc<str>,
    /// which parameter of the statement its value is
    pub(super) place: usize,
}

/// The filters of a node, of the tables that shall have one.
pub(super) struct Absences(HashMap<TableId, Place>);

/// Where the filter of a table is, or will be.
#[derive(Default)]
struct Place {
    filter: ArcSwapOption<Filter>,
    making: Mutex<Making>,
}

#[derive(Default)]
struct Making {
    task: Option<AbortOnDropHandle<()>>,
    /// not before
    next_at: Option<Moment>,
}

/// What was there.
struct Filter {
    ticket: FillTicket,
    tags: TagFilter,
    /// the schema and the coverage of the change feed by which the question was judged for which it was made
    fingerprint: u128,
    coverage: u64,
    /// what Postgres says of a row that is not there, by how it is asked
    answers: Mutex<HashMap<Way, Answer>>,
}

/// How a row is asked for: by which role, in which time zone, by which statement with which parameters. All of it but which row.
#[derive(PartialEq, Eq, Hash)]
struct Way {
    role: Option<Arc<str>>,
    zone: Option<&'static str>,
    sql: Arc<str>,
    others: Vec<TextParam>,
}

/// An answer, and how long it stays fresh; or the error that it means.
pub(super) type Answered = Result<(Arc<Entry<StoredResponse>>, Duration), Error>;

/// Why a filter was not made.
#[derive(Debug, thiserror::Error)]
enum Unmade {
    #[error("the template of its rows cannot be registered")]
    Unregistered,
    #[error("a new epoch began")]
    OtherEpoch,
    #[error("it has more than {ROWS_MAX} rows")]
    TooLarge,
    #[error("no connection was to spare for {SPARE_WITHIN:?}")]
    Busy,
    #[error(transparent)]
    Origin(#[from] Error),
}

impl Absences {
    /// Of the tables whose settings say so.
    pub(super) fn new(cache: &config::Cache) -> Self {
        let wanted = cache.tables.iter().filter(|(_, policy)| policy.absent_filter);
        let table = |(schema, name): &(String, String)| TableId { schema: (**schema).into(), name: (**name).into() };
        Self(wanted.map(|(name, _)| (table(name), Place::default())).collect())
    }

    /// Whether this table shall have one.
    pub(super) fn are_of(&self, table: &TableId) -> bool {
        self.0.contains_key(table)
    }

    /// Ends what is being made.
    pub(super) fn stop(&self) {
        self.0.values().for_each(|place| drop(place.making.lock().task.take()));
    }
}

impl Filter {
    /// Whether the question is judged by the same schema and coverage.
    fn fits(&self, question: &Question) -> bool {
        (self.fingerprint, self.coverage) == (question.fingerprint, question.coverage)
    }
}

impl Way {
    fn of(question: &Question, point: &Point) -> Self {
        let (session, statement) = (&question.session, &question.plan.statement);
        let others = statement.params.iter().enumerate().filter(|(place, _)| *place != point.place);
        Self {
            role: session.role.clone(),
            zone: session.zone,
            sql: statement.sql.clone(),
            others: others.map(|(_, param)| param.clone()).collect(),
        }
    }
}

impl Serve {
    /// Whether it is kept in mind which rows of this relation are absent: only where each that comes is announced.
    pub(super) fn has_absences(&self, relation: &Relation) -> bool {
        self.absences.are_of(&relation.id) && self.feed.kind().is_some()
    }

    /// The answer to a question for a row that is certainly absent, and how long it stays so, unless announced; or the error that
    /// Postgres' answer means. `None`: look elsewhere.
    pub(super) fn absent(self: &Arc<Self>, question: &Arc<Question>) -> Option<Answered> {
        let point = question.point.as_ref()?;
        let place = self.absences.0.get(&question.plan.target)?;
        let (result, answer) = self.look_for(place, point, question);
        self.metrics.absent(result);
        answer
    }

    fn look_for(
        self: &Arc<Self>,
        place: &Place,
        point: &Point,
        question: &Arc<Question>,
    ) -> (AbsentResult, Option<Answered>) {
        let Some(filter) = place.filter.load_full().filter(|filter| filter.fits(question)) else {
            self.make(place, question);
            return (AbsentResult::NoFilter, None);
        };
        if filter.tags.may_have(point.tag) {
            return (AbsentResult::Present, None);
        }
        let (now, lifetimes) = (self.cache.clock().now(), question.lifetimes(0.0));
        let tags = question.dependence.exact();
        let Some(ttl) = self.cache.fresh_for(&filter.ticket, tags, &lifetimes, now) else {
            // Without the lease a new one would be worth no more.
            if self.cache.coherence().lease_held(now) {
                self.make(place, question);
            }
            return (AbsentResult::Announced, None);
        };
        // After the verdict: its lease may have been granted for another coverage than the question was judged by.
        if !self.holds(question) {
            return (AbsentResult::NoFilter, None);
        }
        let Some(answer) = filter.answers.lock().get(&Way::of(question, point)).cloned() else {
            return (AbsentResult::Unlearned, None);
        };
        let rendered = question.plan.shape.answer(answer).map_err(Error::from);
        let answer = rendered.map(|rendered| {
            let response = StoredResponse::new(rendered.status, &rendered.headers, &rendered.body);
            (self.cache.share(&filter.ticket, tags.clone(), response, lifetimes), ttl)
        });
        (AbsentResult::Absent, Some(answer))
    }

    /// That answer, dressed for this request.
    pub(super) fn told_absent(
        self: &Arc<Self>,
        parts: &Parts,
        question: &Arc<Question>,
        (entry, ttl): (Arc<Entry<StoredResponse>>, Duration),
    ) -> Reply {
        // Audited as every hit.
        self.sample(&parts.method, &parts.uri, question, &entry);
        reply::to_read(asked(parts, question), &entry, CacheStatus::Absent { ttl }, self.cache.clock().now())
    }

    /// Remembers what Postgres said of a row that is not there.
    pub(super) fn learn(&self, question: &Question, answer: &Answer, asked_at: Moment) {
        // No row on this page, and none at all as far as they were counted.
        if answer.page != 0 || answer.total.is_some_and(|total| total != 0) || !answer.said.is_nothing() {
            return;
        }
        let Some(point) = &question.point else { return };
        let Some(place) = self.absences.0.get(&question.plan.target) else { return };
        let Some(filter) = place.filter.load_full().filter(|filter| filter.fits(question)) else { return };
        // Else it might be from before something that was announced before the filter was begun: who may ask, for one.
        if asked_at < filter.ticket.began() {
            return;
        }
        let mut answers = filter.answers.lock();
        if answers.len() < ANSWERS_MAX && !filter.tags.may_have(point.tag) {
            answers.insert(Way::of(question, point), answer.clone());
        }
    }

    /// Begins to make a filter, unless that was done a moment ago.
    #[cold]
    fn make(self: &Arc<Self>, place: &Place, question: &Arc<Question>) {
        let Some(mut making) = place.making.try_lock() else { return };
        let now = self.cache.clock().now();
        if making.next_at.is_some_and(|at| now < at) || making.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        making.next_at = Some(now.plus(PAUSE));
        let (serve, question) = (Arc::downgrade(self), question.clone());
        making.task = Some(AbortOnDropHandle::new(tokio::spawn(make(serve, question))));
    }
}

async fn make(serve: Weak<Serve>, question: Arc<Question>) {
    let Some(serve) = serve.upgrade() else { return };
    let (table, clock) = (&question.plan.target, serve.cache.clock());
    let began = clock.now();
    let made = read(&serve, &question).await;
    let took = clock.now().since(began);
    let Some(place) = serve.absences.0.get(table) else { return };
    match made {
        Ok(filter) => {
            tracing::info!(%table, bytes = filter.tags.bytes(), ?took, "which rows are absent is known");
            place.filter.store(Some(Arc::new(filter)));
        }
        Err(why) => tracing::warn!(%table, %why, "which rows are absent is not known"),
    }
    place.making.lock().next_at = Some(clock.now().plus(PAUSE.max(took * PAUSE_TIMES)));
}

/// Reads all keys. Each page is read in a snapshot of its own, all of them after the ticket was taken: a row that comes, or moves
/// from page to page, in between, is announced after it.
async fn read(serve: &Serve, question: &Question) -> Result<Filter, Unmade> {
    let (cache, dependence) = (&serve.cache, &question.dependence);
    let Some(point) = &question.point else { return Err(Unmade::Unregistered) };
    let epoch = cache.register(dependence.templates()).await.map_err(|_| Unmade::Unregistered)?;
    let ticket = cache.begin_in(epoch, question.key.clone(), dependence.exact().clone());
    let ticket = ticket.ok_or(Unmade::OtherEpoch)?;
    let (table, mut writer, mut tags) = (&question.plan.target, RowTagWriter::default(), Vec::new());
    let mut after: Option<String> = None;
    loop {
        let statement = keys_statement(table, &point.column, after.as_deref(), PAGE);
        let page = timeout(SPARE_WITHIN, async {
            loop {
                match serve.origin.read_aside(&question.session, &statement, None).await {
                    Ok(None) => sleep(SPARE_EVERY).await,
                    Ok(Some(page)) => return Ok(page),
                    Err(error) => return Err(error),
                }
            }
        });
        let page = page.await.map_err(|_| Unmade::Busy)??;
        let text = String::from_utf8_lossy(&page.body);
        let mut keys = text.lines().filter(|key| !key.is_empty());
        tags.extend(keys.clone().map(|key| writer.tag(table, [(&*point.column, Grain::Value, Some(key))])));
        if tags.len() > ROWS_MAX {
            return Err(Unmade::TooLarge);
        }
        after = keys.next_back().map(str::to_owned);
        if page.page < i64::from(PAGE) || after.is_none() {
            break;
        }
    }
    Ok(Filter {
        ticket,
        tags: TagFilter::of(&tags),
        fingerprint: question.fingerprint,
        coverage: question.coverage,
        answers: Mutex::default(),
    })
}
