//! One session: waits for its turns, and puts right what it leaves behind.

use std::{collections::BTreeSet, io, sync::Arc};

use tokio::{
    net::UnixStream,
    sync::broadcast::{self, error::RecvError},
    time::timeout,
};

use super::{
    DATABASE, Shared, USER,
    turn::{Mover, Turn},
    wire::{Message, Opening, Wire, postgres::NOTIFICATION, session},
};

/// What is passed on in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;
/// What `SET` made, for whoever comes next.
const RESET_SQL: &str = "RESET ROLE; RESET SESSION AUTHORIZATION; RESET ALL";

/// The connection to Postgres broke: nobody has a session any more.
#[derive(Debug)]
pub(super) struct Lost(pub(super) io::Error);

/// Why a session ended.
enum End {
    /// it left, or was told to
    Gone,
    Lost(io::Error),
}

/// A session.
pub(super) struct Session {
    wire: Wire,
    shared: Arc<Shared>,
    heard: broadcast::Receiver<Message>,
    /// where it listens
    channels: BTreeSet<String>,
    /// statements that it prepared under a name
    named: BTreeSet<Vec<u8>>,
}

impl Session {
    /// Serves whoever connected until they leave.
    ///
    /// # Errors
    /// If the connection to Postgres broke.
    pub(super) async fn serve(stream: UnixStream, shared: Arc<Shared>) -> Result<(), Lost> {
        let heard = shared.notifications.subscribe();
        let mut session =
            Self { wire: Wire::new(stream), shared, heard, channels: BTreeSet::new(), named: BTreeSet::new() };
        let welcome = timeout(session.shared.patience, session.welcome()).await;
        if !matches!(welcome, Ok(Ok(Welcome::Yes))) {
            return Ok(());
        }
        match session.converse().await {
            End::Gone => session.leave().await.map_err(Lost),
            End::Lost(error) => Err(Lost(error)),
        }
    }

    /// Tells it what Postgres told at the beginning. Nobody is asked for a password: the folder of the socket is private.
    async fn welcome(&mut self) -> io::Result<Welcome> {
        loop {
            let refusal = match self.wire.opening().await? {
                Opening::Encryption => {
                    self.wire.put_bytes(b"N");
                    self.wire.flush().await?;
                    continue;
                }
                // The embedded Postgres heeds none.
                Opening::Cancel => return Ok(Welcome::No),
                Opening::Session { user, .. } if user != USER => {
                    Message::fatal("28000", "connect as postgres: other roles are to be had by SET ROLE alone")
                }
                Opening::Session { database, .. } if database != DATABASE => {
                    Message::fatal("3D000", "the only database is template1")
                }
                Opening::Session { .. } => {
                    self.wire.put_bytes(&self.shared.greeting);
                    self.wire.flush().await?;
                    return Ok(Welcome::Yes);
                }
                Opening::Unknown => Message::fatal("08P01", "this is not version 3 of the protocol"),
            };
            self.wire.put(&refusal);
            self.wire.flush().await?;
            return Ok(Welcome::No);
        }
    }

