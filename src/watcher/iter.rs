//! The events as an iterator.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::StopHandle;
use super::threads::Threads;
use crate::deliver::NextError;
use crate::error::Error;
use crate::event::HandoffEvent;
use crate::registry::Registry;
use crate::stats::{Health, Stats};

/// How long dropping an iterator waits for a scanning thread that hangs in the file system before it lets go of it.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// The events of a running watcher, which it owns: dropping it stops the watcher.
///
/// An event counts as taken when it is handed out. What the host does not take piles up nowhere: it collapses into one
/// event per replica. The iteration ends only by a [stop](Self::stop_handle).
///
/// It can be shared between threads by reference: each event goes to one of them.
///
/// On Unix it is [`AsFd`]: the descriptor is readable exactly while an event waits, and for good once the watcher has
/// stopped. Poll it, then call [`try_next`](Self::try_next) until it gives [`NextError::Timeout`]; never read from it.
///
/// ```
/// use handoff_watcher::{HandoffEvent, HandoffPayload, HandoffWatcher, HandoffWatcherConfig};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("a.json"), r#"{"pool_id":"pool-0","replica_id":"r0","url":"http://localhost:8080"}"#)?;
/// let config = HandoffWatcherConfig { runtime_dir: dir.path().to_owned(), poll_interval_ms: 1000 };
/// for event in HandoffWatcher::iter(config)? {
///     match event {
///         HandoffEvent::Ready { payload, .. } => assert_eq!(payload.url, "http://localhost:8080"),
///         HandoffEvent::Synced => break,
///         other => println!("{}", other.name()),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HandoffIter {
    threads: Threads,
    readable: Arc<UnixStream>,
}

impl HandoffIter {
    pub(super) fn new(threads: Threads) -> Result<Self, Error> {
        let readable = threads.shared().channel.readable().map_err(|source| {
            threads.stop();
            let message = format!("cannot make the descriptor that tells of waiting events: {source}");
            Error::new(crate::error::ErrorKind::Io, message)
        })?;
        Ok(Self { threads, readable })
    }

    /// The next event, without waiting.
    ///
    /// # Errors
    /// [`NextError::Timeout`] when none waits, [`NextError::Stopped`] after a stop.
    pub fn try_next(&self) -> Result<HandoffEvent, NextError> {
        self.next_timeout(Duration::ZERO)
    }

    /// The next event, waiting at most for `timeout`; `Duration::MAX` waits forever.
    ///
    /// # Errors
    /// [`NextError::Timeout`] when none came, [`NextError::Stopped`] after a stop.
    pub fn next_timeout(&self, timeout: Duration) -> Result<HandoffEvent, NextError> {
        self.threads.shared().next(Some(timeout))
    }

    /// A handle that ends the iteration from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle::new(self.threads.shared().clone())
    }

    /// What is ready now. It follows the directory whether or not events are taken.
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

    /// The figures, the health and the pools as text for Prometheus; see
    /// [`WatcherHandle::metrics`](crate::WatcherHandle::metrics).
    #[cfg(feature = "metrics")]
    pub fn metrics(&self) -> String {
        self.threads.shared().metrics()
    }
}

impl Iterator for HandoffIter {
    type Item = HandoffEvent;

    /// Waits for the next event; `None` after a stop.
    fn next(&mut self) -> Option<HandoffEvent> {
        self.next_timeout(Duration::MAX).ok()
    }
}

impl std::iter::FusedIterator for HandoffIter {}

impl AsFd for HandoffIter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}

impl Drop for HandoffIter {
    fn drop(&mut self) {
        self.threads.stop();
        self.threads.join(Some(DROP_PATIENCE));
    }
}
