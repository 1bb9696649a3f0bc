//! The one task that follows the history: it hears announcements, and once per poll interval does a round of whatever
//! is due, in this order: subscribe, announce what is owed, resync or poll, probe the breaker.

use std::{future::pending, pin::Pin, sync::Arc, time::Duration};

use fred::{
    clients::{Client, SubscriberClient},
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{Message, config::Server},
};
use smallvec::SmallVec;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{Observer, message, pending::Pending, scripts, vigil::Vigil};
use crate::{
    breaker::Breaker,
    clock::{Clock, Moment},
    coherence::{Announcement, Coherence, Follower, Position, Snapshot},
    error::RedisError,
    outcome::ResyncReason,
    redis::{RedisLink, within},
};

pub(super) struct Driver {
    follower: Follower,
    round: Rounds,
    observer: Arc<dyn Observer>,
    /// counts the subscriber's connections, so that a subscription made on a lost one does not count
    connection: u64,
    subscribed_on: Option<u64>,
    last_refusal: Option<String>,
    vigils: Vigils,
}

/// The watch over the three connections.
struct Vigils {
    data: Vigil<Client>,
    control: Vigil<Client>,
    subscriber: Vigil<SubscriberClient>,
}

/// What a round needs; shared with the future that runs it.
#[derive(Clone)]
struct Rounds {
    link: RedisLink,
    scripts: scripts::Scripts,
    breaker: Arc<Breaker>,
    pending: Arc<Pending>,
    coherence: Arc<Coherence>,
    clock: Clock,
}

/// What a round is to do besides what is always due.
#[derive(Debug, Clone, Copy)]
struct Orders {
    /// the connection on which nothing was subscribed yet
    subscribe: Option<u64>,
    resync: Option<ResyncReason>,
}

/// What a round came back with.
struct Report {
    /// the connection on which a subscription was made
    subscribed_on: Option<u64>,
    /// why the table was to be read, if it was
    resync: Option<ResyncReason>,
    sent_at: Moment,
    heard: Result<Heard, RedisError>,
    /// whether the subscriber's connection answers
    subscriber: Result<(), RedisError>,
    /// whether that for entries does, if it was asked
    data: Option<Result<(), RedisError>>,
}

enum Heard {
    Position(Position),
    Snapshot(Snapshot),
}

type Running = Pin<Box<dyn Future<Output = Report> + Send>>;

/// How often a node that starts does a round: until its first lease, what is stored answers nobody.
const EAGER: Duration = Duration::from_millis(10);
/// For so many times `max_staleness` at most: by then it is not this node that keeps it waiting.
const EAGER_FOR: u32 = 2;

impl Driver {
    pub(super) fn new(
        link: RedisLink,
        scripts: scripts::Scripts,
        coherence: Arc<Coherence>,
        breaker: Arc<Breaker>,
        pending: Arc<Pending>,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let vigils = Vigils {
            data: Vigil::over(link.data.clone(), "data"),
            control: Vigil::over(link.control.clone(), "control"),
            subscriber: Vigil::over(link.subscriber.clone(), "subscriber"),
        };
        Self {
            follower: Follower::new(coherence.clone()),
            round: Rounds { link, scripts, breaker, pending, coherence, clock },
            observer,
            connection: 0,
            subscribed_on: None,
            last_refusal: None,
            vigils,
        }
    }

    pub(super) async fn run(mut self) {
        let mut messages = self.round.link.subscriber.message_rx();
        let mut reconnects = self.round.link.subscriber.reconnect_rx();
        let mut due = every(EAGER.min(self.follower.poll_interval()));
        let mut eager_until = Some(self.round.clock.now().plus(self.round.coherence.max_staleness() * EAGER_FOR));
        let mut running: Option<Running> = None;
        loop {
            let start = tokio::select! {
                message = messages.recv() => self.on_message(message),
                reconnect = reconnects.recv() => self.on_reconnect(&reconnect),
                report = finished(&mut running) => {
                    running = None;
                    self.on_report(report)
                }
                _ = due.tick() => {
                    self.watch_lease();
                    let now = self.round.clock.now();
                    if eager_until.take_if(|until| self.round.coherence.lease_held(now) || now >= *until).is_some() {
                        due = every(self.follower.poll_interval());
                    }
                    true
                }
            };
            if start && running.is_none() {
                let subscribe = (self.subscribed_on != Some(self.connection)).then_some(self.connection);
                let orders = Orders { subscribe, resync: self.follower.snapshot_asked() };
                running = Some(Box::pin(self.round.clone().run(orders)));
            }
        }
    }

    /// Tells of a lease that is over; before anything that may bring a new one.
    fn watch_lease(&mut self) {
        let Some(reason) = self.follower.lapsed(self.round.clock.now()) else { return };
        tracing::debug!(reason = reason.as_str(), "coherence cannot be proven for now");
        self.observer.lapsed(reason);
    }

    /// Each handler says whether a round should start at once.
    fn on_message(&mut self, message: Result<Message, RecvError>) -> bool {
        self.watch_lease();
        match message {
            Ok(message) => match message.value.as_bytes().map(|bytes| message::parse(bytes.to_vec().into())) {
                Some(Ok(announcement)) => self.follower.on_announcement(&announcement, self.round.clock.now()),
                Some(Err(error)) => tracing::warn!(%error, "an announcement cannot be read"),
                None => tracing::warn!("an announcement is not a string"),
            },
            // Messages came faster than they were applied and the oldest were dropped: a gap like any other.
            Err(RecvError::Lagged(_)) => self.follower.want_snapshot(ResyncReason::Gap),
            Err(RecvError::Closed) => return false,
        }
        self.follower.wants_snapshot().is_some()
    }

