//! One connection with its prepared statements.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use lru::LruCache;
use smallvec::SmallVec;
use tokio_postgres::{Client, Config};

use super::{
    dial::{client, dial},
    failure::Failure,
    wire::{Format, Replies, Row, State, Wire, Yielded},
};

/// Prepared statements kept per connection; Postgres holds a plan for each.
const STATEMENTS_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
/// A host that does not even refuse is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes connections for the pool.
#[derive(Clone)]
pub(super) struct Manager(Config);

/// A connection to Postgres. One that comes back to the pool in the middle of something was dropped by a request that went
/// away, and whatever state it is in, nobody else must get it.
pub(super) struct Connection {
    wire: Wire,
    statements: LruCache<Arc<str>, Prepared>,
    /// statements that the server may free
    retired: Vec<Arc<str>>,
    /// how many statements were given a name
    named: u64,
}

#[derive(Clone)]
struct Prepared {
    name: Arc<str>,
    yields: Yielded,
}

impl Manager {
    pub(super) fn new(mut config: Config) -> Self {
        if config.get_application_name().is_none() {
            config.application_name("transom");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        Self(config)
    }

    /// A connection of its own, outside of the pool.
    pub(super) async fn client(&self) -> Result<Client, tokio_postgres::Error> {
        client(&self.0).await
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = Failure;

    async fn connect(&self) -> Result<Connection, Failure> {
        let wire = dial(&self.0).await?;
        Ok(Connection { wire, statements: LruCache::new(STATEMENTS_MAX), retired: Vec::new(), named: 0 })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), Failure> {
        connection.simply("").await
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.wire.state() != State::Idle || !connection.wire.is_alive()
    }
}

impl Connection {
    /// Whether the server is still there as far as this side knows.
    pub(super) fn is_alive(&mut self) -> bool {
        self.wire.is_alive()
    }

    /// Whether a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.wire.state() == State::InTransaction
    }

    /// Statements to be sent together.
    pub(super) fn batch(&mut self) -> Batch<'_> {
        self.wire.clear();
        Batch { connection: self, executed: SmallVec::new(), prepared: SmallVec::new() }
    }

    /// Runs statements without parameters, as one text.
    pub(super) async fn simply(&mut self, sql: &str) -> Result<(), Failure> {
        self.wire.simply(sql).await.map(drop)
    }

    /// Forgets a statement that Postgres does not accept any more (the table changed under it).
    pub(super) fn forget(&mut self, sql: &str) {
        self.retired.extend(self.statements.pop(sql).map(|prepared| prepared.name));
    }

    fn remember(&mut self, sql: Arc<str>, prepared: Prepared) {
        // The one used longest ago makes room.
        self.retired.extend(self.statements.push(sql, prepared).map(|(_, evicted)| evicted.name));
    }
}

/// Statements that are sent without waiting for each other's answers. If one fails Postgres skips those behind it.
pub(super) struct Batch<'c> {
    connection: &'c mut Connection,
    /// what each statement yields
    executed: SmallVec<[Yields; 8]>,
    /// those among them that are new to the connection
    prepared: SmallVec<[(Arc<str>, Arc<str>); 4]>,
}

/// What a statement yields.
#[derive(Clone, Copy)]
enum Yields {
    Known(Yielded),
    /// what the answer to this preparation will say
    Asked(usize),
}

/// The place of a statement in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

impl Batch<'_> {
    /// Runs a statement, which is prepared first unless it was, and stays so.
    pub(super) fn run<'v>(
        &mut self,
        sql: impl AsRef<str> + Into<Arc<str>>,
        params: impl ExactSizeIterator<Item = Option<&'v str>>,
    ) -> Result<Place, Failure> {
        let (name, yields) = match self.connection.statements.get(sql.as_ref()) {
            Some(prepared) => (prepared.name.clone(), Yields::Known(prepared.yields)),
            None => {
                let new = self.prepared.iter().position(|(prepared, _)| **prepared == *sql.as_ref());
                let index = new.map_or_else(|| self.prepare(sql.into()), Ok)?;
                (self.prepared[index].1.clone(), Yields::Asked(index))
            }
        };
        self.connection.wire.run(&name, params, Format::Binary)?;
        Ok(self.executed(yields))
    }

    /// Runs a statement that is not worth remembering, or whose answer nobody reads.
    pub(super) fn run_once(&mut self, sql: &str) -> Result<Place, Failure> {
        self.connection.wire.parse("", sql)?;
        self.connection.wire.run("", std::iter::empty(), Format::Text)?;
        Ok(self.executed(Yields::Known(Yielded::default())))
    }

    fn executed(&mut self, yields: Yields) -> Place {
        self.executed.push(yields);
        Place(self.executed.len() - 1)
    }

    /// Returns the index among what this batch prepares.
    fn prepare(&mut self, sql: Arc<str>) -> Result<usize, Failure> {
        self.connection.named += 1;
        let name: Arc<str> = format!("s{}", self.connection.named).into();
        self.connection.wire.prepare(&name, &sql)?;
        self.prepared.push((sql, name));
        Ok(self.prepared.len() - 1)
    }

    /// Sends all of it, and waits for the answers.
    ///
    /// # Errors
    /// With the refusal of the first statement that failed.
    pub(super) async fn exchange(self) -> Result<Answers, Failure> {
        match self.exchange_as_far().await? {
            (answers, None) => Ok(answers),
            (_, Some(refused)) => Err(refused),
        }
    }

    /// Sends all of it, and waits for the answers, as far as no statement fails, and for the refusal of that.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(super) async fn exchange_as_far(self) -> Result<(Answers, Option<Failure>), Failure> {
        let Self { connection, executed, prepared } = self;
        let closed = std::mem::take(&mut connection.retired);
        for name in &closed {
            connection.wire.close(name)?;
        }
        let (replies, refused) = connection.wire.exchange().await?;
        let yields = |of| match of {
            Yields::Known(yields) => yields,
            Yields::Asked(index) => replies.described.get(index).copied().unwrap_or_default(),
        };
        let executed = executed.into_iter().map(yields).collect();
        if refused.is_none() {
            for ((sql, name), yields) in prepared.into_iter().zip(replies.described.iter().copied()) {
                connection.remember(sql, Prepared { name, yields });
            }
        } else {
            // Some of the new ones may be there, and some of the old ones still.
            connection.retired.extend(prepared.into_iter().map(|(_, name)| name).chain(closed));
        }
        Ok((Answers { replies, executed }, refused))
    }
}

/// What a batch brought.
pub(super) struct Answers {
    replies: Replies,
    executed: SmallVec<[Yielded; 8]>,
}

impl Answers {
    /// Whether the statement in this place was run to its end.
    pub(super) fn reach(&self, place: Place) -> bool {
        place.0 < self.replies.executed
    }

    /// What the statement in this place yields.
    pub(super) fn yields(&self, place: Place) -> Yielded {
        self.executed.get(place.0).copied().unwrap_or_default()
    }

    /// The rows of the statement in this place.
    pub(super) fn rows(&self, place: Place) -> Result<Vec<Row>, Failure> {
        self.replies.rows(place.0)
    }

    /// The one row of the statement in this place.
    pub(super) fn one(&self, place: Place) -> Result<Row, Failure> {
        self.replies.one(place.0)
    }
}
