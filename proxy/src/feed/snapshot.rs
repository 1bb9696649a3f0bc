//! What every new snapshot sees (C2): a commit can be decoded before other sessions can see it.
//!
//! <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT>

/// What a session sees that begins now: `xmin:xmax:xip,...` with the epoch in the ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// everything below is over
    xmin: u64,
    /// this one and everything above had not ended when the snapshot was taken
    xmax: u64,
    /// still running in between, in ascending order
    running: Vec<u64>,
}

/// Asks for it as text.
pub(super) const SNAPSHOT_SQL: &str = "SELECT pg_catalog.pg_current_snapshot()::text";

impl Snapshot {
    /// Reads the text form of `pg_snapshot`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (xmin, xmax, running) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        let running: Option<Vec<u64>> =
            running.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().ok()).collect();
        let mut running = running?;
        running.sort_unstable();
        Some(Self { xmin, xmax, running })
    }

    /// Whether a transaction that is known to have committed is visible to every session that begins from now on.
    pub(super) fn sees(&self, xid: u32) -> bool {
        !self.is_open(self.full(xid))
    }

    /// Whether a transaction had not ended when the snapshot was taken.
    pub(super) fn is_open(&self, full: u64) -> bool {
        full >= self.xmax || (full >= self.xmin && self.running.binary_search(&full).is_ok())
    }

    /// The transactions that were running.
    pub(super) fn running(&self) -> impl Iterator<Item = u64> + '_ {
        self.running.iter().copied()
    }

    /// The id with its epoch. The stream carries 32 bits; ids in use at the same time lie less than 2^31 apart, so the
    /// one nearest to the present is meant.
    fn full(&self, xid: u32) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is what the stream carries")]
        let distance = xid.wrapping_sub(self.xmax as u32).cast_signed();
        self.xmax.saturating_add_signed(i64::from(distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_ended_and_nothing_else() {
        let snapshot = Snapshot::parse("10:20:12,15").expect("well formed");
        let seen: Vec<u32> = (8..24).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 10, 11, 13, 14, 16, 17, 18, 19]);
        assert_eq!(Snapshot::parse("700:700:").map(|snapshot| snapshot.sees(699)), Some(true));
    }

    #[test]
    fn an_id_keeps_its_place_when_32_bits_wrap() {
        let wrapped = 1 << 32;
        let snapshot = Snapshot { xmin: wrapped - 2, xmax: wrapped + 3, running: vec![wrapped - 2, wrapped + 1] };
        assert!(!snapshot.sees(u32::MAX - 1), "of the epoch before, and running");
        assert!(snapshot.sees(u32::MAX) && snapshot.sees(0) && !snapshot.sees(1) && snapshot.sees(2));
        assert!(!snapshot.sees(3), "not ended when the snapshot was taken");
    }

    #[test]
    fn anything_else_is_no_snapshot() {
        for text in ["", "1", "1:2", "a:2:", "1:2:x", "1:2:3,,x"] {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
    }
}
