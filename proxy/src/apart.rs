//! A thread apart, for what proves coherence.
//!
//! A lease is as good as the polls and heartbeats that renew it. Where requests take all the processor there is, a thread
//! that answers them waits its turn, and what it proves of freshness is late; one that mostly sleeps is let in at once. So
//! the connections to the peers, and the change feed, have a thread that does nothing else.

use std::io;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

/// A runtime with one thread, until it is dropped.
pub(crate) struct Apart {
    /// taken by the drop
    runtime: Option<Runtime>,
}

impl Apart {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("coherence").enable_all().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("only the drop takes it").handle()
    }

    /// What is spawned until the guard is dropped, runs there.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.handle().enter()
    }
}

impl Drop for Apart {
    /// Waits for nobody: whoever has tasks there has ended them, or does not care.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
