//! Changing data: one transaction, then the announcement, then the answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{
    backplane::ECHO_PATIENCE,
    coherence::{Echo, Heard, Kind, Token, WriteId},
    error::RedisError,
    outcome::Source,
    tag::Tag,
};
use http::{HeaderValue, request::Parts};

use super::{Question, Serve, understanding::Manner};
use crate::{
    error::Error,
    key,
    origin::{Place, RequestSettings, Session, Signature, Signed, Uncommitted, Written},
    reply::{self, Forward, Reply, TRANSOM_TOKEN},
    rest::{self, Changes, Plan, Rendered, TableId, WritePlan},
};

/// Longest wait of a write for a change feed that is late.
const FEED_PATIENCE: Duration = Duration::from_secs(1);

impl Serve {
    /// Answers a write. What it changed is announced before it is answered, also if the client has gone meanwhile.
    ///
    /// # Errors
    /// If it cannot be understood, or Postgres refuses or fails.
    pub async fn write(self: &Arc<Self>, parts: &Parts, body: Bytes) -> Result<Reply, Error> {
        let principal = self.admission.principal(&parts.headers).await?;
        let schema = self.schema.load_full();
        let mut plan = match rest::plan(&self.inbound(parts, &body), &schema, &self.rest)? {
            Plan::Write(plan) => plan,
            Plan::Read(plan) => {
                return self
                    .posted_read(parts, self.question_of(parts, plan, principal, &schema, &Manner::default()))
                    .await;
            }
        };
        let database = &self.config.database;
        if !database.pre_request.is_empty() {
            // It may change tables that the statement does not know of.
            plan.changes = Changes::Ask;
        }
        let request = RequestSettings::new(parts, self.written_path(parts.uri.path()), principal.claims);
        let session = Session::new(principal.role, principal.caller, &plan.schema, &database.extra_search_path)
            .in_zone(plan.zone)
            .of_request(request);
        let serve = self.clone();
        let written = async move { serve.write_and_announce(&session, &plan).await };
        self.tasks.spawn(written).await.unwrap_or(Err(Error::Abandoned))
    }

    /// A function that was posted to and only reads: asked anew each time, because nobody else asks with the same body.
    async fn posted_read(self: &Arc<Self>, parts: &Parts, question: Question) -> Result<Reply, Error> {
        let session = question.session_of(parts, self.written_path(parts.uri.path()));
        let filled = self.fill_alone(&Arc::new(question), session, Forward::Uncached).await?;
        let answer = &filled.entry.value;
        Ok(reply::to_write(answer.status(), answer.headers(), answer.body()))
    }

    async fn write_and_announce(&self, session: &Session, plan: &WritePlan) -> Result<Reply, Error> {
        let budget = self.config.limits.request_deadline;
        let accept = |answer| plan.shape.answer(answer).map_err(Error::from);
        let name = WriteId::random();
        // Before the commit: whoever leads the change feed may be faster than this node.
        let echo = self.cache.expect(name);
        let sign = |changed: &[TableId]| {
            let place = self.signed_for_feed(changed)?;
            Some(Signature { write: name, place })
        };
        let writing = self.origin.write(session, &plan.statement, &plan.changes, plan.ending, accept, &sign);
        let Ok(end) = tokio::time::timeout(budget, writing).await else {
            // Given up at an unknown point, so perhaps during the commit.
            self.announce_all_that_may_change(&plan.changes).await;
            return Err(Error::Deadline { budget });
        };
        match end {
            Ok(written) => Ok(self.written(written, echo).await),
            Err(Uncommitted { error, maybe_changed }) => {
                self.announce(&maybe_changed).await;
                Err(error)
            }
        }
    }

    /// Where a write leaves its name, if the change feed announces whatever changed in these tables, and soon. Without a lease
    /// nobody vouches for it: it or Redis is away, and waiting would be in vain.
    fn signed_for_feed(&self, changed: &[TableId]) -> Option<Place> {
        let coverage = self.feed.coverage();
        let is_announced = coverage.size().is_some()
            && coverage.covers(changed)
            && self.cache.coherence().lease_held(self.cache.clock().now());
        self.feed.reads().filter(|_| is_announced)
    }

    /// What changed is announced by the change feed, row by row; or by this node, table by table, if the feed does not
    /// know of it or takes too long.
    async fn written(&self, written: Written<Rendered>, mut echo: Echo) -> Reply {
        let Written { accepted: Rendered { status, headers, body }, changed, signed } = written;
        let heard = match signed {
            Signed::Yes => self.heard(&mut echo).await,
            Signed::No => None,
        };
        let token = match heard {
            Some(token) => header_of(token),
            None => self.announce(&changed).await,
        };
        let mut reply = reply::to_write(status, headers, body);
        if let Some(token) = token {
            reply.response.headers_mut().insert(TRANSOM_TOKEN, token);
        }
        reply
    }

    /// Waits for the change feed while this node's lease tells that it keeps up, and Redis answers. To announce the whole table
    /// costs all who read it more than a wait costs this one writer, and a feed that is late because the machine has too
    /// much to do would be later by every row that has to be read again.
    async fn heard(&self, echo: &mut Echo) -> Option<Token> {
        let (coherence, clock) = (self.cache.coherence(), self.cache.clock());
        let until = clock.now().plus(FEED_PATIENCE);
        loop {
            match echo.wait(ECHO_PATIENCE).await {
                Heard::Yes(token) => return Some(token),
                Heard::Never => return None,
                Heard::NotYet => {}
            }
            let now = clock.now();
            if now >= until || !coherence.lease_held(now) || self.cache.l2_available() == Some(false) {
                return None;
            }
        }
    }

    async fn announce_all_that_may_change(&self, changes: &Changes) {
        match changes {
            Changes::Known(tables) => drop(self.announce(tables).await),
            // Triggers and cascades may have reached any table.
            Changes::Ask => drop(self.announce_tags(vec![Tag::everything()]).await),
        }
    }

    /// Announces that rows of these tables changed, whichever: what is read by a template does not carry the tag of any row.
    async fn announce(&self, changed: &[TableId]) -> Option<HeaderValue> {
        self.announce_tags(changed.iter().flat_map(key::some_rows).collect()).await
    }

    /// Without Redis there is no token to return: this node is right, the peers' leases lapse, and the announcement is
    /// made up for.
    async fn announce_tags(&self, tags: Vec<Tag>) -> Option<HeaderValue> {
        if tags.is_empty() {
            return None;
        }
        let announced = self.cache.announce(tags, Kind::Change).await;
        let token = announced.inspect_err(unannounced).ok()?;
        self.metrics.announced(Source::Write);
        header_of(token)
    }
}

fn header_of(token: Token) -> Option<HeaderValue> {
    HeaderValue::from_str(&token.to_string()).ok()
}

fn unannounced(error: &RedisError) {
    tracing::warn!(%error, "a write could not be announced; it will be when redis answers");
}
