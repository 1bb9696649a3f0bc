//! What really happened: the database, and every announcement that Redis made. No node sees this.

use std::collections::BTreeMap;

use cache_core::clock::Moment;
use cache_core::coherence::{Epoch, Seq, Token};
use cache_core::tag::{Slots, Tag, Tags};

use super::history::slot_count;

pub(super) type Key = u32;
pub(super) type WriteId = usize;
pub(super) type AnnouncementId = usize;

/// How many rows there are.
pub(super) const KEYS: Key = 6;
/// A tag that this key shares with one other.
fn tag(key: Key) -> Tag {
    Tag::of_row(&(key / 2).to_string())
}

/// What an entry of this key depends on.
pub(super) fn entry_tags(key: Key) -> Tags {
    [Tag::everything(), tag(key)].into_iter().collect()
}

/// What a write to this key announces.
pub(super) fn write_slots(key: Key) -> Slots {
    Slots::of([tag(key)], slot_count())
}

/// A node in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life {
    pub(super) node: usize,
    pub(super) number: u32,
}

/// One committed write.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) by: Life,
    pub(super) committed: Moment,
    /// when its node first tried to announce it
    pub(super) attempted: Option<Moment>,
    /// when `announce` came back to the writer, with or without success
    pub(super) returned: Option<Moment>,
    /// each time it was announced: once, or more often if an answer was lost
    pub(super) announced: Vec<Announced>,
    /// the first time after the attempt that Redis answered a poll of another node
    pub(super) peers_polled: Option<Moment>,
}

/// One announcement of a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) at: Moment,
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
}

impl Write {
    /// When Redis first made it known.
    pub(super) fn announced_at(&self) -> Option<Moment> {
        self.announced.first().map(|announced| announced.at)
    }
}

/// An announcement as Redis made it.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) at: Moment,
    pub(super) token: Token,
    pub(super) slots: Slots,
    /// when Redis forgot it
    pub(super) lost_at: Option<Moment>,
}

/// A token as a client holds it, and when it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) token: Token,
    pub(super) at: Moment,
}

#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) writes: Vec<Write>,
    /// the writes to each key in commit order: version `n` is the state after the first `n`
    versions: BTreeMap<Key, Vec<WriteId>>,
    pub(super) made: Vec<Made>,
    /// attempted and not announced yet
    owed: Vec<WriteId>,
}

impl Truth {
    pub(super) fn commit(&mut self, key: Key, by: Life, now: Moment) -> WriteId {
        let id = self.writes.len();
        self.writes.push(Write {
            key,
            by,
            committed: now,
            attempted: None,
            returned: None,
            announced: Vec::new(),
            peers_polled: None,
        });
        self.versions.entry(key).or_default().push(id);
        id
    }

    /// The version that a read of the database sees now.
    pub(super) fn version(&self, key: Key) -> usize {
        self.versions.get(&key).map_or(0, Vec::len)
    }

    /// The writes that this version of the key does not show, oldest first.
    pub(super) fn missing(&self, key: Key, version: usize) -> impl Iterator<Item = &Write> {
        let writes = self.versions.get(&key).and_then(|writes| writes.get(version..)).unwrap_or_default();
        writes.iter().map(|id| &self.writes[*id])
    }

    pub(super) fn attempt(&mut self, id: WriteId, now: Moment) {
        self.writes[id].attempted = Some(now);
        self.owed.push(id);
    }

    pub(super) fn announce(&mut self, token: Token, slots: &Slots, writes: &[WriteId], now: Moment) -> AnnouncementId {
        for id in writes {
            self.writes[*id].announced.push(Announced { at: now, epoch: token.epoch, seq: token.seq });
        }
        self.owed.retain(|id| !writes.contains(id));
        self.made.push(Made { at: now, token, slots: slots.clone(), lost_at: None });
        self.made.len() - 1
    }

    /// Redis answered a poll of this node: for its peers' debts, Redis was there.
    pub(super) fn polled_by(&mut self, node: usize, now: Moment) {
        for id in &self.owed {
            let write = &mut self.writes[*id];
            if write.by.node != node {
                write.peers_polled.get_or_insert(now);
            }
        }
    }

    /// Redis forgot everything after `since`.
    pub(super) fn lose(&mut self, since: Moment, now: Moment) {
        for made in self.made.iter_mut().rev().take_while(|made| made.at > since) {
            made.lost_at.get_or_insert(now);
        }
    }
}
