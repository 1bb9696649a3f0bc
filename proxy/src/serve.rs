//! The story of one request: what is asked, is it stored, may that answer, and if not, who asks Postgres.
//!
//! ```text
//! hit_in_lane ── this worker has a copy, still that of L1 and fresh ────────> reply
//! hit_at_once ── raw key known, L1 fresh ──────────────────────────────────> reply
//! read ── plan ── token ── L1 ── L2 ── fill (collapsed) ── stale if error ──> reply
//! write ── plan ── transaction ── announce ── token ────────────────────────> reply
//! ```

mod absent;
mod ask;
mod audit;
mod directives;
mod fill;
mod hit;
mod lane;
mod lasting;
mod purge;
mod question;
mod repertoire;
mod report;
mod schema;
mod understanding;
mod write;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use cache_core::{
    cache::{Found, Lookup, Missing, TwoTier},
    coherence::{Reached, Token},
    collapse::Collapse,
    entry::Entry,
    freshness::{Directives, Right},
    key::CacheKey,
    outcome::{LeaseResult, StaleReason, Tier, TierResult},
};
use http::request::Parts;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

pub(crate) use self::ask::{Asking, try_out};
use self::{
    absent::Absences,
    audit::Auditor,
    fill::{End, Filled, Whence},
    lane::Lanes,
    question::{Question, Questions},
    repertoire::Repertoire,
    schema::Loaded,
    understanding::rest_settings,
};
pub use self::{purge::Purge, schema::SchemaAge};
use crate::{
    admission::Admission,
    auth::Auth,
    config::{Config, View},
    distinct::Distinct,
    error::Error,
    feed::Feed,
    key,
    origin::Origin,
    reply::{self, Asked, CacheStatus, Forward, Reply, StoredResponse, TRANSOM_MIN_TOKEN},
    rest::{self, SchemaCache},
    telemetry::Metrics,
};

/// How long a read with a token waits for this node to catch up before it goes to Postgres.
const TOKEN_PATIENCE: Duration = Duration::from_millis(50);

/// Everything that answers requests; one per node.
pub struct Serve {
    pub(crate) cache: Arc<TwoTier<StoredResponse>>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) feed: Feed,
    pub(crate) metrics: Arc<Metrics>,
    schema: ArcSwap<SchemaCache>,
    loaded: Mutex<Loaded>,
    pub(crate) auth: Auth,
    pub(crate) admission: Admission,
    questions: Questions,
    lanes: Lanes,
    pub(crate) distinct: Distinct,
    absences: Absences,
    repertoire: Repertoire,
    forms: key::Forms,
    fills: Collapse<End>,
    auditor: Auditor,
    rest: rest::Settings,
    config: Config,
    /// fills and writes: they outlive the clients that asked for them, and the drain waits for them
    tasks: TaskTracker,
}

impl Serve {
    /// A server of requests over these parts.
    #[must_use]
    pub(crate) fn new(
        config: Config,
        cache: Arc<TwoTier<StoredResponse>>,
        origin: Arc<Origin>,
        feed: Feed,
        schema: SchemaCache,
        distinct: Distinct,
        metrics: Arc<Metrics>,
    ) -> Self {
        let auth = Auth::new(config.database.anon_role.as_deref(), config.tokens.clone());
        Self {
            admission: Admission::new(&config, auth.clone(), &cache, &origin),
            schema: ArcSwap::from_pointee(schema),
            loaded: Mutex::new(Loaded::now(cache.clock())),
            cache,
            origin,
            feed,
            auth,
            questions: Questions::new(config.cache.questions_bytes_max()),
            lanes: Lanes::new(config.workers, config.cache.lanes_bytes_max(), &metrics),
            metrics,
            distinct,
            absences: Absences::new(&config.cache),
            repertoire: Repertoire::default(),
            forms: key::Forms::default(),
            fills: Collapse::new(config.collapse.leader_max),
            auditor: Auditor::new(config.audit),
            rest: rest_settings(&config),
            config,
            tasks: TaskTracker::new(),
        }
    }

    /// The settings as an operator may see them.
    #[must_use]
    pub fn settings(&self) -> &View {
        &self.config.view
    }

    /// The schema as it is known now.
    pub(crate) fn known_schema(&self) -> Arc<SchemaCache> {
        self.schema.load_full()
    }

