//! One node: bound eagerly, started late, drained by handle.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use cache_core::{
    backplane::Trust,
    cache::TwoTier,
    clock::Clock,
    limits::Limits,
    redis::RedisLink,
    seal::{KEY_BYTES, KeyRing},
    state::{Keyspace, rate::RateLimits},
    tag::SlotCount,
};
use hyper_util::service::TowerToHyperService;
use tokio::{signal::unix, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::Admin,
    config::{self, Config, Loaded},
    distinct::Distinct,
    error::Error,
    feed::{self, Choice, Feed},
    front::{Front, Shortcut},
    listener::{Allowance, Listener, Peers},
    origin::{Denied, Origin},
    rates::Rates,
    readiness::Readiness,
    reload::{Reloader, settings_stay},
    reply::StoredResponse,
    serve::Serve,
    stack::stack,
    state::State,
    stored_settings::{self, StoredSettingsError},
    telemetry::{CacheObserver, Metrics},
};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// a listener's address is not to be had
    #[error("setting `{setting}`: cannot listen on {address}: {error}; {}", bind_remedy(.error))]
    Bind {
        /// which listener
        setting: &'static str,
        /// its address
        address: SocketAddr,
        /// what the system says
        error: io::Error,
    },
    /// Postgres is not there
    #[error(
        "setting `database_url`: no connection to postgres after {attempts} attempts: {reason}; correct it, or wait \
         longer with startup_retries and startup_retry_wait"
    )]
    Postgres {
        /// how often it was tried
        attempts: u32,
        /// what the last attempt ended in
        reason: String,
    },
    /// the settings in the database do not count
    #[error(transparent)]
    Stored(#[from] StoredSettingsError),
    /// Postgres does not tell its schema
    #[error("the schema cannot be loaded: {0}")]
    Schema(Error),
    /// the settings do not fit the database
    #[error(transparent)]
    Denied(Denied),
    /// the Redis URL is none
    #[error("setting `redis_url`: {0}")]
    Redis(cache_core::error::RedisError),
    /// signals cannot be heard
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
}

/// A node that is serving.
pub struct Node {
    listen: SocketAddr,
    admin_listen: SocketAddr,
    serve: Arc<Serve>,
    state: Arc<State>,
    reloader: Reloader,
    readiness: Arc<Readiness>,
    /// stops the service listener, then the admin listener
    drains: [CancellationToken; 2],
    listeners: [JoinHandle<()>; 2],
    drain_timeout: Duration,
}

/// How long a start waits for the first lease, in multiples of `max_staleness`. Without it the node serves all the same.
const LEASE_PATIENCE: u32 = 2;

