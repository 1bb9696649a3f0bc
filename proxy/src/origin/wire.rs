//! The protocol of a session, spoken in batches: everything that can be sent at once is, with one `Sync` behind it, so
//! that the server answers in one piece
//! (<https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING>).
//!
//! Whoever has the session writes and reads by itself. tokio-postgres ends every statement with a `Sync` of its own, which
//! the server answers one by one, and hands each answer from its task to ours: of a read, that was the larger part.

use std::{error::Error as StdError, io, ops::Range};

use bytes::BytesMut;
use postgres_protocol::{
    IsNull,
    message::{
        backend::{DataRowBody, Message, RowDescriptionBody},
        frontend,
    },
};
use smallvec::SmallVec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::fallible_iterator::FallibleIterator;
use tokio_postgres::types::{FromSql, Type};

use super::{
    dial::Socket,
    failure::{Failure, of_message},
};

/// How much is read at a time.
const READ_BYTES: usize = 16 << 10;

/// A session that belongs to one task at a time.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    outgoing: BytesMut,
    incoming: BytesMut,
    state: State,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// it waits for whatever comes
    Idle,
    /// a transaction is open, perhaps one that failed
    InTransaction,
    /// something was sent whose answer has not been read to its end
    Busy,
}

/// What a batch brought.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// the rows of all statements, each with the place of its statement in the batch
    rows: Vec<(usize, DataRowBody)>,
    /// what the statements yield that were described, in their order
    pub(super) described: SmallVec<[Yielded; 2]>,
    /// how many statements were run to their end
    pub(super) executed: usize,
}

/// The columns of a statement, as far as they matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Yielded {
    /// which column is `jsonb`, a body in which a version comes first
    jsonb: Option<usize>,
}

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    body: DataRowBody,
    ranges: SmallVec<[Option<Range<usize>>; 8]>,
}

impl Wire {
    /// A session that was just opened.
    pub(super) fn over(socket: Socket) -> Self {
        Self { socket, outgoing: BytesMut::new(), incoming: BytesMut::new(), state: State::Idle }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether the session is alive as far as this side knows; asks nobody. Between batches a server says nothing that
    /// matters but that it ends the session.
    pub(super) fn is_alive(&mut self) -> bool {
        loop {
            match self.socket.try_read(&mut self.incoming) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock && self.has_no_complaint(),
            }
        }
    }

    fn has_no_complaint(&mut self) -> bool {
        loop {
            match Message::parse(&mut self.incoming) {
                Ok(Some(Message::ErrorResponse(_))) | Err(_) => return false,
                Ok(Some(_)) => {}
                Ok(None) => return true,
            }
        }
    }

    /// Forgets what was prepared to be sent.
    pub(super) fn clear(&mut self) {
        self.outgoing.clear();
    }

    /// Prepares a statement, and asks what it yields.
    pub(super) fn prepare(&mut self, name: &str, sql: &str) -> Result<(), Failure> {
        self.parse(name, sql)?;
        frontend::describe(b'S', name, &mut self.outgoing).map_err(unwritable)
    }

    /// Prepares a statement.
    pub(super) fn parse(&mut self, name: &str, sql: &str) -> Result<(), Failure> {
        frontend::parse(name, sql, [], &mut self.outgoing).map_err(unwritable)
    }