    /// The settings of this node.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Answers a read.
    ///
    /// # Errors
    /// If it cannot be understood, or Postgres refuses or fails and nothing stored may stand in.
    pub async fn read(self: &Arc<Self>, parts: &Parts) -> Result<Reply, Error> {
        let directives = directives::of(&parts.headers);
        let token = min_token(parts)?;
        let reached = match token {
            Some(token) => self.cache.wait_for(token, TOKEN_PATIENCE).await == Reached::Yes,
            None => true,
        };
        self.admission.admit(&parts.headers).await?;
        // After the wait: what the feed covers may have changed meanwhile.
        let question = self.question(parts)?;
        let bypass = question.bypass.or(match (reached, directives) {
            (false, _) => Some(Forward::Token),
            (true, Directives { no_store: true, .. }) => Some(Forward::NoStore),
            (true, Directives { no_cache: true, .. }) => Some(Forward::NoCache),
            (true, _) => None,
        });
        // A reader with a token would rather have no answer than an old one (C5).
        let stand_in = token.is_none() && question.bypass.is_none();
        match bypass {
            Some(_) if directives.only_if_cached => Err(Error::NotCached),
            Some(why) => {
                match self
                    .fill_alone(&question, question.session_of(parts, self.written_path(parts.uri.path())), why)
                    .await
                {
                    Err(error) if error.is_origin_failure() && stand_in => {
                        let stored = self.look_up_l1(&question.key, &Directives::default());
                        self.stand_in(parts, &question, at_any_rate(stored)).await.ok_or(error)
                    }
                    filled => Ok(self.filled(parts, &question, why, &filled?)),
                }
            }
            None => match self.look_up(&question, &directives).await {
                Lookup::Missing(_)
                    if directives == Directives::default()
                        && let Some(absent) = self.absent(&question) =>
                {
                    absent.map(|absent| self.told_absent(parts, &question, absent))
                }
                Lookup::Found(found) => Ok(self.found(parts, &question, &found)),
                Lookup::Missing(_) if directives.only_if_cached => Err(Error::NotCached),
                Lookup::Missing(missing) => match self.fill(&question, &directives).await {
                    Err(error) if error.is_origin_failure() && stand_in => {
                        self.stand_in(parts, &question, missing.if_error).await.ok_or(error)
                    }
                    filled => Ok(self.filled(parts, &question, Forward::Missing(missing.because), &filled?)),
                },
            },
        }
    }

    /// L1, then L2, unless the leader of a fill looks there on behalf of all who ask for the same. What L1 keeps for the case of an error stays at hand, should L2 have nothing better.
    async fn look_up(&self, question: &Question, directives: &Directives) -> Lookup<StoredResponse> {
        let in_l1 = match self.look_up_l1(&question.key, directives) {
            Lookup::Missing(missing) => missing,
            found @ Lookup::Found(_) => return found,
        };
        if *directives == Directives::default() {
            return Lookup::Missing(in_l1);
        }
        let now = self.cache.clock().now();
        let Some(in_l2) = self.cache.lookup_l2(&question.key, directives, now).await else {
            return Lookup::Missing(in_l1);
        };
        self.count(Tier::L2, &in_l2);
        match in_l2 {
            Lookup::Missing(in_l2) => Lookup::Missing(Missing {
                because: if in_l1.because == TierResult::Absent { in_l2.because } else { in_l1.because },
                if_error: in_l1.if_error.or(in_l2.if_error),
            }),
            found @ Lookup::Found(_) => found,
        }
    }

    fn look_up_l1(&self, key: &CacheKey, directives: &Directives) -> Lookup<StoredResponse> {
        let in_l1 = self.cache.lookup_l1(key, directives, self.cache.clock().now());
        self.count(Tier::L1, &in_l1);
        in_l1
    }

    fn count(&self, tier: Tier, lookup: &Lookup<StoredResponse>) {
        let result = match lookup {
            Lookup::Found(Found { right: Right::Fresh { .. }, .. }) => TierResult::Hit,
            Lookup::Found(Found { right: Right::Stale { .. }, .. }) => TierResult::Expired,
            Lookup::Missing(missing) => missing.because,
        };
        self.metrics.tier_lookup(tier, result);
    }

    fn found(self: &Arc<Self>, parts: &Parts, question: &Arc<Question>, found: &Found<StoredResponse>) -> Reply {
        let status = self.status_of(parts, question, found);
        reply::to_read(asked(parts, question), &found.entry, status, self.cache.clock().now())
    }

