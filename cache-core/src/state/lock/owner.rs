//! Who holds a lock.

use std::{fmt, sync::Arc};

/// The name of a holder, and its right to renew and release: whoever knows it may. So it is long, random, and not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Owner(Arc<str>);

/// A text that is no [`Owner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an owner has {} to {} visible ASCII characters", OWNER_BYTES.0, OWNER_BYTES.1)]
pub struct InvalidOwner;

/// Fewer can be guessed; more are of no use.
const OWNER_BYTES: (usize, usize) = (16, 128);

impl Owner {
    /// One that nobody else has: 128 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()).into())
    }

    /// Reads what a client calls itself.
    ///
    /// # Errors
    /// If it is too short, too long, or not visible ASCII.
    pub fn new(text: &str) -> Result<Self, InvalidOwner> {
        let sound = (OWNER_BYTES.0..=OWNER_BYTES.1).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if sound { Ok(Self(text.into())) } else { Err(InvalidOwner) }
    }

    /// The text, for the backend and for the holder alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_long_enough_and_does_not_show_itself() {
        assert_ne!(Owner::random(), Owner::random());
        assert_eq!(Owner::new("fifteen-letters"), Err(InvalidOwner));
        assert_eq!(Owner::new("sixteen letters!"), Err(InvalidOwner));
        let owner = Owner::new("sixteen-letters!").unwrap();
        assert_eq!((owner.expose(), format!("{owner:?}").as_str()), ("sixteen-letters!", "Owner(***)"));
    }
}
