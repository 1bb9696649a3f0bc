//! One who listens.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::sleep,
};

use super::{Event, EventId, Found, Name, Shared, hub::Hub, id::Gap};

/// Pause before Redis is asked again after it failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Listens to a channel until it is dropped.
pub struct Listener {
    shared: Arc<Shared>,
    channel: Name,
    /// kept alive by those who listen
    _hub: Arc<Hub>,
    events: broadcast::Receiver<Found>,
    /// the last event that was heard
    position: EventId,
    /// read, and not heard yet
    pending: VecDeque<Found>,
    behind: Behind,
}

/// Whether the stream has to be read before what the hub hands on makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Yes,
    No,
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// an event
    Event(Event),
    /// events that are not there any more or cannot be read, and how many, if that is known
    Lost(Option<u64>),
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>, channel: Name, hub: Arc<Hub>, position: EventId) -> Self {
        let events = hub.events();
        Self { shared, channel, _hub: hub, events, position, pending: VecDeque::new(), behind: Behind::Yes }
    }

    /// The next thing to be heard. While Redis is away, nothing is.
    ///
    /// # Cancel safety
    /// Dropped halfway, nothing is lost.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(event) = self.pending.front() {
                let gap = self.position.gap_to(event.id);
                if gap == Gap::None {
                    let Found { id, data } = self.pending.pop_front().expect("it was just looked at");
                    self.position = id;
                    return data.map_or(Heard::Lost(Some(1)), |data| Heard::Event(Event { id, data }));
                }
                // What lies between was looked for in the stream, and is not there.
                self.position = event.id.before();
                return Heard::Lost(gap.count());
            }
            match self.behind {
                Behind::Yes => self.read().await,
                Behind::No => self.hear().await,
            }
        }
    }

    async fn read(&mut self) {
        match self.shared.page(&self.channel, self.position).await {
            Ok(page) if page.is_empty() => self.behind = Behind::No,
            Ok(page) => self.pending.extend(page),
            Err(_) => sleep(PAUSE).await,
        }
    }

    async fn hear(&mut self) {
        match self.events.recv().await {
            // Heard already, from the stream.
            Ok(event) if event.id <= self.position => {}
            Ok(event) if self.position.gap_to(event.id) == Gap::None => self.pending.push_back(event),
            Ok(_) | Err(RecvError::Lagged(_)) => self.behind = Behind::Yes,
            // Not while this listener keeps the hub.
            Err(RecvError::Closed) => sleep(PAUSE).await,
        }
    }
}
