//! The handles of a running watcher: to ask it, and to stop it.

use std::sync::Arc;
use std::time::Duration;

use super::threads::Threads;
use super::worker::Shared;
use crate::error::Error;
use crate::registry::Registry;
use crate::stats::{Health, Stats};

/// A running watcher that calls back.
///
/// Dropping it detaches: the watching goes on. [`stop`](Self::stop) ends it; [`stop_on_drop`](Self::stop_on_drop) makes a
/// guard of it. All methods may be called from any thread, and from inside a callback.
#[derive(Debug)]
pub struct WatcherHandle {
    threads: Threads,
}

impl WatcherHandle {
    pub(super) fn new(threads: Threads) -> Self {
        Self { threads }
    }

    /// Stops and joins: when it has returned, nothing calls back any more, and both threads have ended.
    ///
    /// It takes milliseconds whatever the interval, plus the rest of a callback that is under way. From inside a callback
    /// it does not wait for that callback; no further one follows.
    pub fn stop(self) {
        self.threads.stop();
        self.threads.finish();
    }

    /// Like [`stop`](Self::stop), but waits no longer than `timeout` for a callback or a file system that hangs.
    ///
    /// # Errors
    /// The handle, when the threads have not ended by then. They end as soon as what they hang in returns.
    pub fn stop_timeout(self, timeout: Duration) -> Result<(), Self> {
        self.threads.stop();
        if self.threads.join(Some(timeout)) { Ok(()) } else { Err(self) }
    }

    /// A handle that only stops, for other threads, callbacks and signal handlers' threads.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle::new(self.threads.shared().clone())
    }

    /// A guard that stops the watcher, and joins it, when it is dropped.
    pub fn stop_on_drop(self) -> StopGuard {
        StopGuard { handle: self }
    }

    /// What is ready now.
    pub fn registry(&self) -> Registry {
        self.threads.shared().registry.clone()
    }

    /// Lists the directory now, reads what changed, and returns when that is done and the registry is up to date. What
    /// needs time to be decided (half-written, gone missing) may still be undecided.
    ///
    /// # Errors
    /// Why the directory could not be listed; [`ErrorKind::Stopped`](crate::ErrorKind::Stopped) after a stop.
    pub fn rescan(&self) -> Result<(), Error> {
        self.threads.shared().rescan()
    }

    /// The figures, as of the last round of the scanning thread.
    pub fn stats(&self) -> Stats {
        self.threads.shared().meter.stats()
    }

    /// Whether it does its work.
    pub fn health(&self) -> Health {
        self.threads.shared().meter.health()
    }

    /// The figures, the health and the pools as text for Prometheus: the text exposition format, version 0.0.4, to be
    /// served by the host as `text/plain; version=0.0.4`. It waits for nobody, and costs microseconds, with about one more
    /// for each replica that is ready. There is a series for each pool of which there is a handoff: who can write handoffs
    /// decides how many.
    ///
    /// The names stay; a later version may add some.
    ///
    #[doc = include_str!("../metrics.md")]
    #[cfg(feature = "metrics")]
    pub fn metrics(&self) -> String {
        self.threads.shared().metrics()
    }
}

/// Stops a watcher from anywhere. Cheap to clone; it does not keep the watcher alive.
#[derive(Clone, Debug)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

impl StopHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Asks the watcher to stop, and returns at once: nothing more is handed out, and iterators end. Again does nothing.
    ///
    /// It does not wait: what another thread was being handed at that very moment, one event, may still reach it, or its
    /// callback, just after this. [`WatcherHandle::stop`] waits for that too.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Whether the watcher was asked to stop, or has ended.
    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopped()
    }
}

/// Stops the watcher, and joins it, when dropped. Everything that [`WatcherHandle`] can is reached through it.
#[derive(Debug)]
#[must_use = "dropping the guard stops the watcher"]
pub struct StopGuard {
    handle: WatcherHandle,
}

impl std::ops::Deref for StopGuard {
    type Target = WatcherHandle;

    fn deref(&self) -> &WatcherHandle {
        &self.handle
    }
}

impl Drop for StopGuard {
    fn drop(&mut self) {
        self.handle.threads.stop();
        self.handle.threads.join(None);
    }
}
