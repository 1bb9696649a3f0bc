//! A network cable that can be cut, or go deaf: forwards TCP, and knows by their words which connection is which.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Lane {
    /// not known yet, or nothing special
    Other = 0,
    /// it subscribed to a channel of Redis
    Subscriber = 1,
    /// it runs scripts in Redis
    Control = 2,
    /// it reads the log of Postgres
    Replication = 3,
    /// it asks Postgres on behalf of clients
    Pool = 4,
}

/// Which connections something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// all
    All,
    /// those of one lane
    Only(Lane),
    /// what those of one lane bring back to the client
    Answers(Lane),
}

/// What becomes of the connections of a cable that was deaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heal {
    /// what was on its way arrives late, as TCP sends again what was not acknowledged
    Deliver,
    /// what was on its way is lost, and so are they
    Drop,
}

/// A forwarder from a port of its own to another one.
#[derive(Debug)]
pub struct Cable {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    to: AtomicU16,
    state: watch::Sender<State>,
    connections: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// what is read from nobody and written to nobody
    held: Option<Hold>,
    /// how often something was cut, and what last
    cuts: u64,
    cut: Option<Scope>,
}

/// Connections that are deaf.
#[derive(Debug, Clone, Copy)]
struct Hold {
    scope: Scope,
    /// later ones are not, by their number
    newest: u64,
}

impl Hold {
    fn covers(self, line: &Line, side: Side) -> bool {
        line.number <= self.newest && self.scope.covers(line.lane(), side)
    }
}

/// One connection.
struct Line {
    /// which it is of all that were made, from 1
    number: u64,
    lane: AtomicU8,
}

impl Scope {
    fn covers(self, lane: Lane, side: Side) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => only == lane,
            Self::Answers(only) => only == lane && side == Side::Server,
        }
    }
}

impl Cable {
    /// Forwards to this port of the loopback interface.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let own = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            to: AtomicU16::new(port),
            state: watch::Sender::new(State::default()),
            connections: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { port: own, shared, accepting }
    }

    /// Where to connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on new connections go there.
    pub fn lead_to(&self, port: u16) {
        self.shared.to.store(port, Relaxed);
    }

    /// Closes the connections there are.
    pub fn cut(&self, scope: Scope) {
        self.shared.state.send_modify(|state| {
            state.cuts += 1;
            state.cut = Some(scope);
        });
    }

    /// Forwards nothing, and closes nothing: no socket reports an error. New connections are accepted.
    pub fn hold(&self, scope: Scope) {
        self.shared.state.send_modify(|state| state.held = Some(Hold { scope, newest: u64::MAX }));
    }

    /// The same for the connections that there are; new ones are as good as ever.
    pub fn strand(&self, scope: Scope) {
        let newest = self.connections();
        self.shared.state.send_modify(|state| state.held = Some(Hold { scope, newest }));
    }

    /// Ends a [`hold`](Self::hold).
    pub fn heal(&self, how: Heal) {
        self.shared.state.send_modify(|state| {
            if how == Heal::Drop {
                state.cuts += 1;
                state.cut = state.held.map(|held| held.scope);
            }
            state.held = None;
        });
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Relaxed)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut(Scope::All);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((near, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Relaxed) + 1;
        let line = Line { number, lane: AtomicU8::new(Lane::Other as u8) };
        // Ends with either side, or when the cable is cut or dropped.
        tokio::spawn(forward(near, shared.to.load(Relaxed), line, shared.state.subscribe()));
    }
}

