//! The keys of a namespace, and the way to them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fred::{
    clients::SubscriberClient,
    interfaces::ClientLike as _,
    types::{FromValue, Value, scripts::Script},
};

use crate::{
    clock::{Clock, Moment},
    error::RedisError,
    redis::{RedisLink, within},
    seal::KeyRing,
};

/// After Redis failed nobody asks it for so long: a dead Redis costs one timeout per respite, not one per caller.
const RESPITE: Duration = Duration::from_millis(250);

/// Keys below `transom:<namespace>:`, reached with a deadline. Clones share what they know of Redis' health.
#[derive(Clone)]
pub struct Keyspace {
    link: RedisLink,
    prefix: Arc<str>,
    clock: Clock,
    delete: Script,
    /// nanoseconds of the moment until which nobody asks
    respite_until: Arc<AtomicU64>,
}

impl Keyspace {
    /// The keys of this namespace.
    #[must_use]
    pub fn new(link: RedisLink, namespace: &str) -> Self {
        let prefix = format!("transom:{namespace}").into();
        Self {
            link,
            prefix,
            clock: Clock::start(),
            delete: Script::from_lua("return redis.call('UNLINK', KEYS[1])"),
            respite_until: Arc::new(AtomicU64::new(Moment::PAST.as_nanos())),
        }
    }

    /// `transom:<namespace>:<kind>:{<name>}`: everything with this name lies in one slot of Redis Cluster.
    pub(super) fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{{{name}}}", self.prefix)
    }

    /// What values at rest are sealed with.
    pub(super) fn ring(&self) -> Option<Arc<KeyRing>> {
        self.link.ring.clone()
    }

    /// A connection of its own for whoever is to be woken; not connected yet.
    pub(super) fn subscriber(&self) -> SubscriberClient {
        self.link.subscriber.clone_new()
    }

    /// Runs a script. Waits at most one timeout, and during a respite not at all.
    ///
    /// # Errors
    /// If Redis does not answer, or not as the script should.
    pub(super) async fn run<R: FromValue>(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<R, RedisError> {
        let now = self.clock.now();
        if now.as_nanos() < self.respite_until.load(Relaxed) {
            return Err(RedisError::BreakerOpen);
        }
        // Boxed, as the client's future is twenty times the size of what is awaited around it.
        let running = Box::pin(script.evalsha_with_reload(&self.link.data, keys, args));
        within(self.link.timeout, running).await.inspect_err(|error| self.rest(error))
    }

    /// Deletes a key; whether it was there.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(super) async fn delete(&self, key: String) -> Result<bool, RedisError> {
        self.run(&self.delete, vec![key], Vec::new()).await
    }

    /// Whether keys with other hash tags may lie on other servers.
    pub(super) fn is_clustered(&self) -> bool {
        self.link.data.is_clustered()
    }

    fn rest(&self, why: &RedisError) {
        let now = self.clock.now();
        let before = self.respite_until.swap(now.plus(RESPITE).as_nanos(), Relaxed);
        // Once per respite, not once per caller that was under way when Redis failed.
        if before < now.as_nanos() {
            tracing::warn!(%why, "redis failed; shared state is not asked for {RESPITE:?}");
        }
    }
}

/// A time to live as scripts take it: 0 for none.
pub(super) fn millis(ttl: Option<Duration>) -> Value {
    let millis = ttl.map_or(0, |ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).max(1));
    millis.to_string().into()
}
