//! Echoes: how a writer hears that somebody else announced what it wrote.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use crate::coherence::{Coherence, Reached, Token, WriteId};

/// The writes of this node that wait to be announced. As many as there are [`Echo`]es, which their owners bound.
#[derive(Debug, Default)]
pub(crate) struct Echoes(Mutex<HashMap<WriteId, watch::Sender<Option<Token>>>>);

impl Echoes {
    /// Begins to listen for an announcement that covers this write.
    pub(crate) fn expect(self: &Arc<Self>, write: WriteId, coherence: &Arc<Coherence>) -> Echo {
        let (sender, heard) = watch::channel(None);
        self.0.lock().insert(write, sender);
        Echo { write, heard, echoes: self.clone(), coherence: coherence.clone() }
    }

    /// An announcement that covers these writes was heard, and its slots are raised.
    pub(crate) fn heard(&self, writes: &[WriteId], token: Token) {
        if writes.is_empty() {
            return;
        }
        let expected = self.0.lock();
        for sender in writes.iter().filter_map(|write| expected.get(write)) {
            sender.send_replace(Some(token));
        }
    }
}

/// Listens for the announcement of one write, until it is dropped. To be made before the write can be announced.
pub struct Echo {
    write: WriteId,
    heard: watch::Receiver<Option<Token>>,
    echoes: Arc<Echoes>,
    coherence: Arc<Coherence>,
}

impl Echo {
    /// Waits until the write was announced and this node has applied everything up to that announcement. `None` if that
    /// takes longer than `patience`, or cannot be said because the epoch changed: the message may have been lost, and
    /// never come. Cancel safe.
    pub async fn wait(&mut self, patience: Duration) -> Option<Token> {
        let deadline = Instant::now() + patience;
        let heard = tokio::time::timeout_at(deadline, self.heard.wait_for(Option::is_some)).await.ok()?;
        let token = (*heard.ok()?)?;
        let left = deadline.saturating_duration_since(Instant::now());
        (self.coherence.wait_for(token, left).await == Reached::Yes).then_some(token)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.echoes.0.lock().remove(&self.write);
    }
}
