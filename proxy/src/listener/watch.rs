//! Watches over the connections of a listener: who is slow to send the head of a request, and that all have to go.
//!
//! A timer and a subscription per connection would be asked on each request. Here a connection only notes when its patience
//! ends, and reads one byte to see whether it is called; the listener looks through all of them now and then.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hyper::rt;
use parking_lot::Mutex;

/// A deadline when nothing is waited for.
const NONE: u64 = u64::MAX;

/// The connections of one listener.
#[derive(Default)]
pub(super) struct Watch {
    watched: Mutex<Register>,
}

#[derive(Default)]
struct Register {
    next: u64,
    connections: HashMap<u64, Arc<Signals>>,
}

/// One connection under watch, until it is dropped.
pub(super) struct Watched {
    watch: Arc<Watch>,
    number: u64,
    signals: Arc<Signals>,
}

/// What passes between a connection and who watches over it.
struct Signals {
    began: Instant,
    /// nanoseconds after `began`
    deadline: AtomicU64,
    /// the deadline that was missed: a wait that began since has another one
    missed: AtomicU64,
    has_to_go: AtomicBool,
    /// of the task that drives it. Behind a lock, so that whoever sets a signal finds it, or else it finds the signal.
    waker: Mutex<Option<Waker>>,
}

impl Watch {
    /// Watches over one more.
    pub(super) fn over(self: &Arc<Self>) -> Watched {
        let signals = Arc::new(Signals {
            began: Instant::now(),
            deadline: AtomicU64::new(NONE),
            missed: AtomicU64::new(NONE),
            has_to_go: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        let mut register = self.watched.lock();
        register.next += 1;
        let number = register.next;
        register.connections.insert(number, signals.clone());
        Watched { watch: self.clone(), number, signals }
    }

    /// Calls those that wait for longer than they are allowed.
    pub(super) fn look(&self, now: Instant) {
        for signals in self.watched.lock().connections.values() {
            let deadline = signals.deadline.load(Relaxed);
            if nanos(now.saturating_duration_since(signals.began)) >= deadline {
                signals.missed.store(deadline, Release);
                signals.wake();
            }
        }
    }

    /// Calls all: they have to go when they have finished what they are at.
    pub(super) fn dismiss(&self) {
        for signals in self.watched.lock().connections.values() {
            signals.has_to_go.store(true, Release);
            signals.wake();
        }
    }
}

impl Signals {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }
}

impl Watched {
    /// The timer that hyper is to use on this connection.
    pub(super) fn timer(&self) -> Timer {
        Timer(self.signals.clone())
    }

    /// Drives the connection to its end; `dismiss` is called once when it has to go. To be awaited within one task.
    pub(super) async fn drive<C: Future>(&self, mut connection: Pin<&mut C>, dismiss: fn(Pin<&mut C>)) -> C::Output {
        let mut known = false;
        let mut dismissed = false;
        poll_fn(|cx| {
            // A task is woken by the same waker all its life.
            if !known {
                *self.signals.waker.lock() = Some(cx.waker().clone());
                known = true;
            }
            if let Poll::Ready(end) = connection.as_mut().poll(cx) {
                return Poll::Ready(end);
            }
            if dismissed || !self.signals.has_to_go.load(Acquire) {
                return Poll::Pending;
            }
            dismissed = true;
            dismiss(connection.as_mut());
            connection.as_mut().poll(cx)
        })
        .await
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.watched.lock().connections.remove(&self.number);
    }
}

/// hyper makes a sleep for each head of a request and drops it when the head is there. These note a deadline and no more.
#[derive(Clone)]
pub(super) struct Timer(Arc<Signals>);

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        let deadline = nanos(deadline.saturating_duration_since(self.0.began));
        self.0.deadline.store(deadline, Relaxed);
        Box::pin(Wait { signals: self.0.clone(), deadline })
    }
}

/// A wait for the head of a request. The task that polls it is woken by [`Watch::look`].
struct Wait {
    signals: Arc<Signals>,
    deadline: u64,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.signals.missed.load(Acquire) == self.deadline { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl rt::Sleep for Wait {}

impl Drop for Wait {
    fn drop(&mut self) {
        self.signals.deadline.store(NONE, Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NONE - 1)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use hyper::rt::Timer as _;

    use super::*;

    #[test]
    fn only_who_waits_too_long_is_called() {
        let watch = Arc::new(Watch::default());
        let (one, other) = (watch.over(), watch.over());
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut late = one.timer().sleep_until(deadline);
        let mut early = other.timer().sleep_until(deadline + Duration::from_secs(1));
        watch.look(deadline - Duration::from_millis(1));
        assert_eq!(late.as_mut().now_or_never(), None);
        watch.look(deadline);
        assert_eq!(late.as_mut().now_or_never(), Some(()));
        assert_eq!(early.as_mut().now_or_never(), None);
    }

    #[test]
    fn who_got_what_it_waited_for_is_not_late_any_more() {
        let watch = Arc::new(Watch::default());
        let one = watch.over();
        let deadline = Instant::now();
        drop(one.timer().sleep_until(deadline));
        watch.look(deadline + Duration::from_secs(1));
        let mut next = one.timer().sleep_until(deadline + Duration::from_secs(9));
        assert_eq!(next.as_mut().now_or_never(), None);
    }

    #[tokio::test]
    async fn all_are_dismissed_and_forgotten() {
        let watch = Arc::new(Watch::default());
        let one = watch.over();
        watch.dismiss();
        // A connection that ends when it is told to.
        let (told, end) = tokio::sync::oneshot::channel::<()>();
        let connection = pin!(Told { told: Some(told), end });
        one.drive(connection, |mut connection| drop(connection.told.take())).await;
        drop(one);
        assert!(watch.watched.lock().connections.is_empty());
    }

    struct Told {
        told: Option<tokio::sync::oneshot::Sender<()>>,
        end: tokio::sync::oneshot::Receiver<()>,
    }

    impl Future for Told {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.end.poll_unpin(cx).map(drop)
        }
    }
}
