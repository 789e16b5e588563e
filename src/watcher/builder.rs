//! Everything that can be set, each with its default.

use std::time::Duration;

use super::threads::Threads;
use super::{BoxError, HandoffIter, HandoffWatcher};
use crate::config::{HandoffWatcherConfig, Settings};
use crate::error::Error;
use crate::event::HandoffEvent;
use crate::payload::HandoffPayload;
use crate::trust::TrustPolicy;

/// Sets up a watcher: settings first, then how it delivers, by [`on_payload`](Self::on_payload),
/// [`on_event`](Self::on_event) or [`iter`](Self::iter).
///
/// Impossible values are refused when the watcher is started, with an error that names the setting; nothing is clamped.
///
/// ```
/// use std::time::Duration;
/// use handoff_watcher::{HandoffWatcher, HandoffWatcherConfig};
///
/// let handle = HandoffWatcher::builder(HandoffWatcherConfig::default())
///     .settle_time(Duration::from_millis(500))
///     .on_event(|event| {
///         println!("{}", event.name());
///         Ok(())
///     })
///     .try_spawn()?;
/// # handle.stop();
/// # Ok::<(), handoff_watcher::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is watched before it is started"]
pub struct HandoffWatcherBuilder {
    settings: Settings,
}

impl HandoffWatcherBuilder {
    pub(super) fn new(config: HandoffWatcherConfig) -> Self {
        Self { settings: config.into() }
    }

    /// How many events are prepared ahead of the host. Default: 64. Range: 1 to 65,536. What does not fit loses nothing:
    /// it waits as a difference that is computed when there is room.
    pub fn channel_capacity(mut self, events: usize) -> Self {
        self.settings.channel_capacity = events;
        self
    }

    /// The largest file that is accepted, in bytes. Default: 1 MiB. Range: 1 byte to 1 GiB. A larger one is `invalid`, and
    /// is not read.
    pub fn max_file_size(mut self, bytes: u64) -> Self {
        self.settings.max_file_size = bytes;
        self
    }

    /// How long unusable content must have stayed the same before it is called `invalid`: until then it may be
    /// half-written. Default: 1 s. Range: 0 (at once) to one hour.
    pub fn settle_time(mut self, time: Duration) -> Self {
        self.settings.settle_time = time;
        self
    }

    /// How long to wait before an event that the callback refused is tried again: the first time, and at most. It doubles
    /// with each refusal, and starts anew with new content. Default: 100 ms to 30 s. Range: 1 ms to one day.
    pub fn retry_backoff(mut self, first: Duration, most: Duration) -> Self {
        self.settings.retry_backoff = (first, most);
        self
    }

    /// Whether handoffs may be symbolic links. Default: yes. If not, a link is `invalid`. The watched directory itself may
    /// always be one.
    pub fn follow_symlinks(mut self, follow: bool) -> Self {
        self.settings.follow_symlinks = follow;
        self
    }

    /// Whose handoffs are believed. Default: everybody's who may write them. With a policy, a file that breaks one of its
    /// rules is `invalid`, and a watched directory that does is `unavailable`; see [`TrustPolicy`].
    pub fn trust(mut self, policy: TrustPolicy) -> Self {
        self.settings.trust = Some(policy);
        self
    }

    /// The name of the scanning thread; that of the callback thread is the same with `-cb` behind it. Default:
    /// `handoff-watcher`. Linux shows the first 15 bytes.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.settings.thread_name = name.into();
        self
    }

    /// Delivers the payload of each `ready` and `updated`; see [`HandoffWatcher::new`] for the rules of the callback.
    pub fn on_payload<F>(self, callback: F) -> HandoffWatcher
    where
        F: Fn(HandoffPayload) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.on_event(move |event| match event {
            HandoffEvent::Ready { payload, .. } | HandoffEvent::Updated { payload, .. } => callback(payload),
            _ => Ok(()),
        })
    }

    /// Delivers every event; see [`HandoffWatcher::new`] for the rules of the callback.
    pub fn on_event<F>(self, callback: F) -> HandoffWatcher
    where
        F: Fn(HandoffEvent) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        HandoffWatcher { settings: self.settings, callback: Box::new(callback) }
    }

    /// Starts the watcher and returns its events as an iterator, which owns it.
    ///
    /// # Errors
    /// As [`HandoffWatcher::iter`].
    pub fn iter(self) -> Result<HandoffIter, Error> {
        HandoffIter::new(Threads::start(self.settings, None)?)
    }
}
