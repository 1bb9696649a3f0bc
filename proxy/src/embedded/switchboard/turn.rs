//! One turn of a session on the one connection: from its first message until Postgres is ready for anybody's.
//! No IO: it says whose move it is.

use super::wire::{
    IDLE, Message,
    postgres::{COPY_BOTH, COPY_IN, READY},
    session::{COPY_DATA, COPY_DONE, COPY_FAIL, FLUSH, FUNCTION, QUERY, SYNC},
};

/// Where a turn stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    mover: Mover,
    /// what made Postgres work last
    asked_by: u8,
    /// what Postgres said of its transaction last
    status: u8,
    extended: Extended,
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mover {
    /// the session's
    Session,
    /// Postgres works, and the session's next messages wait: one exchange at a time
    Postgres,
    /// the session sends what Postgres copies
    Copy,
}

/// Whether messages of the extended protocol were sent without the one that ends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extended {
    Closed,
    Open,
}

impl Turn {
    pub(super) fn begin() -> Self {
        Self { mover: Mover::Session, asked_by: SYNC, status: IDLE, extended: Extended::Closed }
    }

    pub(super) fn mover(&self) -> Mover {
        self.mover
    }

    /// Whether the connection may be another session's now.
    pub(super) fn is_over(&self) -> bool {
        self.mover == Mover::Session && self.status == IDLE && self.extended == Extended::Closed
    }

    /// Whether a message of the session may be passed on now.
    pub(super) fn may_send(&self, tag: u8) -> bool {
        match self.mover {
            Mover::Session => true,
            Mover::Postgres => false,
            Mover::Copy => [COPY_DATA, COPY_DONE, COPY_FAIL, FLUSH, SYNC].contains(&tag),
        }
    }

    /// A message of the session was passed on.
    pub(super) fn sent(&mut self, tag: u8) {
        match (self.mover, tag) {
            // What a query began ends with it; in the extended protocol a further message has to follow.
            (Mover::Copy, COPY_DONE | COPY_FAIL) if self.asked_by == QUERY => self.mover = Mover::Postgres,
            (Mover::Copy, COPY_DONE | COPY_FAIL) => {
                (self.mover, self.extended) = (Mover::Session, Extended::Open);
            }
            // Among them a SYNC, which Postgres ignores here.
            (Mover::Copy, _) => {}
            (_, QUERY | SYNC | FUNCTION) => {
                (self.mover, self.asked_by, self.extended) = (Mover::Postgres, tag, Extended::Closed);
            }
            (..) => self.extended = Extended::Open,
        }
    }

    /// A message of Postgres came.
    pub(super) fn received(&mut self, message: &Message) {
        match message.tag() {
            COPY_IN | COPY_BOTH => self.mover = Mover::Copy,
            READY => {
                self.mover = Mover::Session;
                self.status = message.body().first().copied().unwrap_or(IDLE);
            }
            _ => {}
        }
    }

    /// What to send in place of a session that is gone, so that the turn comes to its end without having changed anything
    /// more. `None`: wait for Postgres, or it is over.
    pub(super) fn way_out(&self) -> Option<Message> {
        match self.mover {
            Mover::Postgres => None,
            Mover::Copy => Some(Message::new(COPY_FAIL, b"the session is gone\0")),
            Mover::Session if self.extended == Extended::Open => Some(Message::new(SYNC, b"")),
            Mover::Session if self.status != IDLE => Some(Message::query("ROLLBACK")),
            Mover::Session => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(status: u8) -> Message {
        Message::new(READY, &[status])
    }

    #[test]
    fn a_turn_lasts_as_long_as_the_transaction() {
        let mut turn = Turn::begin();
        turn.sent(QUERY);
        assert_eq!((turn.mover(), turn.may_send(QUERY)), (Mover::Postgres, false));
        turn.received(&ready(b'T'));
        assert!(!turn.is_over() && turn.may_send(QUERY));
        assert_eq!(turn.way_out(), Some(Message::query("ROLLBACK")));
        turn.sent(QUERY);
        turn.received(&ready(IDLE));
        assert!(turn.is_over());
    }

    #[test]
    fn messages_of_the_extended_protocol_belong_together() {
        let mut turn = Turn::begin();
        turn.sent(super::super::wire::session::PARSE);
        assert!(!turn.is_over() && turn.may_send(SYNC));
        assert_eq!(turn.way_out(), Some(Message::new(SYNC, b"")));
        turn.sent(SYNC);
        assert_eq!(turn.way_out(), None, "Postgres will be ready");
        turn.received(&ready(IDLE));
        assert!(turn.is_over());
    }

    #[test]
    fn what_is_copied_goes_on_before_postgres_is_ready() {
        for (asked, ends) in [(QUERY, vec![COPY_DONE]), (SYNC, vec![COPY_DONE, SYNC])] {
            let mut turn = Turn::begin();
            turn.sent(asked);
            turn.received(&Message::new(COPY_IN, b""));
            assert!(turn.may_send(COPY_DATA) && !turn.may_send(QUERY));
            turn.sent(COPY_DATA);
            assert_eq!(turn.mover(), Mover::Copy);
            assert_eq!(turn.way_out().map(|message| message.tag()), Some(COPY_FAIL));
            ends.into_iter().for_each(|tag| turn.sent(tag));
            assert_eq!(turn.mover(), Mover::Postgres);
            turn.received(&ready(IDLE));
            assert!(turn.is_over());
        }
    }
}
