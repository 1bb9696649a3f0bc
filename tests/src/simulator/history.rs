//! The history in Redis: the Lua scripts of `cache-core/src/backplane/scripts`, statement by statement.

use std::time::Duration;

use cache_core::coherence::{Epoch, Position, Seq, Snapshot, Token, Trusted};
use cache_core::tag::{SlotCount, Slots};

use super::Protection;

const SLOTS: u32 = 1_024;

pub(super) fn slot_count() -> SlotCount {
    SlotCount::new(SLOTS).expect("a power of two within the bounds")
}

/// The two keys; either may be gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    pub(super) history: Option<Hash>,
    pub(super) table: Option<Vec<u64>>,
}

#[derive(Debug, Clone)]
pub(super) struct Hash {
    epoch: u64,
    seq: u64,
    purged: u64,
    replid: u64,
    polled: Option<u64>,
    quiet: Option<u64>,
}

/// What a node says of itself when it polls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) epoch: Option<Epoch>,
    pub(super) watermark: Seq,
}

/// One call of one script.
pub(super) struct Script<'a> {
    pub(super) keys: &'a mut Keys,
    pub(super) replid: u64,
    pub(super) now_ms: u64,
    /// `ARGV[1]`
    pub(super) new_epoch: u64,
    /// `ARGV[5]` of a poll
    pub(super) lapse: Duration,
    pub(super) without: Option<Protection>,
}

impl Script<'_> {
    fn begin_epoch(&mut self) -> u64 {
        let epoch = if self.without == Some(Protection::NewEpoch) { 1 } else { self.new_epoch };
        self.keys.table = Some(vec![0; SLOTS as usize]);
        self.keys.history = Some(Hash { epoch, seq: 0, purged: 0, replid: self.replid, polled: None, quiet: None });
        epoch
    }

    /// Both keys are there and Redis did not fall back, or a new epoch begins.
    fn current_epoch(&mut self) -> u64 {
        match (&self.keys.history, &self.keys.table) {
            (Some(history), Some(_)) if !self.fell_back_before_announce(history) => history.epoch,
            _ => self.begin_epoch(),
        }
    }

    fn fell_back(&self, history: &Hash) -> bool {
        history.replid != self.replid && self.without != Some(Protection::ReplicationId)
    }

    fn fell_back_before_announce(&self, history: &Hash) -> bool {
        self.fell_back(history) && self.without != Some(Protection::ReplicationIdOnAnnounce)
    }

    fn hash(&mut self) -> &mut Hash {
        self.keys.history.as_mut().expect("current_epoch made sure")
    }

    pub(super) fn announce(&mut self, slots: &Slots) -> Token {
        let epoch = self.current_epoch();
        self.hash().seq += 1;
        let seq = self.hash().seq;
        let table = self.keys.table.as_mut().expect("current_epoch made sure");
        for slot in slots.iter() {
            table[slot as usize] = seq;
        }
        Token { epoch: Epoch::from_u64(epoch).expect("names are not zero"), seq: Seq(seq) }
    }

    fn trusted(&mut self) -> Trusted {
        let (now, lapse) = (self.now_ms, u64::try_from(self.lapse.as_millis()).expect("a short time"));
        let history = self.hash();
        let mut quiet = history.quiet.unwrap_or(0).min(now + lapse);
        if history.polled.is_some_and(|polled| now.saturating_sub(polled) > lapse) {
            quiet = now + lapse;
        }
        history.polled = Some(now);
        history.quiet = Some(quiet);
        match now >= quiet || self.without == Some(Protection::QuietPeriod) {
            true => Trusted::Yes,
            false => Trusted::Quiet,
        }
    }

    pub(super) fn position(&mut self, asker: Asker) -> Position {
        let epoch = self.current_epoch();
        let history = self.hash().clone();
        let ahead = asker.epoch.is_some_and(|asking| asking.as_u64() == epoch) && asker.watermark.0 > history.seq;
        if ahead || self.fell_back(&history) {
            self.begin_epoch();
        }
        let trusted = self.trusted();
        let history = self.hash();
        let epoch = Epoch::from_u64(history.epoch).expect("names are not zero");
        Position { epoch, seq: Seq(history.seq), purged: Seq(history.purged), trusted }
    }

    pub(super) fn snapshot(&mut self, asker: Asker) -> Snapshot {
        let position = self.position(asker);
        let table = self.keys.table.clone().expect("position made sure");
        if self.without == Some(Protection::TableOnResync) {
            return Snapshot { position, table: vec![0; SLOTS as usize] };
        }
        Snapshot { position, table }
    }
}