    /// Runs a prepared statement. Parameters are sent as text, as literals would be; rows come back as `format` has it.
    pub(super) fn run<'v>(
        &mut self,
        name: &str,
        params: impl ExactSizeIterator<Item = Option<&'v str>>,
        format: Format,
    ) -> Result<(), Failure> {
        let text = |value: Option<&str>, out: &mut BytesMut| -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
            let Some(value) = value else { return Ok(IsNull::Yes) };
            out.extend_from_slice(value.as_bytes());
            Ok(IsNull::No)
        };
        frontend::bind("", name, [TEXT], params, text, [format as i16], &mut self.outgoing).map_err(
            |error| match error {
                frontend::BindError::Conversion(error) => Failure::Unreadable(error.to_string()),
                frontend::BindError::Serialization(error) => unwritable(error),
            },
        )?;
        frontend::execute("", 0, &mut self.outgoing).map_err(unwritable)
    }

    /// Frees a prepared statement, if there is one of that name.
    pub(super) fn close(&mut self, name: &str) -> Result<(), Failure> {
        frontend::close(b'S', name, &mut self.outgoing).map_err(unwritable)
    }

    /// Sends what was prepared to be sent, and waits for the answers, and for the refusal of the first statement that
    /// failed: the server skips those behind it.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(super) async fn exchange(&mut self) -> Result<(Replies, Option<Failure>), Failure> {
        frontend::sync(&mut self.outgoing);
        self.send_and_read().await
    }

    /// Runs statements without parameters, as one text.
    ///
    /// # Errors
    /// If the server refuses one, or the connection breaks.
    pub(super) async fn simply(&mut self, sql: &str) -> Result<Replies, Failure> {
        self.clear();
        frontend::query(sql, &mut self.outgoing).map_err(unwritable)?;
        let (replies, refused) = self.send_and_read().await?;
        refused.map_or(Ok(replies), Err)
    }

    /// The value of a parameter of the server.
    pub(super) async fn show(&mut self, parameter: &str) -> Result<String, Failure> {
        let replies = self.simply(&format!("SHOW {parameter}")).await?;
        replies.one(0)?.get(0, &Type::TEXT)
    }

    async fn send_and_read(&mut self) -> Result<(Replies, Option<Failure>), Failure> {
        self.state = State::Busy;
        self.socket.write_all(&self.outgoing).await.map_err(broken)?;
        self.outgoing.clear();
        let (mut replies, mut refused) = (Replies::default(), None);
        loop {
            let message = match self.message().await {
                Ok(message) => message,
                // The server said why it leaves.
                Err(failure) => return Err(refused.unwrap_or(failure)),
            };
            match message {
                Message::DataRow(row) => replies.rows.push((replies.executed, row)),
                Message::CommandComplete(_) | Message::EmptyQueryResponse => replies.executed += 1,
                Message::RowDescription(columns) => replies.described.push(Yielded::of(&columns)?),
                Message::NoData => replies.described.push(Yielded::default()),
                Message::ErrorResponse(error) => {
                    refused.get_or_insert(Failure::Refused(Box::new(of_message(&error))));
                }
                Message::ReadyForQuery(ready) => {
                    self.state = if ready.status() == b'I' { State::Idle } else { State::InTransaction };
                    return Ok((replies, refused));
                }
                // Acknowledgements, notices, changed settings.
                _ => {}
            }
        }
    }

    async fn message(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(message) = Message::parse(&mut self.incoming).map_err(broken)? {
                return Ok(message);
            }
            self.incoming.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.incoming).await.map_err(broken)? == 0 {
                return Err(Failure::Broken("connection closed".to_owned()));
            }
        }
    }
}

/// In which form a value is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text = 0,
    Binary = 1,
}

const TEXT: i16 = Format::Text as i16;

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unwritable(error: io::Error) -> Failure {
    Failure::Unreadable(format!("the statement cannot be sent: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: io::Error) -> Failure {
    Failure::Broken(format!("error communicating with the server: {error}"))
}

impl Yielded {
    fn of(columns: &RowDescriptionBody) -> Result<Self, Failure> {
        let jsonb = columns.fields().position(|column| Ok(column.type_oid() == Type::JSONB.oid()));
        Ok(Self { jsonb: jsonb.map_err(Failure::unreadable)? })
    }

    /// The type by which this column is to be read, if it may be any.
    pub(super) fn raw(self, column: usize) -> Type {
        if self.jsonb == Some(column) { Type::JSONB } else { Type::BYTEA }
    }
}

impl Replies {
    /// The rows of the statement in this place.
    pub(super) fn rows(&self, place: usize) -> Result<Vec<Row>, Failure> {
        self.rows.iter().filter(|(at, _)| *at == place).map(|(_, body)| Row::of(body.clone())).collect()
    }

    /// The one row of the statement in this place.
    pub(super) fn one(&self, place: usize) -> Result<Row, Failure> {
        let mut rows = self.rows.iter().filter(|(at, _)| *at == place);
        match (rows.next(), rows.next()) {
            (Some((_, body)), None) => Row::of(body.clone()),
            _ => Err(Failure::unreadable("not one row")),
        }
    }
}

impl Row {
    fn of(body: DataRowBody) -> Result<Self, Failure> {
        let mut ranges = SmallVec::new();
        let mut all = body.ranges();
        while let Some(range) = all.next().map_err(Failure::unreadable)? {
            ranges.push(range);
        }
        Ok(Self { body, ranges })
    }

    /// How many columns there are.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// A column, read as this type.
    pub(super) fn get<'r, T: FromSql<'r>>(&'r self, column: usize, of: &Type) -> Result<T, Failure> {
        let range = self.ranges.get(column).ok_or_else(|| Failure::unreadable("a column is missing"))?;
        let raw = range.clone().and_then(|range| self.body.buffer().get(range));
        T::from_sql_nullable(of, raw).map_err(Failure::unreadable)
    }
}

#[cfg(test)]
mod tests;
