//! One reader per node and channel, for all who listen there.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use fred::{
    clients::SubscriberClient,
    interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _},
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, broadcast, broadcast::error::RecvError},
    task::JoinHandle,
    time::timeout,
};

use super::{Found, Name, Shared};

/// Events that a hub holds for those who are a little behind.
const HELD: usize = 256;
/// A hub that nobody wakes looks by itself: a message may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The hubs of a node, and the connection on which they are woken, made when the first is.
pub(super) struct Hubs {
    shared: Arc<Shared>,
    hubs: Arc<Mutex<HashMap<String, Weak<Hub>>>>,
    waker: Mutex<Option<Waker>>,
}

/// Hands on what is new in a channel, as long as somebody listens.
pub(super) struct Hub {
    events: broadcast::Sender<Found>,
    wake: Notify,
    /// what the hub has to be found by
    name: String,
    hubs: Arc<Mutex<HashMap<String, Weak<Hub>>>>,
    waker: SubscriberClient,
}

struct Waker {
    client: SubscriberClient,
    task: JoinHandle<()>,
}

impl Hubs {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, hubs: Arc::default(), waker: Mutex::new(None) }
    }

    /// The hub of this channel. It does not read before somebody listens.
    pub(super) fn join(&self, channel: &Name) -> Arc<Hub> {
        let name = self.shared.names(channel).swap_remove(0);
        let waker = self.waker();
        let mut hubs = self.hubs.lock();
        if let Some(hub) = hubs.get(&name).and_then(Weak::upgrade) {
            return hub;
        }
        let hub = Arc::new(Hub {
            events: broadcast::Sender::new(HELD),
            wake: Notify::new(),
            name: name.clone(),
            hubs: self.hubs.clone(),
            waker: waker.clone(),
        });
        hubs.insert(name.clone(), Arc::downgrade(&hub));
        // Ends when the last listener has let go of the hub.
        tokio::spawn(read(self.shared.clone(), channel.clone(), Arc::downgrade(&hub)));
        // It is made again after a lost connection, and until it is made the hub looks by itself.
        tokio::spawn(async move { drop(waker.subscribe(name).await) });
        hub
    }

    fn waker(&self) -> SubscriberClient {
        let mut waker = self.waker.lock();
        let waker = waker.get_or_insert_with(|| {
            let client = self.shared.keys.subscriber();
            let task = tokio::spawn(wake(client.clone(), self.hubs.clone()));
            Waker { client, task }
        });
        waker.client.clone()
    }
}

impl Hub {
    pub(super) fn events(&self) -> broadcast::Receiver<Found> {
        self.events.subscribe()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let mut hubs = self.hubs.lock();
        // Another one may have taken its place meanwhile.
        if hubs.get(&self.name).is_some_and(|hub| hub.strong_count() == 0) {
            hubs.remove(&self.name);
            let (waker, name) = (self.waker.clone(), std::mem::take(&mut self.name));
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { drop(waker.unsubscribe(name).await) });
            }
        }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.task.abort();
        let client = self.client.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(client.quit().await) });
        }
    }
}

/// Wakes hubs by the name of their channel.
async fn wake(client: SubscriberClient, hubs: Arc<Mutex<HashMap<String, Weak<Hub>>>>) {
    let mut messages = client.message_rx();
    drop((client.connect(), client.manage_subscriptions()));
    let of = |name: &str| hubs.lock().get(name).and_then(Weak::upgrade);
    loop {
        match messages.recv().await {
            Ok(message) => {
                if let Some(hub) = of(&message.channel) {
                    hub.wake.notify_one();
                }
            }
            // Whoever was not woken looks by itself.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Reads what is new and hands it on.
async fn read(shared: Arc<Shared>, channel: Name, hub: Weak<Hub>) {
    let mut position = None;
    while let Some(hub) = hub.upgrade() {
        let news = match position {
            // Listeners find what came before by themselves.
            None => shared.tail(&channel).await.map(|tail| {
                position = Some(tail);
                Vec::new()
            }),
            Some(after) => shared.page(&channel, after).await,
        };
        let news = news.unwrap_or_default();
        position = news.last().map(|event| event.id).or(position);
        let is_more = !news.is_empty();
        for event in news {
            // Nobody listens at this moment: it will not be missed.
            drop(hub.events.send(event));
        }
        if !is_more {
            // Held on to while it waits: whoever comes meanwhile joins it.
            drop(timeout(LOOK_EVERY, hub.wake.notified()).await);
        }
    }
}
