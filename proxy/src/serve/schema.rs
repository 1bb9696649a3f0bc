//! The schema by which requests are understood, read again while requests are answered.
//!
//! What was stored by another schema stays where it is and is not found any more: the fingerprint of the schema is part of
//! every cache key, and questions are remembered with it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cache_core::clock::{Clock, Moment};

use super::Serve;
use crate::{error::Error, feed, telemetry::Reload};

/// The schema is read within this time or not at all.
const LOAD_DEADLINE: Duration = Duration::from_secs(60);

/// When the schema was read.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    at: Moment,
    /// by the wall clock, since 1970
    wall: Duration,
    /// why it could not be read since
    failure: Option<String>,
}

/// How old the schema is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaAge {
    /// when it was read, since 1970
    pub loaded_at: Duration,
    /// how long ago that was
    pub age: Duration,
    /// its fingerprint
    pub fingerprint: u128,
    /// why it could not be read since
    pub failure: Option<String>,
}

impl Loaded {
    pub(super) fn now(clock: Clock) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: clock.now(), wall, failure: None }
    }
}

impl Serve {
    /// Reads the schema again. Until that is done the one before goes on serving.
    ///
    /// # Errors
    /// If Postgres does not tell it, which is said in `/health` and counted.
    pub(crate) async fn reload_schema(&self) -> Result<Reload, Error> {
        // Before: what is read may be older than its end, and never younger than this.
        let began = Loaded::now(self.cache.clock());
        let read = tokio::time::timeout(LOAD_DEADLINE, self.read_schema()).await;
        let result = read.unwrap_or(Err(Error::Deadline { budget: LOAD_DEADLINE }));
        match &result {
            Ok(_) => *self.loaded.lock() = began,
            Err(error) => self.loaded.lock().failure = Some(error.to_string()),
        }
        self.metrics.schema_reload(*result.as_ref().unwrap_or(&Reload::Failed));
        result
    }

    async fn read_schema(&self) -> Result<Reload, Error> {
        let schema = self.origin.load_schema(&self.config.database.schemas).await?;
        // First what may be stored, then by what it is understood: a partition may be nobody's by now.
        self.feed.needs(feed::setup::needed(&schema)).await?;
        let changed = schema.fingerprint() != self.schema.load().fingerprint();
        self.schema.store(Arc::new(schema));
        Ok(if changed { Reload::Changed } else { Reload::Unchanged })
    }

    /// How old the schema is by which requests are understood.
    #[must_use]
    pub fn schema_age(&self) -> SchemaAge {
        let Loaded { at, wall, failure } = self.loaded.lock().clone();
        SchemaAge {
            loaded_at: wall,
            age: self.cache.clock().now().since(at),
            fingerprint: self.schema.load().fingerprint(),
            failure,
        }
    }
}
