//! The driver of a node, as in `backplane/driver.rs`: it hears announcements, and once per poll interval does a round:
//! subscribe, announce what is owed, resync or poll.

use cache_core::coherence::{Announcement, Kind, Token, Trusted};
use cache_core::outcome::ResyncReason;

use super::Protection;
use super::history::Asker;
use super::node::{Owed, Purpose, Round, Step};
use super::truth::AnnouncementId;
use super::wire::{Answer, Line, Request, RequestId};
use super::world::{Delivery, Event, REDIS_TIMEOUT, World};

impl World {
    pub(super) fn tick(&mut self, n: usize) {
        let (life, interval) = (self.nodes[n].life, self.nodes[n].follower.poll_interval());
        self.later(interval, Event::AtNode(life, Delivery::Tick));
        self.start_round(n);
    }

    fn start_round(&mut self, n: usize) {
        let sent_at = self.clock(n);
        let node = &mut self.nodes[n];
        if node.round.is_some() {
            return;
        }
        let subscribe = (node.subscribed_on != Some(node.connection)).then_some(node.connection);
        let resync = node.follower.snapshot_asked();
        node.round = Some(Round { step: Step::Subscribing, subscribe, subscribed_on: None, resync, sent_at });
        if subscribe.is_some() {
            self.send(n, Line::Subscriber, Request::Subscribe, Purpose::Round, REDIS_TIMEOUT);
        } else {
            self.flush(n);
        }
    }

    fn flush(&mut self, n: usize) {
        let owed = if self.without == Some(Protection::FlushBeforeTrust) { None } else { self.nodes[n].pending.take() };
        let Some(owed) = owed else { return self.ask(n) };
        self.step(n, Step::Flushing(owed.clone()));
        self.note(|| format!("node {n} flushes what it owes"));
        let request = Request::Announce { slots: owed.slots, writes: owed.writes };
        self.send(n, Line::Control, request, Purpose::Round, REDIS_TIMEOUT);
    }

    fn ask(&mut self, n: usize) {
        let sent_at = self.clock(n);
        let node = &mut self.nodes[n];
        let asker = Asker { epoch: node.coherence.epoch(), watermark: node.coherence.watermark() };
        let round = node.round.as_mut().expect("a round runs");
        round.step = Step::Asking;
        round.sent_at = sent_at;
        if round.resync.is_some() {
            self.send(n, Line::Control, Request::Snapshot(asker), Purpose::Round, REDIS_TIMEOUT * 10);
        } else {
            self.send(n, Line::Control, Request::Poll(asker), Purpose::Round, REDIS_TIMEOUT);
        }
    }

    fn step(&mut self, n: usize, step: Step) {
        self.nodes[n].round.as_mut().expect("a round runs").step = step;
    }

    pub(super) fn answered(&mut self, n: usize, id: RequestId, answer: Answer) {
        // Late: the node gave up before.
        let Some(purpose) = self.nodes[n].outstanding.remove(&id) else { return };
        match purpose {
            Purpose::Round => self.round_answered(n, answer),
            Purpose::Announce(write) => self.announce_answered(n, write, &answer),
            Purpose::Lookup(read) => self.lookup_answered(n, read, answer),
            Purpose::Store => self.nodes[n].breaker_open |= matches!(answer, Answer::Failed),
        }
    }

    fn round_answered(&mut self, n: usize, answer: Answer) {
        let round = self.nodes[n].round.as_mut().expect("its answer came");
        match (round.step.clone(), answer) {
            (Step::Subscribing, Answer::Subscribed) => {
                round.subscribed_on = round.subscribe;
                round.resync.get_or_insert(ResyncReason::Reconnect);
                self.flush(n);
            }
            (Step::Subscribing, _) => self.flush(n),
            (Step::Flushing(owed), Answer::Announced(token, id)) => {
                self.flushed(n, &owed, token, id);
                self.ask(n);
            }
            (Step::Flushing(owed), _) => {
                self.nodes[n].pending.get_or_insert_default().add(&owed.slots, &owed.writes);
                self.end_round(n, Answer::Failed);
            }
            (Step::Asking, answer) => self.end_round(n, answer),
        }
    }

    /// What was flushed is applied like any own announcement.
    pub(super) fn flushed(&mut self, n: usize, owed: &Owed, token: Token, id: AnnouncementId) {
        let announcement = Announcement {
            epoch: token.epoch,
            seq: token.seq,
            kind: Kind::Change,
            slots: owed.slots.clone(),
            writes: Default::default(),
        };
        self.apply_own(n, &announcement, id);
    }

    pub(super) fn apply_own(&mut self, n: usize, announcement: &Announcement, id: AnnouncementId) {
        let now = self.clock(n);
        let node = &mut self.nodes[n];
        if node.coherence.epoch() == Some(announcement.epoch) {
            node.unheard.remove(&id);
        }
        node.coherence.apply_own(announcement, now);
    }

    fn end_round(&mut self, n: usize, answer: Answer) {
        let now = self.clock(n);
        let node = &mut self.nodes[n];
        let round = node.round.take().expect("a round ends");
        node.subscribed_on = round.subscribed_on.or(node.subscribed_on);
        let trusted = match answer {
            Answer::Position(position) => {
                node.follower.on_poll(round.sent_at, position);
                position.trusted
            }
            Answer::Snapshot(snapshot, taken) => {
                node.follower.on_snapshot(round.sent_at, &snapshot, now);
                let epoch = snapshot.position.epoch;
                let truth = &self.truth;
                // A snapshot brings everything made before it, but for what was forgotten under the same name.
                node.unheard.retain(|id, at| {
                    let made = &truth.made[*id];
                    *at > taken || (made.token.epoch == epoch && made.lost_at.is_some_and(|lost| lost <= taken))
                });
                self.tally.resyncs += 1;
                self.note(|| format!("node {n} resynced to {epoch}:{} {:?}", snapshot.position.seq.0, round.resync));
                snapshot.position.trusted
            }
            _ => {
                node.breaker_open = true;
                if let Some(reason) = round.resync {
                    node.follower.want_snapshot(reason);
                }
                return;
            }
        };
        let node = &mut self.nodes[n];
        node.breaker_open = false;
        let again = node.follower.wants_snapshot().is_some();
        if self.without == Some(Protection::FlushBeforeTrust) && trusted == Trusted::Yes {
            self.flush_late(n);
        }
        if again {
            self.start_round(n);
        }
    }

    fn flush_late(&mut self, n: usize) {
        let Some(owed) = self.nodes[n].pending.take() else { return };
        let Some(first) = owed.writes.first().copied() else { return };
        let request = Request::Announce { slots: owed.slots, writes: owed.writes };
        self.send(n, Line::Control, request, Purpose::Announce(first), REDIS_TIMEOUT);
    }

    pub(super) fn heard(&mut self, n: usize, id: AnnouncementId, generation: u64) {
        if self.nodes[n].subscriber.generation != generation && self.network.in_order {
            return;
        }
        let announcement = self.announcement(id);
        let now = self.clock(n);
        let node = &mut self.nodes[n];
        if node.coherence.epoch() == Some(announcement.epoch) {
            node.unheard.remove(&id);
        }
        node.follower.on_announcement(&announcement, now);
        if node.follower.wants_snapshot().is_some() {
            self.start_round(n);
        }
    }

    pub(super) fn reconnected(&mut self, n: usize, generation: u64) {
        self.nodes[n].connection = generation;
        self.start_round(n);
    }
}
