//! Reading what ended, as the store noted it: the one way to hear of it that needs nothing but the store.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Gone, Mark, News, Store,
    judge::KEPT_FOR,
    memory,
    shared::{Shared, is_away},
};
use crate::{clock::Moment, coherence::Kind, tag::Tag};

/// Between two readings, in bounds: two of them fit into the time for which one counts.
const PAUSE: f64 = 0.25;
/// After a store refused: its tables are not there, and whoever asks for a session is told so.
const PAUSE_REFUSED: f64 = 4.0;
/// How often notes are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// More notes than that in one reading are taken for all sessions: a store may leave out those beyond.
pub const NOTES_MAX: usize = 10_000;

/// What the watch remembers between readings.
struct Watch {
    mark: Mark,
    /// what was seen, and when
    marks: VecDeque<(Moment, Mark)>,
    swept_at: Moment,
}

/// Reads four times per bound while sessions are asked for.
pub(super) async fn run<S: Store>(shared: Arc<Shared<S>>) {
    let swept_at = shared.now();
    let mut watch = Watch { mark: Mark::default(), marks: VecDeque::new(), swept_at };
    loop {
        if shared.judge.is_idle(shared.now()) {
            shared.wanted.notified().await;
        }
        let pause = watch.round(&shared).await;
        sleep(shared.bound().mul_f64(pause)).await;
    }
}

impl Watch {
    /// Returns for how many bounds to wait until the next one.
    async fn round<S: Store>(&mut self, shared: &Shared<S>) -> f64 {
        let asked_at = shared.now();
        match shared.within_bound(shared.store.gone(&self.mark)).await {
            Ok(news) => {
                let gone = self.take(shared, asked_at, news);
                announce(shared, &gone).await;
                self.sweep(shared).await;
                PAUSE
            }
            Err(error) => {
                tracing::debug!(%error, "what ended of the sessions cannot be read");
                if !is_away::<S>(&error) {
                    return PAUSE_REFUSED;
                }
                shared.judge.miss(shared.now());
                PAUSE
            }
        }
    }

    /// Takes to heart what is new, and returns it.
    fn take<S: Store>(&mut self, shared: &Shared<S>, asked_at: Moment, News { mark, gone }: News) -> Vec<Gone> {
        let gone = if gone.len() > NOTES_MAX { vec![Gone { id: 0, hash: None, told: Vec::new() }] } else { gone };
        if !gone.is_empty() {
            shared.cache.invalidate_here(gone.iter().map(tag));
        }
        // Only now: a reading that counts has taken effect.
        shared.judge.hear(asked_at);
        self.mark = mark.clone();
        self.marks.push_back((asked_at, mark));
        gone
    }

    async fn sweep<S: Store>(&mut self, shared: &Shared<S>) {
        let now = shared.now();
        // What is owed to the peers has to stay for others to announce.
        if now.since(self.swept_at) < SWEEP_EVERY || shared.cache.owes() {
            return;
        }
        self.swept_at = now;
        let mut seen = None;
        while let Some((_, mark)) = self.marks.pop_front_if(|(at, _)| now.since(*at) >= KEPT_FOR) {
            seen = Some(mark);
        }
        if let Some(mark) = seen
            && let Err(error) = shared.within(shared.store.sweep(&mark)).await
        {
            tracing::debug!(%error, "what ended long ago is not swept");
        }
    }
}

/// Announces for whoever could not, or ended sessions by SQL. What Redis does not take is owed by this node.
async fn announce<S: Store>(shared: &Shared<S>, gone: &[Gone]) {
    let namespace = &shared.settings.namespace;
    let untold = || gone.iter().filter(|gone| !gone.told.contains(namespace));
    if untold().next().is_none() || shared.cache.publish(untold().map(tag), Kind::Change).await.is_err() {
        return;
    }
    let ids: Vec<i64> = untold().map(|gone| gone.id).collect();
    // Otherwise others announce it as well, which does no harm.
    drop(shared.within(shared.store.tell(namespace, &ids)).await);
}

fn tag(gone: &Gone) -> Tag {
    gone.hash.as_ref().map_or_else(memory::tag_of_all, memory::tag)
}
