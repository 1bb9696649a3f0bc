//! Work that outlasts whoever began it.
//!
//! It is done by the task that waits for it: to wake another one, perhaps on another thread, costs more than most of the
//! work itself. If that task goes away (a client hung up, a deadline passed), the work goes on as a task of its own.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// See the module. Cancel safe in the strongest sense: to drop it is to leave it alone.
pub(super) struct Lasting<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    /// who waits for it if nobody else does
    tasks: TaskTracker,
}

impl<T: Send + 'static> Lasting<T> {
    pub(super) fn new(tasks: &TaskTracker, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), tasks: tasks.clone() }
    }
}

impl<T: Send + 'static> Future for Lasting<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken out meanwhile: what panicked is not to go on.
        let mut work = self.work.take().expect("a future is not polled after it is ready");
        let end = work.as_mut().poll(cx);
        if end.is_pending() {
            self.work = Some(work);
        }
        end
    }
}

impl<T: Send + 'static> Drop for Lasting<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && Handle::try_current().is_ok()
        {
            self.tasks.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_waits_does_the_work() {
        let tasks = TaskTracker::new();
        assert_eq!(Lasting::new(&tasks, async { 7 }).await, 7);
        assert!(tasks.is_empty());
    }

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_any_more() {
        let tasks = TaskTracker::new();
        let (go, gone) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let mut work = Lasting::new(&tasks, async move {
            gone.await.unwrap();
            tell.send(7).unwrap();
        });
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        assert_eq!(tasks.len(), 1);
        go.send(()).unwrap();
        assert_eq!(told.await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_nobody_began_is_done_as_well() {
        let tasks = TaskTracker::new();
        let (tell, told) = oneshot::channel();
        drop(Lasting::new(&tasks, async move { tell.send(7) }));
        assert_eq!(told.await, Ok(7));
    }
}
