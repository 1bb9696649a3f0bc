//! The backplane of a node without peers: the same promises, kept in memory.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::Trust;
use crate::{
    clock::Moment,
    coherence::{Announcement, Coherence, Epoch, Kind, Position, Seq, Snapshot, Token, Trusted, WriteId},
    tag::Slots,
    template::{Edition, Published, RegisterError, TEMPLATES_MAX, Template, Templates},
};

/// See [`Backplane::Alone`](super::Backplane::Alone).
pub struct Alone {
    coherence: Arc<Coherence>,
    history: Mutex<History>,
}

/// What Redis keeps for nodes that have peers.
struct History {
    epoch: Epoch,
    /// its last announcement
    last: Seq,
    /// only grows: their number is their version
    templates: BTreeSet<Template>,
}

impl History {
    fn new(epoch: Epoch) -> Self {
        Self { epoch, last: Seq(0), templates: BTreeSet::new() }
    }

    fn edition(&self) -> Edition {
        Edition { epoch: self.epoch, version: self.templates.len() as u64 }
    }
}

impl Alone {
    pub(super) fn new(coherence: Arc<Coherence>, trust: Trust) -> Self {
        let epoch = coherence.epoch().unwrap_or_else(Epoch::random);
        if trust == Trust::Announcements {
            coherence.grant(epoch, Moment::from_nanos(0), Moment::NEVER);
        }
        Self { coherence, history: Mutex::new(History::new(epoch)) }
    }

    pub(super) fn announce(&self, slots: &Slots, kind: Kind, now: Moment) -> Token {
        self.announce_next(&mut self.history.lock(), slots, kind, &[], now)
    }

    pub(super) fn announce_knowing(
        &self,
        slots: &Slots,
        kind: Kind,
        edition: Edition,
        writes: &[WriteId],
        now: Moment,
    ) -> Published {
        let mut history = self.history.lock();
        if edition != history.edition() {
            return Published::Outdated;
        }
        Published::Yes(self.announce_next(&mut history, slots, kind, writes, now))
    }

    /// The lock is held while applying, so that announcements are applied in the order of their numbers.
    fn announce_next(
        &self,
        history: &mut History,
        slots: &Slots,
        kind: Kind,
        writes: &[WriteId],
        now: Moment,
    ) -> Token {
        history.last.0 += 1;
        let (epoch, seq) = (history.epoch, history.last);
        let writes = SmallVec::from_slice(writes);
        self.coherence.apply(&Announcement { epoch, seq, kind, slots: slots.clone(), writes }, now);
        Token { epoch, seq }
    }

    pub(super) fn register(&self, templates: &[Template]) -> Result<Epoch, RegisterError> {
        let mut history = self.history.lock();
        let strangers: BTreeSet<&Template> =
            templates.iter().filter(|template| !history.templates.contains(*template)).collect();
        if history.templates.len() + strangers.len() > TEMPLATES_MAX {
            return Err(RegisterError::Full);
        }
        history.templates.extend(strangers.into_iter().cloned());
        Ok(history.epoch)
    }

    pub(super) fn templates(&self) -> Templates {
        let history = self.history.lock();
        Templates { edition: history.edition(), known: history.templates.clone() }
    }

    pub(super) fn begin_epoch(&self, now: Moment) {
        let mut history = self.history.lock();
        *history = History::new(Epoch::random());
        let (epoch, seq) = (history.epoch, history.last);
        let position = Position { epoch, seq, purged: seq, trusted: Trusted::Unvouched };
        self.coherence.adopt(&Snapshot { position, table: vec![0; self.coherence.slot_count()] }, now);
    }

    pub(super) fn uncover(&self, now: Moment) {
        self.coherence.revoke(now);
    }

    /// Nobody polls here, so the whole of `max_staleness` is the feed's.
    pub(super) fn vouch(&self, sent_at: Moment) {
        let history = self.history.lock();
        self.coherence.grant(history.epoch, sent_at, sent_at.plus(self.coherence.max_staleness()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tag::SlotCount;

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);

    fn alone() -> Alone {
        let coherence = Coherence::new(SlotCount::new(1_024).unwrap(), Duration::from_secs(1));
        Alone::new(Arc::new(coherence), Trust::Feed)
    }

    fn announce(alone: &Alone, edition: Edition) -> Published {
        alone.announce_knowing(&Slots::from_raw([3]), Kind::Change, edition, &[], NOW)
    }

    #[test]
    fn who_does_not_know_a_template_does_not_announce() {
        let alone = alone();
        let before = alone.templates();
        assert!(matches!(announce(&alone, before.edition), Published::Yes(_)));
        let watermark = alone.coherence.watermark();
        let epoch = alone.register(&[Template::named("t(a)")]).unwrap();
        assert_eq!(announce(&alone, before.edition), Published::Outdated);
        assert_eq!(alone.coherence.watermark(), watermark, "it had an effect");
        assert_eq!(alone.register(&[Template::named("t(a)")]).unwrap(), epoch);
        let after = alone.templates();
        assert_eq!(after.known, [Template::named("t(a)")].into());
        assert!(matches!(announce(&alone, after.edition), Published::Yes(_)));
    }

    #[test]
    fn a_new_epoch_has_no_templates() {
        let alone = alone();
        let epoch = alone.register(&[Template::named("t(a)")]).unwrap();
        let before = alone.templates().edition;
        alone.begin_epoch(NOW);
        assert_ne!(alone.register(&[]).unwrap(), epoch);
        assert!(alone.templates().known.is_empty());
        alone.register(&[Template::named("t(b)")]).unwrap();
        assert_eq!(announce(&alone, before), Published::Outdated, "the same number of another epoch");
    }

    #[test]
    fn what_there_is_no_room_for_is_refused_and_leaves_nothing() {
        let alone = alone();
        let many: Vec<Template> =
            (0..TEMPLATES_MAX - 1).map(|number| Template::named(format!("t({number})"))).collect();
        alone.register(&many).unwrap();
        let [a, b] = ["t(a)", "t(b)"].map(Template::named);
        assert!(matches!(alone.register(&[a.clone(), b]), Err(RegisterError::Full)));
        assert!(!alone.templates().known.contains(&a));
        alone.register(&[a.clone(), many[0].clone()]).unwrap();
        alone.register(&[a]).unwrap();
    }
}