impl Node {
    /// Binds, waits for Postgres, loads the schema, joins the peers, and serves.
    ///
    /// # Errors
    /// See [`StartError`]. Redis is no reason: without it the node runs and says so.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let service = bind("listen", config.listeners.listen)?;
        let admin = bind("admin_listen", config.listeners.admin_listen)?;
        let (listen, admin_listen) = (service.address(), admin.address());
        let (limits, view) = (config.limits.clone(), config.view.clone());
        let peers = if config.rates.rules.is_empty() { Peers::Untold } else { Peers::Told };
        let allowance = Allowance {
            connections_max: limits.connections_max,
            header_read_timeout: limits.header_read_timeout,
            peers,
        };
        let readiness = Arc::new(Readiness::default());
        let drains = [CancellationToken::new(), CancellationToken::new()];
        // Operators first: a node that waits for Postgres is alive. If it does not start after all, nobody is left.
        let started = Arc::new(OnceLock::new());
        let admin_service = TowerToHyperService::new(Admin::new(started.clone(), readiness.clone(), view));
        let not_started = drains[1].clone().drop_guard();
        let admin = tokio::spawn(admin.serve(admin_service, allowance, drains[1].clone()));
        let database = config.database.clone();
        // Boxed: what a start holds on to is much larger than what a node is.
        let (serve, state, rates) = Box::pin(prepare(config)).await?;
        serve.start_auditor();
        serve.distinct.start();
        let reloader = Reloader::start(serve.clone(), &database);
        let _first = started.set(serve.clone());
        readiness.raise();
        let shortcut = if rates.is_some() { Shortcut::Closed } else { Shortcut::Open };
        let stack = stack(serve.clone(), state.clone(), rates, &limits, readiness.clone());
        let front = Front::new(serve.clone(), readiness.clone(), shortcut, stack);
        let listeners = [tokio::spawn(service.serve(front, allowance, drains[0].clone())), admin];
        not_started.disarm();
        tracing::info!(%listen, %admin_listen, "ready");
        let drain_timeout = limits.drain_timeout;
        Ok(Self { listen, admin_listen, serve, state, reloader, readiness, drains, listeners, drain_timeout })
    }

    /// Reads the schema again, soon, as a notification does.
    pub fn reload_schema(&self) {
        self.reloader.wish();
    }

    /// Where services connect.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where operators connect.
    #[must_use]
    pub fn admin_listen(&self) -> SocketAddr {
        self.admin_listen
    }

    /// Stops in order: readiness drops, and for `notice` traffic is still served, so that whoever balances it can see;
    /// then nothing is accepted any more, requests in flight finish, and what they started too.
    pub async fn drain(self, notice: Duration) {
        tracing::info!(?notice, "draining");
        self.readiness.lower();
        tokio::time::sleep(notice).await;
        self.state.close();
        let [service, admin] = self.listeners;
        self.drains[0].cancel();
        let finished = tokio::time::timeout(self.drain_timeout, async {
            drop(service.await);
            self.state.finish().await;
            self.serve.finish().await;
        });
        if finished.await.is_err() {
            tracing::warn!(drain_timeout = ?self.drain_timeout, "some requests did not finish in time");
        }
        // Last, so that the drain can be watched.
        self.drains[1].cancel();
        drop(tokio::time::timeout(Duration::from_secs(1), admin).await);
        tracing::info!("drained");
    }
}

/// Runs a node until SIGTERM or SIGINT. The latter is somebody at a keyboard, who need not be given notice of. SIGUSR1 reads
/// the schema again; SIGUSR2, with which PostgREST reads its settings again, only says that this does not.
///
/// # Errors
/// See [`StartError`].
pub async fn run(config: Config) -> Result<(), StartError> {
    let mut terminate = unix::signal(unix::SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut reload = unix::signal(unix::SignalKind::user_defined1()).map_err(StartError::Signals)?;
    let mut reconfigure = unix::signal(unix::SignalKind::user_defined2()).map_err(StartError::Signals)?;
    let notice = config.limits.drain_notice;
    let node = tokio::select! {
        started = Node::start(config) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let notice = loop {
        tokio::select! {
            _ = terminate.recv() => break notice,
            _ = interrupt.recv() => break Duration::ZERO,
            _ = reload.recv() => node.reload_schema(),
            _ = reconfigure.recv() => settings_stay(),
        }
    };
    tokio::select! {
        () = node.drain(notice) => {}
        // Somebody at a keyboard has no patience left.
        _ = interrupt.recv() => tracing::warn!("interrupted while draining"),
    }
    Ok(())
}

/// Waits for Postgres, loads the schema and joins the peers.
async fn prepare(config: Config) -> Result<(Arc<Serve>, Arc<State>, Option<Arc<Rates>>), StartError> {
    let metrics = Arc::new(Metrics::new(config.database.slow_query));
    wait_for_postgres(&config, &metrics).await?;
    let Loaded { config, warnings } = stored_settings::complete(config).await?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let link = open_redis(&config)?;
    let Choice { kind, why } = feed::choose(&config).await;
    // Decided once: a node that began without a feed promises less, and says so.
    let trust = if kind.is_some() { Trust::Feed } else { Trust::Announcements };
    // Before the schema is read: if no node was there for a while, none is trusted until this one has been for a moment.
    let cache = Arc::new(open_cache(&config, trust, &metrics, link.clone()));
    let origin = Arc::new(origin_of(&config, &metrics));
    origin.check_access(&config.database).await.map_err(StartError::Denied)?;
    let schema = origin.load_schema(&config.database.schemas).await.map_err(StartError::Schema)?;
    let feed = match kind {
        None => {
            metrics.feed_kind("none");
            tracing::warn!(%why, "no change feed: changes made past the proxy are noticed by lifetime and purge only");
            Feed::off()
        }
        Some(kind) => {
            metrics.feed_kind(kind.as_str());
            tracing::info!(kind = kind.as_str(), %why, "change feed");
            let needed = feed::setup::needed(&schema);
            Feed::start(kind, &config, cache.clone(), metrics.clone(), needed)
        }
    };
    await_lease(&cache).await;
    let keys = link.map(|link| Keyspace::new(link, &config.namespace));
    let distinct = Distinct::new(keys.as_ref(), config.state.distinct_window);
    let serve = Arc::new(Serve::new(config.clone(), cache, origin, feed, schema, distinct, metrics));
    let limits = Arc::new(RateLimits::new(keys.clone(), config.rates.local_share_percent));
    let (auth, clock, metrics) = (serve.auth.clone(), serve.cache.clock(), serve.metrics.clone());
    let rates = Rates::new(&config.rates, limits.clone(), auth, clock, metrics).map(Arc::new);
    let state = Arc::new(State::new(&config, &serve, keys, limits));
    Ok((serve, state, rates))
}

fn bind_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another port",
        io::ErrorKind::PermissionDenied => "choose a port from 1024 upward, or give the process the right to",
        io::ErrorKind::AddrNotAvailable => "choose an address that this machine has",
        _ => "choose another address",
    }
}