    fn on_reconnect(&mut self, reconnect: &Result<Server, RecvError>) -> bool {
        self.connection += 1;
        reconnect.is_ok()
    }

    /// A failed round is tried again when the next is due, and not at once.
    fn on_report(&mut self, report: Report) -> bool {
        self.watch_lease();
        self.subscribed_on = report.subscribed_on.or(self.subscribed_on);
        let now = self.round.clock.now();
        self.vigils.subscriber.hear(&report.subscriber, now);
        self.vigils.control.hear(&report.heard, now);
        if let Some(data) = &report.data {
            self.vigils.data.hear(data, now);
        }
        match report.heard {
            Ok(heard) => {
                self.last_refusal = None;
                self.on_heard(report.resync, report.sent_at, heard);
                self.follower.wants_snapshot().is_some()
            }
            Err(error) => {
                self.refused(&error);
                if let Some(reason) = report.resync {
                    self.follower.want_snapshot(reason);
                }
                false
            }
        }
    }

    fn on_heard(&mut self, resync: Option<ResyncReason>, sent_at: Moment, heard: Heard) {
        match heard {
            Heard::Position(position) => self.follower.on_poll(sent_at, position),
            Heard::Snapshot(snapshot) => {
                self.follower.on_snapshot(sent_at, &snapshot, self.round.clock.now());
                let reason = resync.unwrap_or(ResyncReason::Start);
                tracing::info!(reason = reason.as_str(), seq = snapshot.position.seq.0, epoch = %snapshot.position.epoch, "resynced");
                self.observer.resynced(reason);
            }
        }
    }

    /// Says each refusal once, not eight times a second.
    fn refused(&mut self, error: &RedisError) {
        let text = error.to_string();
        if self.last_refusal.as_ref() != Some(&text) {
            tracing::warn!(%error, "coherence cannot be proven: redis does not answer as it should");
            self.last_refusal = Some(text);
        }
    }
}

impl Rounds {
    async fn run(self, orders: Orders) -> Report {
        let subscriber = self.subscribe(orders).await;
        let subscribed_on = orders.subscribe.filter(|_| subscriber.is_ok());
        // A new subscription needs the table: nothing was heard before it.
        let resync = orders.resync.or(subscribed_on.map(|_| ResyncReason::Reconnect));
        let (sent_at, heard) = match self.announce_pending().await {
            Ok(()) => self.ask(resync).await,
            Err(error) => (self.clock.now(), Err(error)),
        };
        let data = match &heard {
            Ok(_) => self.probe().await,
            Err(error) => {
                self.breaker.trip(error);
                None
            }
        };
        Report { subscribed_on, resync, sent_at, heard, subscriber, data }
    }

    /// Subscribes if that was not done on this connection yet, and looks whether the connection lives.
    async fn subscribe(&self, orders: Orders) -> Result<(), RedisError> {
        let subscriber = &self.link.subscriber;
        let answered = async {
            if orders.subscribe.is_some() {
                subscriber.subscribe(self.scripts.channel()).await?;
            }
            // To the library a subscription is made when it is sent. This is answered after it.
            subscriber.ping::<()>(None).await
        };
        let answer = within(self.link.timeout, answered).await;
        answer.inspect_err(|error| tracing::debug!(%error, "announcements cannot be heard"))
    }

    /// What this node owes comes before what it asks for: it may not renew its own trust first.
    async fn announce_pending(&self) -> Result<(), RedisError> {
        let Some((slots, kind)) = self.pending.take() else { return Ok(()) };
        match self.scripts.announce(&slots, kind).await {
            Ok(token) => {
                let announcement =
                    Announcement { epoch: token.epoch, seq: token.seq, kind, slots, writes: SmallVec::new() };
                self.coherence.apply_own(&announcement, self.clock.now());
                // Only now: until it is applied, this node must not believe what its peers stored (see `owes`).
                self.pending.settle(None);
                Ok(())
            }
            Err(error) => {
                self.pending.settle(Some((slots, kind)));
                Err(error)
            }
        }
    }

    async fn ask(&self, resync: Option<ResyncReason>) -> (Moment, Result<Heard, RedisError>) {
        let sent_at = self.clock.now();
        let heard = if resync.is_some() {
            self.scripts.snapshot().await.map(Heard::Snapshot)
        } else {
            self.scripts.poll().await.map(Heard::Position)
        };
        (sent_at, heard)
    }

    /// The polls answer; the connection that carries the entries must answer as well before requests use it again.
    async fn probe(&self) -> Option<Result<(), RedisError>> {
        if !self.breaker.is_open() {
            return None;
        }
        let answer = within(self.link.timeout, self.link.data.ping::<()>(None)).await;
        if answer.is_ok() {
            self.breaker.close();
        }
        Some(answer)
    }
}

/// Ticks at once, and from then on.
fn every(period: Duration) -> Interval {
    let mut due = interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due
}

async fn finished(running: &mut Option<Running>) -> Report {
    match running {
        Some(round) => round.await,
        None => pending().await,
    }
}