async fn forward(mut near: TcpStream, to: u16, line: Line, mut state: watch::Receiver<State>) {
    // A cable that is deaf carries no handshake either; the near side believes that it is connected.
    let Some(()) = passable(&mut state, line.number).await else { return };
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let nodelay = near.set_nodelay(true).and(far.set_nodelay(true));
    if nodelay.is_err() {
        return;
    }
    let (mut near_read, mut near_write) = near.split();
    let (mut far_read, mut far_write) = far.split();
    let (one, other) = (state.clone(), state);
    // Whichever ends first ends both: half a connection is of no use here.
    tokio::select! {
        () = copy(&mut near_read, &mut far_write, one, &line, Side::Client) => {}
        () = copy(&mut far_read, &mut near_write, other, &line, Side::Server) => {}
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

async fn copy<R, W>(from: &mut R, to: &mut W, mut state: watch::Receiver<State>, line: &Line, side: Side)
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let seen = state.borrow_and_update().cuts;
    let mut cuts = seen;
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let length = tokio::select! {
            length = from.read(&mut bytes) => length,
            changed = state.changed() => {
                let now = *state.borrow();
                if changed.is_err() || is_cut(now, &mut cuts, line.lane(), side) {
                    return;
                }
                // Also what is read during the hold waits below, before it is written.
                continue;
            }
        };
        let Ok(length @ 1..) = length else { return };
        if side == Side::Client && line.lane() == Lane::Other {
            line.lane.store(recognize(&bytes[..length]) as u8, Relaxed);
        }
        loop {
            let now = *state.borrow_and_update();
            if is_cut(now, &mut cuts, line.lane(), side) {
                return;
            }
            if !now.held.is_some_and(|held| held.covers(line, side)) {
                break;
            }
            if state.changed().await.is_err() {
                return;
            }
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

fn is_cut(state: State, cuts: &mut u64, lane: Lane, side: Side) -> bool {
    let news = state.cuts > *cuts;
    *cuts = state.cuts;
    news && state.cut.is_some_and(|scope| scope.covers(lane, side))
}

/// Waits until new connections are let through; `None` if the cable is gone.
async fn passable(state: &mut watch::Receiver<State>, number: u64) -> Option<()> {
    let is_deaf = |held: Hold| held.scope == Scope::All && number <= held.newest;
    state.wait_for(|state| !state.held.is_some_and(is_deaf)).await.ok().map(|_| ())
}

impl Line {
    fn lane(&self) -> Lane {
        match self.lane.load(Relaxed) {
            1 => Lane::Subscriber,
            2 => Lane::Control,
            3 => Lane::Replication,
            4 => Lane::Pool,
            _ => Lane::Other,
        }
    }
}

/// What the first words of a client say about its connection.
fn recognize(bytes: &[u8]) -> Lane {
    let says = |words: &[u8]| bytes.windows(words.len()).any(|window| window.eq_ignore_ascii_case(words));
    if says(b"\nSUBSCRIBE\r\n") {
        Lane::Subscriber
    } else if says(b"\nEVALSHA\r\n") || says(b"\nEVAL\r\n") {
        Lane::Control
    } else if says(b"replication\0database\0") {
        Lane::Replication
    } else if says(b"application_name\0transom\0") {
        Lane::Pool
    } else {
        Lane::Other
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    drop(tokio::io::copy(&mut read, &mut write).await);
                });
            }
        });
        port
    }

    async fn ask(stream: &mut TcpStream, words: &str) -> Option<String> {
        stream.write_all(words.as_bytes()).await.ok()?;
        let mut answer = vec![0; words.len()];
        stream.read_exact(&mut answer).await.ok()?;
        String::from_utf8(answer).ok()
    }

    const SUBSCRIBE: &str = "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n";
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_cut_meets_its_lane_alone() {
        let cable = Cable::to(echo().await).await;
        let mut subscriber = TcpStream::connect(("127.0.0.1", cable.port())).await.unwrap();
        let mut other = TcpStream::connect(("127.0.0.1", cable.port())).await.unwrap();
        assert_eq!(ask(&mut subscriber, SUBSCRIBE).await.as_deref(), Some(SUBSCRIBE));
        assert_eq!(ask(&mut other, "PING").await.as_deref(), Some("PING"));
        cable.cut(Scope::Only(Lane::Subscriber));
        assert_eq!(ask(&mut subscriber, "PING").await, None);
        assert_eq!(ask(&mut other, "PING").await.as_deref(), Some("PING"));
    }

    #[tokio::test]
    async fn what_a_deaf_cable_was_told_comes_late_or_never() {
        for heal in [Heal::Deliver, Heal::Drop] {
            let cable = Cable::to(echo().await).await;
            let mut stream = TcpStream::connect(("127.0.0.1", cable.port())).await.unwrap();
            assert_eq!(ask(&mut stream, "PING").await.as_deref(), Some("PING"));
            cable.hold(Scope::All);
            assert!(timeout(SHORT, ask(&mut stream, "HELLO")).await.is_err(), "no answer, and no error");
            cable.heal(heal);
            let mut late = [0; 5];
            let arrived = stream.read_exact(&mut late).await.is_ok();
            assert_eq!(arrived, heal == Heal::Deliver);
        }
    }
}