fn bind(setting: &'static str, address: SocketAddr) -> Result<Listener, StartError> {
    Listener::bind(address).map_err(|error| StartError::Bind { setting, address, error })
}

fn origin_of(config: &Config, metrics: &Arc<Metrics>) -> Origin {
    let (database, limits) = (&config.database, &config.limits);
    Origin::new(database, limits.request_deadline, limits.response_bytes_max, metrics.clone())
}

async fn wait_for_postgres(config: &Config, metrics: &Arc<Metrics>) -> Result<(), StartError> {
    let retries = config.database.startup_retries;
    let up = origin_of(config, metrics).wait_until_up(retries, config.database.startup_retry_wait).await;
    up.map_err(|error| StartError::Postgres { attempts: retries + 1, reason: error.to_string() })
}

fn open_redis(config: &Config) -> Result<Option<RedisLink>, StartError> {
    let open = |redis: &config::Redis| {
        let link = RedisLink::open(redis.url.expose(), redis.timeout)?;
        let keys: Vec<[u8; KEY_BYTES]> = redis.keys.iter().map(|key| key.0).collect();
        Ok(match KeyRing::new(&keys) {
            Some(ring) => link.sealing(ring),
            None => link,
        })
    };
    config.redis.as_ref().map(open).transpose().map_err(StartError::Redis)
}

fn open_cache(
    config: &Config,
    trust: Trust,
    metrics: &Arc<Metrics>,
    link: Option<RedisLink>,
) -> TwoTier<StoredResponse> {
    let clock = Clock::start();
    let limits = Limits {
        l1_bytes_max: config.cache.entries_bytes_max(),
        entry_bytes_max: usize::try_from(config.cache.entry_bytes_max).unwrap_or(usize::MAX),
        slots: SlotCount::new(config.coherence.slots).unwrap_or(SlotCount::DEFAULT),
        max_staleness: config.coherence.max_staleness,
        fill_lease_for: config.collapse.fill_lease_for,
        redis_timeout: config.redis.as_ref().map_or(Duration::ZERO, |redis| redis.timeout),
    };
    let Some(link) = link else {
        tracing::info!("no redis_url: L1 only, and no peers");
        return TwoTier::alone_trusting(trust, limits, clock);
    };
    let observer = Arc::new(CacheObserver::new(metrics.clone()));
    TwoTier::shared_trusting(trust, limits, clock, link, &config.namespace, observer)
}

/// A node that joins wants its first answers from L2, and for that it needs a lease; but not at any price.
async fn await_lease(cache: &TwoTier<StoredResponse>) {
    let patience = cache.coherence().max_staleness() * LEASE_PATIENCE;
    let held = async {
        while !cache.coherence().lease_held(cache.clock().now()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(patience, held).await.is_err() {
        tracing::warn!("starting without a lease of freshness: redis or the change feed is not there yet");
    }
}