    async fn converse(&mut self) -> End {
        let shared = self.shared.clone();
        loop {
            let message = tokio::select! {
                message = self.wire.message() => message,
                heard = self.heard.recv() => match self.hear(heard).await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            let Ok(message) = message else { return End::Gone };
            match message.tag() {
                session::TERMINATE => return End::Gone,
                // Left over from a copy that Postgres gave up.
                session::COPY_DATA | session::COPY_DONE | session::COPY_FAIL => continue,
                _ => {}
            }
            let mut postgres = shared.postgres.lock().await;
            let mut turn = Turn::begin();
            let Err(end) = self.take_turn(&mut postgres, &mut turn, message).await else { continue };
            return match end {
                End::Gone => abandon(&mut postgres, &mut turn).await.map_or_else(End::Lost, |()| End::Gone),
                lost @ End::Lost(_) => lost,
            };
        }
    }

    /// Passes messages on until the turn is over.
    async fn take_turn(&mut self, postgres: &mut Wire, turn: &mut Turn, first: Message) -> Result<(), End> {
        let mut next = Some(first);
        loop {
            while let Some(message) = next.take_if(|message| turn.may_send(message.tag())) {
                if message.tag() == session::TERMINATE {
                    return Err(End::Gone);
                }
                self.note(&message);
                turn.sent(message.tag());
                postgres.put(&message);
                if turn.mover() != Mover::Postgres {
                    next = self.wire.take().map_err(|_| End::Gone)?;
                }
            }
            postgres.flush().await.map_err(End::Lost)?;
            let over = turn.is_over() && next.is_none();
            if over || turn.mover() != Mover::Postgres || self.wire.unsent() > PIECE_BYTES {
                self.flush().await?;
            }
            if over {
                return Ok(());
            }
            tokio::select! {
                biased;
                message = postgres.message() => self.pass_on(&message.map_err(End::Lost)?, turn),
                message = timeout(self.shared.patience, self.wire.message()),
                    if next.is_none() && turn.mover() != Mover::Postgres =>
                {
                    next = Some(self.spoken(message).await?);
                }
            }
        }
    }

    fn pass_on(&mut self, message: &Message, turn: &mut Turn) {
        turn.received(message);
        if message.tag() == NOTIFICATION {
            // Nobody listens: as good.
            drop(self.shared.notifications.send(message.clone()));
        } else {
            self.wire.put(message);
        }
    }

    /// What it said in time. Else it is told that the others had enough of it.
    async fn spoken(
        &mut self,
        message: Result<io::Result<Message>, tokio::time::error::Elapsed>,
    ) -> Result<Message, End> {
        if let Ok(message) = message {
            return message.map_err(|_| End::Gone);
        }
        let text = format!(
            "everybody else waited {:?} for this session to go on with its transaction: there is one connection",
            self.shared.patience
        );
        self.wire.put(&Message::fatal("25P03", &text));
        self.flush().await?;
        Err(End::Gone)
    }

    async fn flush(&mut self) -> Result<(), End> {
        match timeout(self.shared.patience, self.wire.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    /// Notes what has to be known of a session beyond its turn.
    fn note(&mut self, message: &Message) {
        match message.tag() {
            session::QUERY => self.channels.extend(listened_to(message.body())),
            session::PARSE => {
                let name = message.body().split(|byte| *byte == 0).next().unwrap_or_default();
                if !name.is_empty() {
                    self.named.insert(name.to_owned());
                }
            }
            session::CLOSE => {
                if let Some(name) = message.body().strip_prefix(b"S") {
                    self.named.remove(name.strip_suffix(b"\0").unwrap_or(name));
                }
            }
            _ => {}
        }
    }

    /// Passes a notification on, if it is of a channel that the session listens to.
    async fn hear(&mut self, heard: Result<Message, RecvError>) -> io::Result<()> {
        // That it missed some is no reason to end it: notifications only wake.
        let Ok(message) = heard else { return Ok(()) };
        // The process that notified comes first.
        let channel = message.body().get(4..).and_then(|rest| rest.split(|byte| *byte == 0).next());
        let channel = channel.map(String::from_utf8_lossy).unwrap_or_default();
        if self.channels.contains(&*channel) {
            self.wire.put(&message);
            return timeout(self.shared.patience, self.wire.flush()).await?;
        }
        Ok(())
    }

    /// Puts right what others would find.
    async fn leave(self) -> io::Result<()> {
        let mut postgres = self.shared.postgres.lock().await;
        let mut turn = Turn::begin();
        for name in &self.named {
            let close = Message::new(session::CLOSE, &[b"S", name.as_slice(), b"\0"].concat());
            turn.sent(close.tag());
            postgres.put(&close);
        }
        abandon(&mut postgres, &mut turn).await?;
        let reset = Message::query(RESET_SQL);
        turn.sent(reset.tag());
        postgres.put(&reset);
        abandon(&mut postgres, &mut turn).await
    }
}

/// Whether a session begins.
enum Welcome {
    Yes,
    No,
}

/// Brings a turn to its end without its session.
async fn abandon(postgres: &mut Wire, turn: &mut Turn) -> io::Result<()> {
    loop {
        if let Some(message) = turn.way_out() {
            turn.sent(message.tag());
            postgres.put(&message);
        }
        postgres.flush().await?;
        if turn.is_over() {
            return Ok(());
        }
        if turn.mover() == Mover::Postgres {
            turn.received(&postgres.message().await?);
        }
    }
}

/// The channel of a `LISTEN`, as Postgres folds its name.
fn listened_to(query: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(query.strip_suffix(b"\0")?).ok()?;
    let (verb, name) = text.trim().trim_end_matches(';').split_once(char::is_whitespace)?;
    let name = name.trim();
    verb.eq_ignore_ascii_case("listen").then(|| match name.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted).replace("\"\"", "\""),
        None => name.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_named_as_postgres_names_them() {
        let channel = |query: &str| listened_to(format!("{query}\0").as_bytes());
        assert_eq!(channel("LISTEN transom").as_deref(), Some("transom"));
        assert_eq!(channel(" listen Pgrst; ").as_deref(), Some("pgrst"));
        assert_eq!(channel(r#"LISTEN "It""s""#).as_deref(), Some("It\"s"));
        assert_eq!(channel("SELECT 'listen'"), None);
        assert_eq!(channel("UNLISTEN transom"), None);
    }
}
