//! The auditor: now and then a hit is read again from Postgres. What no announcement explains is a fault of this program,
//! of the change feed's setup, or of somebody who changes rows where nothing listens; it is counted, logged, and healed.
//!
//! A hit pays one relaxed decrement. What is sampled goes into a bounded queue, and one worker reads from it at a bounded
//! rate, never with the last connection to Postgres.
//!
//! Without a change feed nothing announces what others commit. That is found and counted all the same: how often it happens
//! is what the operator of such a node wants to know.

mod comparison;

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use cache_core::{
    coherence::{Kind, Proof},
    entry::Entry,
    outcome::Source,
    tag::Tag,
};
use http::{Method, Uri};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::task::AbortOnDropHandle;

use self::comparison::{Comparison, compare};
use super::{Question, Serve};
use crate::{config, key, reply::StoredResponse, telemetry::AuditSkip};

/// Hits that may wait to be audited. Each keeps its entry in memory.
const QUEUE_MAX: usize = 64;
/// How often to look whether an announcement came.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Chooses the hits, and owns the worker that looks into them.
pub(super) struct Auditor {
    settings: config::Audit,
    /// hits until the next one is chosen
    left: AtomicU32,
    running: OnceLock<Running>,
}

struct Running {
    queue: mpsc::Sender<Job>,
    worker: AbortOnDropHandle<()>,
}

/// A hit to look into.
struct Job {
    question: Arc<Question>,
    entry: Arc<Entry<StoredResponse>>,
    method: Method,
    /// without the query, which may hold what is nobody's business
    path: String,
    /// what the entry is made to leave by
    url: Tag,
}

impl Auditor {
    pub(super) fn new(settings: config::Audit) -> Self {
        Self { settings, left: AtomicU32::new(gap(settings.one_in)), running: OnceLock::new() }
    }

    /// Ends the worker: what it was about to find out can wait for another hit.
    pub(super) fn stop(&self) {
        if let Some(running) = self.running.get() {
            running.worker.abort();
        }
    }

    /// Whether this hit is chosen. Two threads at once may choose one too few, which nobody will miss.
    fn chooses(&self) -> bool {
        if self.settings.one_in == 0 || self.left.fetch_sub(1, Relaxed) != 1 {
            return false;
        }
        self.left.store(gap(self.settings.one_in), Relaxed);
        true
    }
}

/// By chance, and `one_in` on average: a fixed step might meet a client that asks in the same step.
fn gap(one_in: u32) -> u32 {
    rand::random_range(1..=one_in.max(1).saturating_mul(2) - 1)
}

impl Serve {
    /// Starts the worker, unless nothing is to be audited. To be called once, within a tokio runtime.
    pub(crate) fn start_auditor(self: &Arc<Self>) {
        if self.config.audit.one_in > 0 {
            let (queue, inbox) = mpsc::channel(QUEUE_MAX);
            let worker = tokio::spawn(work(Arc::downgrade(self), inbox, self.config.audit.per_second_max));
            let running = Running { queue, worker: AbortOnDropHandle::new(worker) };
            drop(self.auditor.running.set(running));
        }
    }

    /// A fresh hit is being served; perhaps it is to be looked into.
    #[inline]
    pub(super) fn sample(
        &self,
        method: &Method,
        uri: &Uri,
        question: &Arc<Question>,
        entry: &Arc<Entry<StoredResponse>>,
    ) {
        if self.auditor.chooses() {
            self.enqueue(method, uri, question, entry);
        }
    }

    /// The same for who counts by itself: `left` hits are left until the next one is chosen, none if it was never asked.
    #[inline]
    pub(super) fn sample_by(
        &self,
        left: &mut u32,
        method: &Method,
        uri: &Uri,
        question: &Arc<Question>,
        entry: &Arc<Entry<StoredResponse>>,
    ) {
        let one_in = self.auditor.settings.one_in;
        if *left > 1 || one_in == 0 {
            *left = left.saturating_sub(1);
            return;
        }
        if *left == 1 {
            self.enqueue(method, uri, question, entry);
        }
        *left = gap(one_in);
    }

    #[cold]
    fn enqueue(&self, method: &Method, uri: &Uri, question: &Arc<Question>, entry: &Arc<Entry<StoredResponse>>) {
        let Some(running) = self.auditor.running.get() else { return };
        let Ok(permit) = running.queue.try_reserve() else {
            self.metrics.audit_skipped(AuditSkip::QueueFull);
            return;
        };
        permit.send(Job {
            question: question.clone(),
            entry: entry.clone(),
            method: method.clone(),
            path: uri.path().to_owned(),
            url: key::url(self.below_rest_path(uri.path()), uri.query()),
        });
    }

