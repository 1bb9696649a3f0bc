//! Echoes: how a writer hears that its write was announced, whoever announced it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{Announcement, Coherence, Reached, Token, WriteId};

/// The writes of this node that wait to be announced: as many as there are [`Echo`]es, which their owners bound.
#[derive(Default)]
pub(super) struct Echoes(Mutex<HashMap<WriteId, watch::Sender<Option<Token>>>>);

impl Echoes {
    pub(super) fn heard(&self, announcement: &Announcement) {
        let Announcement { epoch, seq, writes, .. } = announcement;
        if writes.is_empty() {
            return;
        }
        let expected = self.0.lock();
        for sender in writes.iter().filter_map(|write| expected.get(write)) {
            sender.send_replace(Some(Token { epoch: *epoch, seq: *seq }));
        }
    }
}

/// Listens for the announcement of one write, until it is dropped. To be made before the write can be announced.
pub struct Echo {
    write: WriteId,
    heard: watch::Receiver<Option<Token>>,
    coherence: Arc<Coherence>,
}

impl Echo {
    pub(super) fn listen(write: WriteId, coherence: Arc<Coherence>) -> Self {
        let (sender, heard) = watch::channel(None);
        coherence.echoes.0.lock().insert(write, sender);
        Self { write, heard, coherence }
    }

    /// Waits until the write was announced and this node has applied everything up to that announcement, but no longer than
    /// `patience`. Cancel safe, and may be called again.
    pub async fn wait(&mut self, patience: Duration) -> Heard {
        let deadline = Instant::now() + patience;
        let heard = tokio::time::timeout_at(deadline, self.heard.wait_for(Option::is_some)).await;
        let Some(token) = heard.ok().and_then(|heard| *heard.ok()?) else { return Heard::NotYet };
        let left = deadline.saturating_duration_since(Instant::now());
        match self.coherence.wait_for(token, left).await {
            Reached::Yes => Heard::Yes(token),
            Reached::NotYet => Heard::NotYet,
            Reached::OtherEpoch => Heard::Never,
        }
    }
}

/// Whether an [`Echo`] was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// this node has applied the announcement, and everything before it
    Yes(Token),
    /// it has not yet
    NotYet,
    /// the epoch changed, so nothing can be said: a message may have been lost, and never come
    Never,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.coherence.echoes.0.lock().remove(&self.write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Moment,
        coherence::{Epoch, Kind, Position, Seq, Snapshot, Trusted},
        tag::{SlotCount, Slots},
    };

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
    const PATIENCE: Duration = Duration::from_millis(100);

    /// A node of epoch 7 at 10.
    fn node() -> Arc<Coherence> {
        let coherence = Arc::new(Coherence::new(SlotCount::new(1_024).unwrap(), Duration::from_secs(1)));
        let position = Position { epoch: Epoch(7), seq: Seq(10), purged: Seq(0), trusted: Trusted::Yes };
        coherence.adopt(&Snapshot { position, table: vec![0; 1_024] }, NOW);
        coherence
    }

    fn announcement(epoch: u64, seq: u64, writes: &[WriteId]) -> Announcement {
        let (slots, writes) = (Slots::from_raw([3]), writes.iter().copied().collect());
        Announcement { epoch: Epoch(epoch), seq: Seq(seq), kind: Kind::Change, slots, writes }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_hears_its_own_announcement_and_no_other() {
        let node = node();
        let [mine, other] = [WriteId::random(), WriteId::random()];
        let mut echo = node.expect(mine);
        node.apply(&announcement(7, 11, &[other]), NOW);
        assert_eq!(echo.wait(PATIENCE).await, Heard::NotYet);
        node.apply(&announcement(7, 12, &[other, mine]), NOW);
        assert_eq!(echo.wait(PATIENCE).await, Heard::Yes(Token { epoch: Epoch(7), seq: Seq(12) }));
        drop(echo);
        assert!(node.echoes.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_announcement_counts_once_everything_before_it_is_applied() {
        let node = node();
        let mine = WriteId::random();
        let mut echo = node.expect(mine);
        node.apply(&announcement(7, 12, &[mine]), NOW);
        assert_eq!(echo.wait(PATIENCE).await, Heard::NotYet, "11 is missing");
        node.apply(&announcement(7, 11, &[]), NOW);
        node.apply(&announcement(7, 12, &[]), NOW);
        assert_eq!(echo.wait(PATIENCE).await, Heard::Yes(Token { epoch: Epoch(7), seq: Seq(12) }));
    }

    #[tokio::test(start_paused = true)]
    async fn an_announcement_of_another_epoch_says_nothing_about_this_node() {
        let node = node();
        let mine = WriteId::random();
        let mut echo = node.expect(mine);
        node.apply(&announcement(8, 1, &[mine]), NOW);
        let began = Instant::now();
        assert_eq!(echo.wait(PATIENCE).await, Heard::Never);
        assert_eq!(began.elapsed(), Duration::ZERO, "there is nothing to wait for");
    }

    #[tokio::test(start_paused = true)]
    async fn what_this_node_announced_for_itself_is_an_echo_too() {
        let node = node();
        let mine = WriteId::random();
        let mut echo = node.expect(mine);
        node.apply_own(&announcement(7, 11, &[mine]), NOW);
        assert_eq!(echo.wait(PATIENCE).await, Heard::NotYet, "it has to come back to be counted");
        node.apply(&announcement(7, 11, &[mine]), NOW);
        assert!(matches!(echo.wait(PATIENCE).await, Heard::Yes(_)));
    }
}
