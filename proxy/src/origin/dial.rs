//! A session with Postgres on a socket of our own.
//!
//! Who is reached is as tokio-postgres has it (hosts in turn, their addresses, timeouts, keepalives), and the handshake is
//! its work: it is lent the socket for that long, and leaves nothing behind on it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use rand::seq::SliceRandom;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
};
use tokio_postgres::{
    Client, Config, NoTls,
    config::{Host, LoadBalanceHosts, TargetSessionAttrs},
};

use super::{failure::Failure, wire::Wire};

/// The port of a host that has none of its own.
const PORT: u16 = 5432;

/// What a session talks over.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One of the servers that may be meant.
struct Place {
    host: Host,
    port: u16,
}

/// A session outside of the pool, for what is asked seldom and in many ways. It ends with the client, which hears what went
/// wrong. To be called within a tokio runtime.
///
/// # Errors
/// If no server accepts one.
pub async fn client(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Opens a session with the first server that accepts one and is what `target_session_attrs` asks for.
///
/// # Errors
/// With the reason of the last server.
pub(super) async fn dial(config: &Config) -> Result<Wire, Failure> {
    let mut last = Failure::Broken("both host and hostaddr are missing".to_owned());
    for place in places(config) {
        match session(config, &place).await {
            Ok(wire) => return Ok(wire),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn places(config: &Config) -> Vec<Place> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let mut places: Vec<Place> = (0..hosts.len().max(addresses.len()))
        .filter_map(|i| {
            let address = addresses.get(i).map(|address| Host::Tcp(address.to_string()));
            let host = address.or_else(|| hosts.get(i).cloned())?;
            Some(Place { host, port: ports.get(i).or(ports.first()).copied().unwrap_or(PORT) })
        })
        .collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        places.shuffle(&mut rand::rng());
    }
    places
}

async fn session(config: &Config, place: &Place) -> Result<Wire, Failure> {
    let lent = Lent(Arc::new(Mutex::new(Some(reach(config, place).await?))));
    // Dropped without having been polled, the driver's two halves write nothing.
    drop(config.connect_raw(lent.clone(), NoTls).await?);
    let socket = lent.0.lock().take();
    let mut wire = Wire::over(socket.expect("nobody else takes it"));
    let wanted = match config.get_target_session_attrs() {
        TargetSessionAttrs::ReadWrite => ("off", "database does not allow writes"),
        TargetSessionAttrs::ReadOnly => ("on", "database is not read only"),
        _ => return Ok(wire),
    };
    let is = wire.show("transaction_read_only").await?;
    if is == wanted.0 { Ok(wire) } else { Err(Failure::connecting(wanted.1)) }
}

async fn reach(config: &Config, place: &Place) -> Result<Socket, Failure> {
    let patience = config.get_connect_timeout().copied();
    match &place.host {
        Host::Unix(folder) => {
            let path = folder.join(format!(".s.PGSQL.{}", place.port));
            Ok(Socket::Unix(within(patience, UnixStream::connect(path)).await.map_err(Failure::connecting)?))
        }
        Host::Tcp(name) => {
            let mut last = Failure::connecting("could not resolve any addresses");
            for address in lookup_host((&**name, place.port)).await.map_err(Failure::connecting)? {
                match within(patience, TcpStream::connect(address)).await.and_then(|stream| tuned(config, stream)) {
                    Ok(stream) => return Ok(Socket::Tcp(stream)),
                    Err(error) => last = Failure::connecting(error),
                }
            }
            Err(last)
        }
    }
}

async fn within<T>(patience: Option<Duration>, connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let Some(patience) = patience else { return connecting.await };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "connection timed out");
    tokio::time::timeout(patience, connecting).await.unwrap_or_else(|_| Err(late()))
}

fn tuned(config: &Config, stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    if let Some(timeout) = config.get_tcp_user_timeout() {
        socket.set_tcp_user_timeout(Some(*timeout))?;
    }
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(every) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(every);
        }
        if let Some(count) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(count);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(stream)
}

impl Socket {
    /// Reads what is there, without waiting: [`io::ErrorKind::WouldBlock`] if that is nothing.
    pub(super) fn try_read(&self, buffer: &mut bytes::BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The socket for as long as somebody else shakes hands on it.
#[derive(Clone)]
struct Lent(Arc<Mutex<Option<Socket>>>);

impl Lent {
    fn with<T>(&self, act: impl FnOnce(Pin<&mut Socket>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.0.lock().as_mut() {
            Some(socket) => act(Pin::new(socket)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|socket| socket.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_shutdown(cx))
    }
}
