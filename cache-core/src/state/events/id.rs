//! The place of an event among those of its channel.

use std::{fmt, str::FromStr};

/// When an event was published, in milliseconds since 1970 by Redis' clock, and its number: one more than that of the event
/// before. Written `<milliseconds>-<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    millis: u64,
    number: u64,
}

/// A text that is no [`EventId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event id is two numbers with a dash between")]
pub struct InvalidId;

/// What lies between two events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// nothing: the one follows the other
    None,
    /// so many events
    Events(u64),
    /// the channel was forgotten in between, and its numbers began anew: perhaps some
    Unknown,
}

impl EventId {
    /// What lies between this event and a later one.
    pub(super) fn gap_to(self, later: Self) -> Gap {
        match later.number.checked_sub(self.number) {
            Some(1) => Gap::None,
            Some(more @ 2..) => Gap::Events(more - 1),
            _ => Gap::Unknown,
        }
    }

    /// Where somebody stands for whom this event is the next.
    pub(super) fn before(self) -> Self {
        Self { number: self.number.saturating_sub(1), ..self }
    }
}

impl Gap {
    /// How many events, if that is known.
    pub(super) fn count(self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Events(count) => Some(count),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

impl FromStr for EventId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten().ok_or(InvalidId)
        };
        let (millis, count) = text.split_once('-').ok_or(InvalidId)?;
        Ok(Self { millis: number(millis)?, number: number(count)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        text.parse().unwrap()
    }

    #[test]
    fn ids_are_written_as_they_are_read() {
        assert_eq!(id("1795661131512-42").to_string(), "1795661131512-42");
        for wrong in ["", "-", "1", "1-", "-1", "1-2-3", "+1-2", "a-b", "99999999999999999999-1"] {
            assert_eq!(wrong.parse::<EventId>(), Err(InvalidId), "{wrong}");
        }
    }

    #[test]
    fn a_gap_is_counted_by_numbers_and_not_by_time() {
        assert_eq!(id("10-5").gap_to(id("99-6")), Gap::None);
        assert_eq!(id("10-5").gap_to(id("99-9")), Gap::Events(3));
        assert_eq!(id("10-5").gap_to(id("99-1")), Gap::Unknown, "it began anew");
        assert_eq!(id("0-0").gap_to(id("99-1")), Gap::None, "who came before the first event");
    }
}
