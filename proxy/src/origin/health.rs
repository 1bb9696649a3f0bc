//! Is Postgres there? While it is not, nobody waits for it: one task keeps asking on behalf of all.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bb8::ManageConnection;
use tokio::sync::watch;
use tokio_postgres::error::SqlState;

use super::{connection::Manager, failure::Failure};

/// How often to ask while Postgres is down.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// Whether Postgres accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// as far as known
    Up,
    /// no, and this was the last reason
    Down(String),
}

impl Health {
    /// Whether it does not.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Down(_))
    }

    /// Why not; empty if it does.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Up => String::new(),
            Self::Down(reason) => reason.clone(),
        }
    }
}

/// Keeps the health, and asks while it is bad.
pub(super) struct Watchman {
    manager: Manager,
    health: watch::Sender<Health>,
    myself: Weak<Self>,
}

impl Watchman {
    pub(super) fn new(manager: Manager) -> (Arc<Self>, watch::Receiver<Health>) {
        let (health, receiver) = watch::channel(Health::Up);
        (Arc::new_cyclic(|myself| Self { manager, health, myself: myself.clone() }), receiver)
    }

    /// Connects once, and notes what came of it.
    pub(super) async fn try_connect(&self) -> Result<(), Failure> {
        self.manager.connect().await.map(drop).inspect(|()| self.up())
    }

    /// A connection was lost. That may be the connection's fault alone: ask.
    pub(super) fn suspect(&self, reason: &str) {
        let Some(watchman) = self.myself.upgrade() else { return };
        let reason = reason.to_owned();
        tokio::spawn(async move {
            if let Err(error) = watchman.try_connect().await {
                watchman.refused(&error, &reason);
            }
        });
    }

    /// Where the pool reports that it could not connect.
    pub(super) fn sink(self: &Arc<Self>) -> Box<dyn bb8::ErrorSink<Failure>> {
        Box::new(Sink(self.clone()))
    }

    fn up(&self) {
        if self.health.send_if_modified(|health| std::mem::replace(health, Health::Up).is_down()) {
            tracing::info!("postgres is back");
        }
    }

    fn refused(&self, error: &Failure, context: &str) {
        // Too many connections: the server is there, and those that the pool has go on working.
        if error.refusal().is_some_and(|refusal| refusal.state == SqlState::TOO_MANY_CONNECTIONS) {
            tracing::warn!("postgres has no connection left for this node");
            return;
        }
        let reason = error.to_string();
        let fell = self.health.send_if_modified(|health| {
            let was_up = !health.is_down();
            *health = Health::Down(reason.clone());
            was_up
        });
        if fell {
            tracing::warn!(%reason, context, "postgres is down; asking every {PROBE_EVERY:?}");
            self.keep_asking();
        }
    }

    /// One task at a time: it is started by the fall and ends with the return.
    fn keep_asking(&self) {
        let myself = self.myself.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PROBE_EVERY).await;
                // The node is gone: so is the need to know.
                let Some(watchman) = myself.upgrade() else { return };
                if watchman.try_connect().await.is_ok() {
                    return;
                }
            }
        });
    }
}

#[derive(Clone)]
struct Sink(Arc<Watchman>);

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

impl bb8::ErrorSink<Failure> for Sink {
    fn sink(&self, error: Failure) {
        self.0.refused(&error, "the pool could not connect");
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<Failure>> {
        Box::new(self.clone())
    }
}
