//! Writing down that sessions are active: off the path of answers, many at a time, and none twice at the same time.

use std::{collections::HashSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::mpsc, time::sleep};

use super::{TokenHash, memory, shared::Shared, store::Store};

/// Sessions that may wait to be written; those beyond are written when they are shown again.
const QUEUE_MAX: usize = 4_096;
/// Sessions written in one statement.
const BATCH_MAX: usize = 256;
/// For so long a batch waits for more.
const LINGER: Duration = Duration::from_millis(20);
/// After a failure nothing is written for so long.
const RESPITE: Duration = Duration::from_secs(1);

/// The way to the task that writes.
pub(super) struct Touching {
    queue: mpsc::Sender<TokenHash>,
    under_way: Mutex<HashSet<TokenHash>>,
}

impl Touching {
    pub(super) fn new() -> (Self, mpsc::Receiver<TokenHash>) {
        let (queue, touches) = mpsc::channel(QUEUE_MAX);
        (Self { queue, under_way: Mutex::default() }, touches)
    }

    /// The session is active.
    pub(super) fn want(&self, hash: TokenHash) {
        let mut under_way = self.under_way.lock();
        if under_way.insert(hash) && self.queue.try_send(hash).is_err() {
            under_way.remove(&hash);
        }
    }

    fn done(&self, hashes: &[TokenHash]) {
        let mut under_way = self.under_way.lock();
        for hash in hashes {
            under_way.remove(hash);
        }
    }
}

/// Writes until nobody is left who could ask for it.
pub(super) async fn run<S: Store>(shared: Arc<Shared<S>>, mut touches: mpsc::Receiver<TokenHash>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while let Some(first) = touches.recv().await {
        batch.push(first);
        sleep(LINGER).await;
        while batch.len() < BATCH_MAX
            && let Ok(hash) = touches.try_recv()
        {
            batch.push(hash);
        }
        let written = write(&shared, &batch).await;
        shared.touching.done(&batch);
        batch.clear();
        if !written {
            sleep(RESPITE).await;
        }
    }
}

/// Says whether the store took it.
async fn write<S: Store>(shared: &Shared<S>, batch: &[TokenHash]) -> bool {
    // Before the store is asked: what ends meanwhile outdates what comes back (C1).
    let mut tickets: Vec<_> = batch.iter().map(|hash| (*hash, shared.begin(&memory::key(hash)))).collect();
    match shared.within(shared.store.touch(batch)).await {
        Ok(sessions) => {
            for session in sessions {
                let Some(at) = tickets.iter().position(|(hash, _)| *hash == session.hash) else { continue };
                shared.keep(tickets.swap_remove(at).1, session);
            }
            true
        }
        Err(error) => {
            tracing::debug!(%error, "the activity of sessions is not written down for now");
            false
        }
    }
}
