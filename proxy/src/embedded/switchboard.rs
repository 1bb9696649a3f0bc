//! Many sessions on one connection: the embedded Postgres serves one, and whoever connects here takes turns on it.
//!
//! ```text
//! session ── message ── its turn comes ── Postgres ── ready, in no transaction ── the next one's turn
//! ```
//!
//! What Postgres keeps for a session is everybody's here: settings made with `SET`, advisory locks, temporary tables. What a
//! session leaves behind is put right when it ends. Notifications go to whoever listens to their channel. Settings that a
//! session asks for at its beginning (`options`) are not heeded: they would be everybody's.

mod session;
mod turn;
mod wire;

use std::{
    io,
    os::unix::net::UnixListener as Bound,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Mutex, broadcast},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use self::{
    session::{Lost, Session},
    wire::{Message, Opening, Wire, postgres},
};

/// Sessions at the same time; further ones wait to be accepted.
const SESSIONS_MAX: usize = 64;
/// Notifications that a session may be behind, before it misses some.
const NOTIFICATIONS_MAX: usize = 1_024;
/// Pause before a connection that was lost is made anew.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Who may connect, and to what: there is nothing else.
pub(super) const USER: &str = "postgres";
pub(super) const DATABASE: &str = "template1";

/// Where sessions connect. Ends all of them when dropped.
pub(super) struct Switchboard {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Switchboard {
    /// Listens at `listen` for sessions on the Postgres behind the socket `server`. A session that has the turn and says
    /// nothing for `patience` is ended.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub(super) fn start(server: PathBuf, listen: &Path, patience: Duration) -> io::Result<Self> {
        let listener = Bound::bind(listen)?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let thread = std::thread::Builder::new().name("embedded-sessions".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    ended = operate(&server, listener, patience) => {
                        tracing::error!(error = ?ended, "nobody can connect to the embedded Postgres");
                    }
                    () = stopped => {}
                }
            });
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        self.stop.cancel();
        // A panic there has been told already.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// What sessions share.
struct Shared {
    postgres: Mutex<Wire>,
    /// what it said at the beginning
    greeting: Bytes,
    notifications: broadcast::Sender<Message>,
    patience: Duration,
}

/// Only returns if it cannot listen.
async fn operate(server: &Path, listener: Bound, patience: Duration) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    loop {
        let reason = match open(server).await {
            Ok((wire, greeting)) => {
                let (notifications, _) = broadcast::channel(NOTIFICATIONS_MAX);
                let shared = Shared { postgres: Mutex::new(wire), greeting, notifications, patience };
                let Lost(reason) = attend(&listener, Arc::new(shared)).await;
                reason
            }
            Err(reason) => reason,
        };
        tracing::warn!(%reason, "the embedded Postgres ended its session; opening another");
        sleep(AGAIN_AFTER).await;
    }
}

/// Accepts sessions until Postgres is lost to all of them.
async fn attend(listener: &UnixListener, shared: Arc<Shared>) -> Lost {
    // Dropped with this function, which ends them.
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = sessions.join_next() => {
                if let Ok(Err(lost)) = ended {
                    return lost;
                }
            }
            accepted = listener.accept(), if sessions.len() < SESSIONS_MAX => match accepted {
                Ok((stream, _)) => drop(sessions.spawn(Session::serve(stream, shared.clone()))),
                Err(reason) => {
                    tracing::warn!(%reason, "cannot accept a session of the embedded Postgres");
                    sleep(AGAIN_AFTER).await;
                }
            },
        }
    }
}

/// The one connection, and what Postgres says until it is ready.
async fn open(server: &Path) -> io::Result<(Wire, Bytes)> {
    let mut wire = Wire::new(UnixStream::connect(server).await?);
    wire.put_bytes(&Opening::ask(USER, DATABASE));
    wire.flush().await?;
    let mut greeting = BytesMut::new();
    loop {
        let message = wire.message().await?;
        greeting.extend_from_slice(message.bytes());
        match message.tag() {
            postgres::READY => return Ok((wire, greeting.freeze())),
            postgres::ERROR => {
                let said = String::from_utf8_lossy(message.body()).replace('\0', " ");
                return Err(io::Error::other(said));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
