//! Switches a protection off, to prove that the consistency checker in `tests/` would notice: only with the cargo feature
//! `sabotage`, which nothing turns on by itself. Without it nothing is ever off, and the compiler knows.

/// What keeps answers true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// the stamp is taken before the origin is read (C1)
    Ticket,
    /// only what everybody can see is announced (C2)
    Visibility,
    /// without a lease only what is young counts (C3)
    Lease,
    /// whoever missed an announcement reads the table (C4)
    Resync,
    /// no announcement is made by an older set of templates than Redis has
    Templates,
}

/// Whether the environment variable `SABOTAGE` names this protection.
#[cfg(feature = "sabotage")]
#[must_use]
pub fn is_off(protection: Protection) -> bool {
    static OFF: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let off = std::env::var("SABOTAGE").unwrap_or_default();
        tracing::warn!(off, "this build can lie: it has the feature `sabotage`");
        off
    });
    match protection {
        Protection::Ticket => *OFF == "ticket",
        Protection::Visibility => *OFF == "visibility",
        Protection::Lease => *OFF == "lease",
        Protection::Resync => *OFF == "resync",
        Protection::Templates => *OFF == "templates",
    }
}

/// Never.
#[cfg(not(feature = "sabotage"))]
#[must_use]
pub const fn is_off(_: Protection) -> bool {
    false
}
