//! What a feed owes its peers: announced by the newest templates, then vouched for. The same for both kinds of feed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cache_core::{
    cache::TwoTier,
    coherence::{Break, Kind, SentAt, Settled, Stream, Vouched, WriteId},
    error::RedisError,
    outcome::Source,
    template::{Edition, Published, Templates},
};
use tokio::time::Instant;

use super::{changed::Changed, snapshot::Snapshot, templates::Gained};
use crate::{reply::StoredResponse, telemetry::Metrics};

/// Tags of rows that what is owed may hold; beyond, whole tables changed.
pub(super) const TAGS_MAX: usize = 1_048_576;
/// Pause before a Redis that does not answer is asked again.
pub(super) const REDIS_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Editions of the templates that an announcement is made for, one after the other, before it is put off.
const EDITIONS_MAX: usize = 8;

/// Whoever writes the tags of what changed.
pub(super) trait Decoder {
    /// From now on these are the templates. Says for which tables there are some by which no tags were written so far.
    fn learn(&mut self, templates: &Templates) -> Gained;
}

/// Whether the peers were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Yes,
    /// Redis does not answer
    NotYet,
    /// another session leads
    Deposed,
}

/// See the module.
pub(super) struct Announcer {
    cache: Arc<TwoTier<StoredResponse>>,
    metrics: Arc<Metrics>,
    /// what is visible and was not announced yet
    owed: Changed,
    /// the writes through proxies that are in it
    writes: Vec<WriteId>,
    /// the templates by which tags are written; `None` if there are others by now
    edition: Option<Edition>,
    /// transactions that were open when the epoch began: they may have made changes that are not heard of
    stragglers: BTreeSet<u64>,
    /// since when Redis does not take anything
    refused_since: Option<Instant>,
}

impl Announcer {
    pub(super) fn new(cache: Arc<TwoTier<StoredResponse>>, metrics: Arc<Metrics>, stragglers: BTreeSet<u64>) -> Self {
        Self {
            cache,
            metrics,
            owed: Changed::nothing(),
            writes: Vec::new(),
            edition: None,
            stragglers,
            refused_since: None,
        }
    }

    /// Adds what is to be announced, and whose writes are in it.
    pub(super) fn owe(&mut self, changed: Changed, writes: impl IntoIterator<Item = WriteId>) {
        self.owed.merge(changed);
        self.writes.extend(writes);
    }

    pub(super) fn owes(&self) -> bool {
        !(self.owed.is_nothing() && self.writes.is_empty())
    }

    /// Since when Redis does not take what is announced.
    pub(super) fn refused_since(&self) -> Option<Instant> {
        self.refused_since
    }

    /// Whether some of the [`stragglers`](Self::settle) are still open.
    pub(super) fn awaits_stragglers(&self) -> bool {
        !self.stragglers.is_empty()
    }

    /// When one ends that was open when the epoch began, everything is owed: what it changed is not heard of.
    pub(super) fn settle(&mut self, snapshot: &Snapshot) {
        let before = self.stragglers.len();
        self.stragglers.retain(|xid| snapshot.is_open(*xid));
        if self.stragglers.len() < before {
            self.owed = Changed::Everything;
        }
    }

    /// Announces what is owed. Whether nothing is owed any more.
    pub(super) async fn publish(&mut self, decoder: &mut impl Decoder) -> bool {
        if !self.owes() {
            return true;
        }
        match self.announce_owed(decoder).await {
            Ok(true) => {
                self.owed = Changed::nothing();
                self.writes.clear();
                self.refused_since = None;
                self.metrics.announced(Source::Feed);
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.refused(&error);
                false
            }
        }
    }

    /// By the newest templates; false if there were newer ones each time.
    async fn announce_owed(&mut self, decoder: &mut impl Decoder) -> Result<bool, RedisError> {
        if self.owed.size() > TAGS_MAX {
            self.owed.coarsen(&Gained::All);
        }
        for _ in 0..EDITIONS_MAX {
            let Some(edition) = self.edition else {
                self.read_templates(decoder).await?;
                continue;
            };
            match self.cache.publish_knowing(self.owed.tags(), Kind::Change, edition, &self.writes).await? {
                Published::Yes(_) => return Ok(true),
                Published::Outdated => self.edition = None,
            }
        }
        Ok(false)
    }

    /// Reads the templates again. If Redis does not answer, they are read with the next announcement.
    pub(super) async fn learn(&mut self, decoder: &mut impl Decoder) {
        self.edition = None;
        if let Err(error) = self.read_templates(decoder).await {
            self.refused(&error);
        }
    }

    async fn read_templates(&mut self, decoder: &mut impl Decoder) -> Result<(), RedisError> {
        let templates = self.cache.templates().await?;
        self.owed.coarsen(&decoder.learn(&templates));
        self.edition = Some(templates.edition);
        Ok(())
    }

    /// Vouches that everything is announced that anybody could see at the time of the heartbeat. To be called when nothing is
    /// owed.
    pub(super) async fn vouch(&mut self, stream: &Stream, beat: SentAt, decoder: &mut impl Decoder) -> Told {
        let settled = if self.stragglers.is_empty() { Settled::Yes } else { Settled::NotYet };
        match self.cache.backplane().vouch(stream, beat, settled).await {
            Ok(Vouched::Yes) => {
                self.refused_since = None;
                // Else the first change after a new template counts as one of the whole table.
                self.learn(decoder).await;
                Told::Yes
            }
            Ok(Vouched::Deposed) => Told::Deposed,
            Err(error) => {
                self.refused(&error);
                Told::NotYet
            }
        }
    }

    fn refused(&mut self, error: &RedisError) {
        // They are not waited for that long: their proxies announce for themselves.
        self.writes.clear();
        if self.refused_since.is_none() {
            tracing::warn!(%error, "change feed: redis does not take announcements");
            self.refused_since = Some(Instant::now());
        }
    }
}

/// A leader begins, with what it reads from.
pub(super) fn took_over(source: &str, broken: Option<Break>, metrics: &Metrics) {
    match broken {
        None => tracing::info!(source, "change feed: leading, where the leader before stopped"),
        Some(reason) => {
            tracing::warn!(source, reason = reason.as_str(), "change feed: leading, in a new epoch");
            metrics.feed_epoch(reason);
        }
    }
}
