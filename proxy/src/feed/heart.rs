//! Heartbeats: the leader writes to the log, and what comes back through the stream proves that every commit before it
//! came too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use cache_core::{cache::TwoTier, clock::Moment, coherence::SentAt};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::{Client, Statement, types::PgLsn};

use super::coverage::VERSION_SQL;
use crate::{
    origin::{LOG_PREFIX, describe},
    reply::StoredResponse,
};

/// From this version on a message outside a transaction can be flushed at once. Before it takes a transaction, and with
/// it an id, for the log to be flushed: without that it is sent when the log writer gets around to it.
const FLUSHES_SINCE: i32 = 170_000;

/// A heartbeat that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    /// by the clock that judges its age
    pub(super) sent_at: SentAt,
    /// by this node's clock
    pub(super) sent: Moment,
    /// the version of the publication when it was sent
    pub(super) covers: String,
}

/// Writes heartbeats until one fails; says why it did. `log_end` is where the newest of them is in the log.
pub(super) async fn run(
    client: Client,
    cache: Arc<TwoTier<StoredResponse>>,
    session: String,
    log_end: Arc<AtomicU64>,
) -> String {
    let every = cache.coherence().max_staleness() / 8;
    let patience = (every * 8).max(Duration::from_secs(1));
    // A heartbeat need not be safe on any standby, only in the log here.
    if let Err(error) = client.batch_execute("SET synchronous_commit = local").await {
        return describe(&error);
    }
    let statement = match prepare(&client).await {
        Ok(statement) => statement,
        Err(error) => return describe(&error),
    };
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        // The time first: a heartbeat proves what was visible when it was sent, and not later.
        let sent = cache.clock().now();
        let Ok(sent_at) = cache.backplane().sent_at(sent).await else { continue };
        let text = text(&session, sent, sent_at);
        let written = async { client.query_one(&statement, &[&text]).await?.try_get::<_, PgLsn>(0) };
        match timeout(patience, written).await {
            Ok(Ok(at)) => log_end.store(u64::from(at), Relaxed),
            Ok(Err(error)) => return describe(&error),
            Err(_) => return format!("postgres took no heartbeat within {patience:?}"),
        }
    }
}

async fn prepare(client: &Client) -> Result<Statement, tokio_postgres::Error> {
    let version: i32 = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await?.try_get(0)?;
    let content = format!("concat($1::text, {VERSION_SQL})");
    let sql = if version >= FLUSHES_SINCE {
        format!("SELECT pg_catalog.pg_logical_emit_message(false, '{LOG_PREFIX}', {content}, true)")
    } else {
        format!("SELECT pg_catalog.pg_logical_emit_message(true, '{LOG_PREFIX}', {content})")
    };
    client.prepare(&sql).await
}

fn text(session: &str, sent: Moment, sent_at: SentAt) -> String {
    let redis = match sent_at {
        SentAt::Here(_) => "-".to_owned(),
        SentAt::Redis(millis) => millis.to_string(),
    };
    format!("beat {session} {} {redis} ", sent.as_nanos())
}

/// Reads a message of the log. `None` if it is not a heartbeat of this session.
pub(super) fn parse(prefix: &str, content: &[u8], session: &str) -> Option<Beat> {
    let mut words = std::str::from_utf8(content).ok().filter(|_| prefix == LOG_PREFIX)?.split(' ');
    if words.next() != Some("beat") || words.next() != Some(session) {
        return None;
    }
    let sent = Moment::from_nanos(words.next()?.parse().ok()?);
    let sent_at = match words.next()? {
        "-" => SentAt::Here(sent),
        millis => SentAt::Redis(millis.parse().ok()?),
    };
    Some(Beat { sent_at, sent, covers: words.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_reads_back_what_was_written() {
        let sent = Moment::from_nanos(12);
        for sent_at in [SentAt::Here(sent), SentAt::Redis(34)] {
            let content = text("s1", sent, sent_at) + "abc";
            let beat = Beat { sent_at, sent, covers: "abc".to_owned() };
            assert_eq!(parse(LOG_PREFIX, content.as_bytes(), "s1"), Some(beat));
            assert_eq!(parse(LOG_PREFIX, content.as_bytes(), "s2"), None, "of another session");
            assert_eq!(parse("other", content.as_bytes(), "s1"), None);
        }
        for content in ["", "beat", "beat s1 1", "beat s1 x - y", "beat s1 1 x y", "beat s1 1 -"] {
            assert_eq!(parse(LOG_PREFIX, content.as_bytes(), "s1"), None, "{content}");
        }
    }
}
