//! Request collapsing: one fill per key and node, however many ask (C7).
//!
//! The fill goes on when the client that began it hangs up, so that it strands nobody. Two timeouts guard against a fill
//! that hangs: nobody joins one older than `leader_max`, and nobody waits longer than `patience`.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{clock::Moment, key::CacheKey};

/// The fills in flight on this node. `T` is what a fill ends in: an answer or an error, cheap to clone.
pub struct Collapse<T> {
    in_flight: Arc<Mutex<HashMap<CacheKey, Flight<T>>>>,
    leader_max: Duration,
}

struct Flight<T> {
    number: u64,
    began: Moment,
    ends: watch::Receiver<Option<T>>,
    /// whether a request that arrives now may still take part
    joinable: Arc<dyn Fn(Moment) -> bool + Send + Sync>,
}

/// What [`Collapse::join`] made of a request.
pub enum Joined<T> {
    /// nobody was filling: the caller fills, sees to it that nothing interrupts that, and ends it with [`Leader::end`]
    Leader(Leader<T>),
    /// a fill is in flight
    Waiter(Waiter<T>),
}

/// The duty to end a fill. Dropped without an end (the fill panicked or was cancelled), it wakes the waiters with nothing.
pub struct Leader<T> {
    key: CacheKey,
    number: u64,
    ends: watch::Sender<Option<T>>,
    in_flight: Arc<Mutex<HashMap<CacheKey, Flight<T>>>>,
}

/// A seat at a fill in flight.
pub struct Waiter<T>(watch::Receiver<Option<T>>);

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait<T> {
    /// with what the fill ended in
    Ended(T),
    /// the fill died without an end
    Abandoned,
    /// the patience was over first
    Impatient,
}

impl<T: Clone + Send + Sync + 'static> Collapse<T> {
    /// `leader_max`: the age of a fill after which a new request starts another one.
    #[must_use]
    pub fn new(leader_max: Duration) -> Self {
        Self { in_flight: Arc::default(), leader_max }
    }

    /// Joins the fill of this key, or becomes its leader. `joinable` is asked on behalf of requests that come later,
    /// at the moment they do, whether the fill may still answer them: what it reads may be as old as its beginning.
    pub fn join(
        &self,
        key: &CacheKey,
        now: Moment,
        joinable: impl Fn(Moment) -> bool + Send + Sync + 'static,
    ) -> Joined<T> {
        let mut in_flight = self.in_flight.lock();
        let number = match in_flight.entry(key.clone()) {
            hash_map::Entry::Occupied(flight) => {
                let flight = flight.get();
                if now.since(flight.began) <= self.leader_max && (flight.joinable)(now) {
                    return Joined::Waiter(Waiter(flight.ends.clone()));
                }
                flight.number + 1
            }
            hash_map::Entry::Vacant(_) => 0,
        };
        let (sender, receiver) = watch::channel(None);
        let flight = Flight { number, began: now, ends: receiver, joinable: Arc::new(joinable) };
        in_flight.insert(key.clone(), flight);
        Joined::Leader(Leader { key: key.clone(), number, ends: sender, in_flight: self.in_flight.clone() })
    }

    /// How many fills are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.lock().len()
    }
}

impl<T> Leader<T> {
    /// Ends the fill and wakes everybody. To be called after the entry is stored, so that who comes next finds it.
    pub fn end(self, end: T) {
        self.ends.send_replace(Some(end));
    }
}

impl<T> Drop for Leader<T> {
    fn drop(&mut self) {
        let mut in_flight = self.in_flight.lock();
        // A later fill may have taken the place of this one.
        if in_flight.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            in_flight.remove(&self.key);
        }
    }
}

impl<T: Clone> Waiter<T> {
    /// Waits for the end of the fill. Cancel safe: the fill goes on.
    pub async fn wait(mut self, patience: Duration) -> Wait<T> {
        let end = match tokio::time::timeout(patience, self.0.wait_for(Option::is_some)).await {
            Ok(Ok(end)) => end.clone(),
            Ok(Err(_)) => None,
            Err(_) => return Wait::Impatient,
        };
        end.map_or(Wait::Abandoned, Wait::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn key() -> CacheKey {
        CacheKey::new(&b"flights"[..])
    }

    fn at(millis: u64) -> Moment {
        Moment::PAST.plus(Duration::from_millis(millis))
    }

    fn lead(collapse: &Collapse<u32>, now: Moment) -> (Leader<u32>, Waiter<u32>) {
        match collapse.join(&key(), now, |_| true) {
            Joined::Leader(leader) => (leader, follow(collapse, now)),
            Joined::Waiter(_) => panic!("somebody else leads"),
        }
    }

    fn follow(collapse: &Collapse<u32>, now: Moment) -> Waiter<u32> {
        match collapse.join(&key(), now, |_| true) {
            Joined::Leader(..) => panic!("nobody leads"),
            Joined::Waiter(waiter) => waiter,
        }
    }

    #[tokio::test]
    async fn one_leads_and_all_share_the_end() {
        let collapse = Collapse::new(Duration::from_secs(1));
        let (leader, first) = lead(&collapse, at(0));
        let second = follow(&collapse, at(10));
        leader.end(7);
        assert_eq!(first.wait(PATIENCE).await, Wait::Ended(7));
        assert_eq!(second.wait(PATIENCE).await, Wait::Ended(7));
        assert_eq!(collapse.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_dead_leader_wakes_its_waiters() {
        let collapse = Collapse::new(Duration::from_secs(1));
        let (leader, first) = lead(&collapse, at(0));
        drop(leader);
        assert_eq!(first.wait(PATIENCE).await, Wait::Abandoned);
        lead(&collapse, at(1));
    }

    #[tokio::test]
    async fn an_old_fill_is_replaced_and_does_not_end_its_successor() {
        let collapse = Collapse::new(Duration::from_secs(1));
        let (old, _) = lead(&collapse, at(0));
        let (new, waiter) = lead(&collapse, at(1_001));
        old.end(1);
        let joined = follow(&collapse, at(1_002));
        new.end(2);
        assert_eq!(waiter.wait(PATIENCE).await, Wait::Ended(2));
        assert_eq!(joined.wait(PATIENCE).await, Wait::Ended(2));
    }

    #[tokio::test]
    async fn a_fill_that_was_invalidated_is_not_joined() {
        let collapse = Collapse::<u32>::new(Duration::from_secs(1));
        let Joined::Leader(_old) = collapse.join(&key(), at(0), |_| false) else { panic!("nobody else can lead") };
        assert!(matches!(collapse.join(&key(), at(1), |_| true), Joined::Leader(..)));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let collapse = Collapse::new(Duration::from_secs(1));
        let (_leader, waiter) = lead(&collapse, at(0));
        assert_eq!(waiter.wait(PATIENCE).await, Wait::Impatient);
    }
}
