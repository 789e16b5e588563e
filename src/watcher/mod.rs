//! [thread] The watcher as a host sees it: how it is set up, started, asked and stopped.
//!
//! [`HandoffWatcher`] and its builder set up; [`WatcherHandle`] (callbacks) and [`HandoffIter`] (iterator) run; the
//! scanning thread itself is in `worker`, what it deletes in `taking`, starting and stopping in `threads`.

mod builder;
mod handle;
mod iter;
mod taking;
mod threads;
mod worker;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use builder::HandoffWatcherBuilder;
pub use handle::{StopGuard, StopHandle, WatcherHandle};
pub use iter::HandoffIter;

use crate::config::{HandoffWatcherConfig, Settings};
use crate::error::Error;
use crate::payload::HandoffPayload;
pub(crate) use threads::{EventCallback, Threads};

/// What a callback may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A watcher that is set up and not started yet.
///
/// ```
/// # use std::path::PathBuf;
/// use handoff_watcher::{HandoffWatcher, HandoffWatcherConfig, HandoffPayload};
/// let callback = Box::new(|payload: HandoffPayload| {
///     println!("Engine ready: {} at {}", payload.pool_id, payload.url);
///     Ok(())
/// });
/// let config = HandoffWatcherConfig {
///     runtime_dir: PathBuf::from(".runtime/engines"),
///     poll_interval_ms: 1000,
/// };
/// let watcher = HandoffWatcher::new(config, callback);
/// let handle = watcher.spawn();
/// # handle.stop();
/// ```
#[must_use = "nothing is watched before `spawn`"]
pub struct HandoffWatcher {
    settings: Settings,
    callback: EventCallback,
}

impl HandoffWatcher {
    /// A watcher that calls back with the payload of each `ready` and `updated`; everything else shows in the
    /// [registry](WatcherHandle::registry), the [stats](WatcherHandle::stats) and the log. For all events, see
    /// [`HandoffWatcherBuilder::on_event`].
    ///
    /// The callback runs on a thread of the library, never two at once, with no lock held. It may take as long as it
    /// likes: that delays deliveries, not the scanning, and changes that come meanwhile collapse into one per replica.
    /// One that returns an error, or panics, is called again with what is true then, after 100 ms, 200 ms, … up to 30 s.
    pub fn new<F>(config: HandoffWatcherConfig, callback: F) -> Self
    where
        F: Fn(HandoffPayload) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        Self::builder(config).on_payload(callback)
    }

    /// Starts a watcher and returns its events as an iterator, which owns it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an impossible configuration, [`ErrorKind::Spawn`](
    /// crate::ErrorKind::Spawn) when the thread cannot be started, [`ErrorKind::Io`](crate::ErrorKind::Io) when the
    /// descriptor behind `AsFd` cannot be made. A directory that is missing is no error: it is waited for.
    pub fn iter(config: HandoffWatcherConfig) -> Result<HandoffIter, Error> {
        Self::builder(config).iter()
    }

    /// For everything that the configuration does not have.
    pub fn builder(config: HandoffWatcherConfig) -> HandoffWatcherBuilder {
        HandoffWatcherBuilder::new(config)
    }

    /// Starts watching. The watching goes on when the handle is dropped, as a thread does.
    ///
    /// # Panics
    /// When the configuration is impossible or a thread cannot be started; see [`try_spawn`](Self::try_spawn).
    pub fn spawn(self) -> WatcherHandle {
        self.try_spawn().unwrap_or_else(|error| panic!("cannot start the handoff watcher: {error}"))
    }

    /// Starts watching. The watching goes on when the handle is dropped, as a thread does.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an impossible configuration,
    /// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn) when a thread cannot be started.
    pub fn try_spawn(self) -> Result<WatcherHandle, Error> {
        Threads::start(self.settings, Some(self.callback)).map(WatcherHandle::new)
    }
}

impl fmt::Debug for HandoffWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoffWatcher").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What a panic says. Whoever panicked may also panic when that is dropped.
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic without a text").to_owned();
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // There is no end to this but to let it lie.
        std::mem::forget(again);
    }
    text
}