    /// How an entry comes to answer; what has to be done about that is done.
    fn status_of(
        self: &Arc<Self>,
        parts: &Parts,
        question: &Arc<Question>,
        found: &Found<StoredResponse>,
    ) -> CacheStatus {
        match found.right {
            Right::Fresh { ttl } => {
                self.sample(&parts.method, &parts.uri, question, &found.entry);
                CacheStatus::Hit { tier: found.tier, ttl }
            }
            Right::Stale { reason, expired_for } => {
                self.metrics.stale_served(reason);
                if reason == StaleReason::WhileRevalidate {
                    self.revalidate(question);
                }
                CacheStatus::Stale { reason, expired_for }
            }
        }
    }

    fn filled(self: &Arc<Self>, parts: &Parts, question: &Arc<Question>, why: Forward, filled: &Filled) -> Reply {
        let status = self.status_of_fill(parts, question, why, filled);
        reply::to_read(asked(parts, question), &filled.entry, status, self.cache.clock().now())
    }

    fn status_of_fill(
        self: &Arc<Self>,
        parts: &Parts,
        question: &Arc<Question>,
        why: Forward,
        filled: &Filled,
    ) -> CacheStatus {
        let Filled { entry, whence, collapsed } = filled;
        let ttl = entry.lifetimes().fresh_for.saturating_sub(entry.age(self.cache.clock().now()));
        match *whence {
            Whence::Origin { stored, l2 } => {
                CacheStatus::Forwarded { why: because(why, l2), stored, ttl, collapsed: *collapsed }
            }
            Whence::Tier { lease: Some(LeaseResult::WaitedHit), .. } => CacheStatus::ByPeer { why, ttl },
            Whence::Tier { tier, right, .. } => {
                self.status_of(parts, question, &Found { entry: entry.clone(), tier, right })
            }
        }
    }

    /// A stored answer in place of the one that Postgres fails to give (RFC 5861, section 4).
    async fn stand_in(&self, parts: &Parts, question: &Question, if_error: Option<IfError>) -> Option<Reply> {
        let (entry, expired_for) = match if_error {
            Some(in_l1) => in_l1,
            None => self.cache.rescue_l2(&question.key).await?,
        };
        let reason = StaleReason::IfError;
        self.metrics.stale_served(reason);
        let status = CacheStatus::Stale { reason, expired_for };
        Some(reply::to_read(asked(parts, question), &entry, status, self.cache.clock().now()))
    }

    /// Whether the path lies below `rest_path`.
    pub(crate) fn serves(&self, path: &str) -> bool {
        let rest_path = &self.config.listeners.rest_path;
        path.strip_prefix(&**rest_path).is_some_and(|below| below.starts_with('/'))
    }

    /// The origins that may ask across sites; `None`: all.
    pub(crate) fn origins(&self) -> Option<&[String]> {
        self.config.listeners.origins.as_deref()
    }

    /// Waits for the fills and writes that are under way, and for the stores behind them.
    pub async fn finish(&self) {
        self.auditor.stop();
        self.absences.stop();
        self.tasks.close();
        self.tasks.wait().await;
        self.distinct.finish().await;
        self.feed.stop().await;
        self.cache.close().await;
    }
}

/// What L2 said counts where L1 had nothing to say.
fn because(why: Forward, l2: Option<TierResult>) -> Forward {
    match (why, l2) {
        (Forward::Missing(TierResult::Absent), Some(l2)) => Forward::Missing(l2),
        (why, _) => why,
    }
}

/// An entry for the case of an error, and since when it is not fresh.
type IfError = (Arc<Entry<StoredResponse>>, Duration);

/// Whatever a lookup found, fresh or not: better than nothing when Postgres fails.
fn at_any_rate(lookup: Lookup<StoredResponse>) -> Option<IfError> {
    match lookup {
        Lookup::Found(found) => Some((found.entry, Duration::ZERO)),
        Lookup::Missing(missing) => missing.if_error,
    }
}

fn asked<'r>(parts: &'r Parts, question: &'r Question) -> Asked<'r> {
    Asked { method: &parts.method, headers: &parts.headers, location: question.location.as_ref() }
}

fn min_token(parts: &Parts) -> Result<Option<Token>, Error> {
    let Some(value) = parts.headers.get(TRANSOM_MIN_TOKEN) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    text.trim().parse().map(Some).map_err(|_| Error::InvalidToken { token: text.into_owned() })
}
