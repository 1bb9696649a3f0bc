//! L2: Redis, shared by the nodes of a namespace.

use std::sync::Arc;

use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::KeysInterface,
    types::{Expiration, FromValue, Value as RedisValue, scripts::Script},
};

use crate::{
    backplane::Observer,
    breaker::Breaker,
    clock::Clock,
    codec,
    entry::{Entry, Value},
    error::{CodecError, RedisError},
    key::CacheKey,
    redis::{Command, Gatherer, RedisLink, within},
};

/// What L2 says of a key. That it is absent and that nobody knows are different answers.
#[derive(Debug)]
pub enum L2Answer<V> {
    /// stored by some node
    Found(Entry<V>),
    /// not stored, or nothing this release can read
    Absent,
    /// Redis did not say
    Unavailable,
}

/// Entries in Redis, one string each, under `transom:<namespace>:e:{<digest>}`. The braces keep an entry and the fill lease
/// of its key together in Redis Cluster, so that one script reaches both.
pub struct L2 {
    link: RedisLink,
    reads: Arc<Gatherer<Get>>,
    breaker: Arc<Breaker>,
    clock: Clock,
    prefix: String,
    observer: Arc<dyn Observer>,
    naming: Naming,
}

/// Reads strings by name: one with `GET`, several with `MGET`.
struct Get;

impl Command for Get {
    type Asked = String;
    type Answer = Option<Bytes>;

    async fn ask(&self, client: &Client, mut names: Vec<String>) -> Result<Vec<Option<Bytes>>, RedisError> {
        match names.pop() {
            Some(name) if names.is_empty() => Ok(vec![client.get(name).await?]),
            last => Ok(client.mget(names.into_iter().chain(last).collect::<Vec<_>>()).await?),
        }
    }
}

/// How entries are named.
enum Naming {
    /// by the digest of the key
    Digest,
    /// by a word and the key itself
    Text(String),
}

impl L2 {
    /// The tier of this namespace.
    #[must_use]
    pub fn new(
        link: RedisLink,
        breaker: Arc<Breaker>,
        clock: Clock,
        namespace: &str,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let (reads, prefix) = (Gatherer::new(Get, &link, breaker.clone()), format!("transom:{namespace}"));
        Self { link, reads, breaker, clock, prefix, observer, naming: Naming::Digest }
    }

    /// The same Redis for entries whose keys are texts, below a word of their own.
    pub(crate) fn beside(&self, kind: &str) -> Self {
        Self {
            link: self.link.clone(),
            reads: self.reads.clone(),
            breaker: self.breaker.clone(),
            clock: self.clock,
            prefix: self.prefix.clone(),
            observer: self.observer.clone(),
            naming: Naming::Text(kind.to_owned()),
        }
    }

    /// The entry under this key, whatever it is worth by now. Waits at most one timeout.
    pub async fn get<V: Value>(&self, key: &CacheKey) -> L2Answer<V> {
        match self.stored(key).await {
            Ok(Some(bytes)) => self.read(key, bytes),
            Ok(None) => L2Answer::Absent,
            Err(_) => L2Answer::Unavailable,
        }
    }

    /// Asks this in one command with what waits at the same time, on the connection of L2.
    pub(crate) fn gatherer<C: Command>(&self, command: C) -> Arc<Gatherer<C>> {
        Gatherer::new(command, &self.link, self.breaker.clone())
    }

    /// The bytes under the name of this key's entry.
    pub(crate) async fn stored(&self, key: &CacheKey) -> Result<Option<Bytes>, RedisError> {
        self.reads.ask(self.name(key)).await
    }

    /// Stores or replaces, until the entry is of no use any more. Failure is the breaker's business: L2 is a copy.
    pub async fn put<V: Value>(&self, key: &CacheKey, entry: &Entry<V>) {
        let set = async {
            let (bytes, keep) = self.written(key, entry);
            let set = self.link.data.set::<(), _, _>(self.name(key), bytes, Some(Expiration::PX(keep)), None, false);
            // Boxed as in `run`: every store is a task, whether it comes here or has a lease.
            within(self.link.timeout, Box::pin(set)).await
        };
        drop(self.breaker.guard(set).await);
    }

    /// The entry as it is stored, and for how many milliseconds.
    pub(crate) fn written<V: Value>(&self, key: &CacheKey, entry: &Entry<V>) -> (Bytes, i64) {
        let bytes = codec::encode(key, entry, codec_began(&self.clock, entry));
        let bytes = match &self.link.ring {
            Some(ring) => codec::seal(ring, &self.name(key), key, &bytes),
            None => bytes,
        };
        (bytes.into(), i64::try_from(entry.lifetimes().keep_for().as_millis()).unwrap_or(i64::MAX).max(1))
    }

    /// Runs a script over the keys of one entry. Waits at most one timeout.
    pub(crate) async fn run<R: FromValue>(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<RedisValue>,
    ) -> Result<R, RedisError> {
        // Boxed, as the client's future is twenty times the size of what is awaited around it.
        let running = Box::pin(script.evalsha_with_reload(&self.link.data, keys, args));
        self.breaker.guard(within(self.link.timeout, running)).await
    }

    /// The entry in these bytes, which L2 holds under the key.
    pub(crate) fn read<V: Value>(&self, key: &CacheKey, bytes: Bytes) -> L2Answer<V> {
        match self.decode::<V>(key, bytes) {
            Ok(codec::Stored { value, stamp, began, lifetimes }) => {
                let began = self.clock.now().minus(self.clock.wall().since(began));
                L2Answer::Found(Entry::filled_by_peer(value, stamp, began, lifetimes))
            }
            Err(error) => {
                tracing::debug!(?key, %error, "an entry in l2 cannot be read");
                self.observer.unreadable(error.reason());
                L2Answer::Absent
            }
        }
    }

    fn decode<V: Value>(&self, key: &CacheKey, bytes: Bytes) -> Result<codec::Stored<V>, CodecError> {
        match &self.link.ring {
            Some(ring) => codec::decode(key, codec::open(ring, &self.name(key), key, &bytes)?),
            None => codec::decode(key, bytes),
        }
    }

    /// How every entry begins that can be read.
    pub(crate) fn head(&self) -> [u8; 6] {
        codec::head(self.link.ring.as_deref())
    }

    /// Something was met under the name of an entry that begins like this, and is none for this node.
    pub(crate) fn met(&self, begin: &[u8]) {
        self.observer.unreadable(codec::stranger(begin, self.link.ring.as_deref()));
    }

    /// Under which name the entry of this key is stored.
    pub(crate) fn name(&self, key: &CacheKey) -> String {
        match &self.naming {
            Naming::Digest => format!("{}:e:{{{:032x}}}", self.prefix, key.digest()),
            Naming::Text(kind) => {
                format!("{}:{kind}:{{{}}}", self.prefix, String::from_utf8_lossy(&key.parts().concat()))
            }
        }
    }

    /// Under which names the entry of this key is stored, and its fill lease kept.
    pub(crate) fn names(&self, key: &CacheKey) -> [String; 2] {
        [self.name(key), self.lease_name(key)]
    }

    /// Under which name the fill lease of this key is kept.
    pub(crate) fn lease_name(&self, key: &CacheKey) -> String {
        format!("{}:l:{{{:032x}}}", self.prefix, key.digest())
    }
}

fn codec_began<V: Value>(clock: &Clock, entry: &Entry<V>) -> crate::clock::WallMillis {
    let age = u64::try_from(entry.age(clock.now()).as_millis()).unwrap_or(u64::MAX);
    crate::clock::WallMillis(clock.wall().0.saturating_sub(age))
}
