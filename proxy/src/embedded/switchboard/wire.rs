//! The messages of Postgres' protocol, as far as one has to know them to pass them on
//! (<https://www.postgresql.org/docs/17/protocol-message-formats.html>).

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// Largest message; the embedded Postgres takes none beyond.
const MESSAGE_BYTES_MAX: usize = 128 << 20;
/// Largest message at the beginning of a session, as in Postgres.
const OPENING_BYTES_MAX: usize = 10_000;

/// What messages begin with: of sessions.
pub(super) mod session {
    pub(crate) const CLOSE: u8 = b'C';
    pub(crate) const COPY_DATA: u8 = b'd';
    pub(crate) const COPY_DONE: u8 = b'c';
    pub(crate) const COPY_FAIL: u8 = b'f';
    pub(crate) const FLUSH: u8 = b'H';
    pub(crate) const FUNCTION: u8 = b'F';
    pub(crate) const PARSE: u8 = b'P';
    pub(crate) const QUERY: u8 = b'Q';
    pub(crate) const SYNC: u8 = b'S';
    pub(crate) const TERMINATE: u8 = b'X';
}

/// What messages begin with: of Postgres.
pub(super) mod postgres {
    pub(crate) const COPY_BOTH: u8 = b'W';
    pub(crate) const COPY_IN: u8 = b'G';
    pub(crate) const ERROR: u8 = b'E';
    pub(crate) const NOTIFICATION: u8 = b'A';
    pub(crate) const READY: u8 = b'Z';
}

/// What [`postgres::READY`] says outside of a transaction.
pub(super) const IDLE: u8 = b'I';

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message(Bytes);

impl Message {
    pub(super) fn new(tag: u8, body: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(body.len() + 5);
        bytes.put_u8(tag);
        bytes.put_u32(u32::try_from(body.len() + 4).expect("what is written here is short"));
        bytes.put_slice(body);
        Self(bytes.freeze())
    }

    pub(super) fn query(sql: &str) -> Self {
        Self::new(session::QUERY, &[sql.as_bytes(), b"\0"].concat())
    }

    /// The end of a session, and why.
    pub(super) fn fatal(state: &str, message: &str) -> Self {
        let fields = format!("SFATAL\0VFATAL\0C{state}\0M{message}\0\0");
        Self::new(postgres::ERROR, fields.as_bytes())
    }

    /// What kind of message it is.
    pub(super) fn tag(&self) -> u8 {
        self.0[0]
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What follows its length.
    pub(super) fn body(&self) -> &[u8] {
        &self.0[5..]
    }
}

/// How a session begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opening {
    /// it would rather be encrypted
    Encryption,
    /// it wants another one's statement to be given up
    Cancel,
    /// with names of a role and a database; an empty one is left to the server
    Session { user: String, database: String },
    /// anything else
    Unknown,
}

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// The upper half of the version.
const PROTOCOL_MAJOR: u32 = 3;

impl Opening {
    /// Body: a code, and for a session pairs of texts that end with an empty one.
    fn parse(body: &[u8]) -> Self {
        let Some((code, rest)) = body.split_first_chunk::<4>() else { return Self::Unknown };
        match u32::from_be_bytes(*code) {
            SSL_REQUEST | GSS_REQUEST => Self::Encryption,
            CANCEL_REQUEST => Self::Cancel,
            version if version >> 16 == PROTOCOL_MAJOR => {
                let texts: Vec<&[u8]> = rest.split(|byte| *byte == 0).collect();
                let value = |wanted: &str| {
                    let pair = texts.chunks_exact(2).find(|pair| pair[0] == wanted.as_bytes());
                    pair.map(|pair| String::from_utf8_lossy(pair[1]).into_owned()).unwrap_or_default()
                };
                Self::Session { user: value("user"), database: value("database") }
            }
            _ => Self::Unknown,
        }
    }

    /// Asks for a session.
    pub(super) fn ask(user: &str, database: &str) -> Bytes {
        let pairs =
            format!("user\0{user}\0database\0{database}\0client_encoding\0UTF8\0application_name\0transom demo\0\0");
        let mut bytes = BytesMut::new();
        bytes.put_u32(u32::try_from(pairs.len() + 8).expect("names are short"));
        bytes.put_u32(PROTOCOL_MAJOR << 16);
        bytes.put_slice(pairs.as_bytes());
        bytes.freeze()
    }
}

/// A connection by which messages come and go.
pub(super) struct Wire {
    stream: UnixStream,
    received: BytesMut,
    unsent: BytesMut,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, received: BytesMut::new(), unsent: BytesMut::new() }
    }

    /// The next message, if all of it is there already.
    pub(super) fn take(&mut self) -> io::Result<Option<Message>> {
        let Some((_, rest)) = self.received.split_first() else { return Ok(None) };
        let Some(length) = length(rest, MESSAGE_BYTES_MAX)? else { return Ok(None) };
        let bytes = length + 1;
        Ok((self.received.len() >= bytes).then(|| Message(self.received.split_to(bytes).freeze())))
    }

    /// The next message. Loses nothing if it is given up.
    ///
    /// # Errors
    /// Also if the connection is at its end.
    pub(super) async fn message(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            self.receive().await?;
        }
    }

    /// The first message, and what follows one that asked for encryption.
    ///
    /// # Errors
    /// As [`message`](Self::message).
    pub(super) async fn opening(&mut self) -> io::Result<Opening> {
        loop {
            if let Some(length) = length(&self.received, OPENING_BYTES_MAX)?
                && self.received.len() >= length
            {
                return Ok(Opening::parse(&self.received.split_to(length)[4..]));
            }
            self.receive().await?;
        }
    }

    /// Puts it with what [`flush`](Self::flush) will send.
    pub(super) fn put(&mut self, message: &Message) {
        self.put_bytes(message.bytes());
    }

    /// The same of what is no message.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.unsent.put_slice(bytes);
    }

    /// How much is to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            self.stream.write_buf(&mut self.unsent).await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The length that a message says it has, which counts itself. `None`: it has not come yet.
fn length(bytes: &[u8], max: usize) -> io::Result<Option<usize>> {
    let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if !(4..=max).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    Ok(Some(length))
}