    async fn audit(&self, job: &Job) {
        // What is known to have changed since has nothing to hide. The same question is asked below.
        if !self.cache.coherence().is_current(&job.entry.stamp) || self.agrees(job).await {
            return;
        }
        if self.is_explained(job).await || self.agrees(job).await || self.proof(job) != Proof::Leased {
            return;
        }
        self.metrics.audit_stale();
        self.accuse(job);
        self.heal(job).await;
    }

    /// Whether Postgres still gives this answer, as far as can be told.
    async fn agrees(&self, job: &Job) -> bool {
        let read = match self.read_again(job).await {
            Ok(read) => read,
            Err(skip) => {
                self.metrics.audit_skipped(skip);
                return true;
            }
        };
        self.metrics.audit_read();
        match compare(&job.entry.value, &read, &job.question.plan.statement.sql) {
            Comparison::Same => true,
            Comparison::Different => false,
            Comparison::Undetermined => {
                self.metrics.audit_skipped(AuditSkip::Undetermined);
                true
            }
        }
    }

    async fn read_again(&self, job: &Job) -> Result<StoredResponse, AuditSkip> {
        let Question { session, plan, .. } = &*job.question;
        let reading = self.origin.read_aside(session, &plan.statement, plan.estimate.as_deref());
        let answer = match tokio::time::timeout(self.config.limits.request_deadline, reading).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => return Err(AuditSkip::PoolBusy),
            Ok(Err(_)) | Err(_) => return Err(AuditSkip::Failed),
        };
        let rendered = plan.shape.answer(answer).map_err(|_| AuditSkip::Failed)?;
        Ok(StoredResponse::new(rendered.status, &rendered.headers, &rendered.body))
    }

    /// Waits until an announcement explains the difference, for as long as one may take. A node that holds its lease then has
    /// heard of everything that anybody could see when the wait began (C3); one that does not claims nothing.
    async fn is_explained(&self, job: &Job) -> bool {
        let clock = self.cache.clock();
        let until = clock.now().plus(self.cache.coherence().max_staleness());
        while clock.now() <= until {
            if self.proof(job) == Proof::Incoherent {
                return true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.proof(job) != Proof::Leased
    }

    fn proof(&self, job: &Job) -> Proof {
        self.cache.coherence().judge(&job.entry.stamp, job.entry.filled(), self.cache.clock().now())
    }

    /// Everything there is to know, for whoever has to find out why. The statement has no values in it.
    fn accuse(&self, job: &Job) {
        let (coherence, now) = (self.cache.coherence(), self.cache.clock().now());
        let (question, stamp) = (&job.question, &job.entry.stamp);
        tracing::error!(
            key = ?question.key,
            method = %job.method,
            path = job.path,
            sql = &*question.plan.statement.sql,
            tables = ?question.plan.reads.tables.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ?stamp,
            filled = ?job.entry.filled(),
            age = ?job.entry.age(now),
            epoch = ?coherence.epoch().map(|epoch| epoch.to_string()),
            watermark = coherence.watermark().0,
            last_announcement = coherence.newest(question.dependence.exact()).0,
            lease_held = coherence.lease_held(now),
            feed = self.feed.state().as_str(),
            "a stored answer is not what postgres says, and no announcement came; it is invalidated everywhere"
        );
    }

    /// Makes the entry leave all nodes, and with it only the other variants of the same URL.
    async fn heal(&self, job: &Job) {
        match self.cache.announce([job.url], Kind::Change).await {
            Ok(_) => self.metrics.announced(Source::Audit),
            Err(error) => tracing::warn!(%error, "the peers will hear of it when redis answers"),
        }
        self.cache.forget(&job.question.key);
    }
}

/// Audits one hit after the other, until the node is gone.
async fn work(serve: Weak<Serve>, mut inbox: mpsc::Receiver<Job>, per_second_max: u32) {
    let mut due = interval(Duration::from_secs(1) / per_second_max);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(job) = inbox.recv().await {
        due.tick().await;
        let Some(serve) = serve.upgrade() else { return };
        serve.audit(&job).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(one_in: u32, hits: u32) -> usize {
        let auditor = Auditor::new(config::Audit { one_in, per_second_max: 1 });
        (0..hits).filter(|_| auditor.chooses()).count()
    }

    #[test]
    fn the_share_is_what_the_setting_says() {
        assert_eq!(chosen(0, 1_000), 0);
        assert_eq!(chosen(1, 1_000), 1_000);
        // Gaps are even between 1 and 19: of 100 000 hits, 10 000 give or take a few hundred.
        assert!((9_000..11_000).contains(&chosen(10, 100_000)));
    }
}
