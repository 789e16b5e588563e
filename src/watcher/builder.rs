//! Everything that can be set, each with its default.

use std::time::Duration;

use super::threads::Threads;
use super::{BoxError, HandoffIter, HandoffWatcher};
use crate::config::{HandoffWatcherConfig, Mode, Settings};
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

    /// What a handoff file stands for. Default: [`Mode::State`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// How many events are prepared ahead of the host. Default: 1024, what a host that writes each of them somewhere takes
    /// while a large directory is looked at. Range: 1 to 65,536. What does not fit loses nothing: it waits as a difference
    /// that is computed when there is room, between two scans. What waits here can still become another event, or none.
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

    /// Whether the process that a handoff names in its `pid` has to run. Default: no. Linux only; elsewhere the start is
    /// refused.
    ///
    /// Only for a watcher that **shares the pid namespace** of the engines: in a container of its own it sees other
    /// processes under the same numbers, or none, and would call every engine dead. With it,
    /// - a handoff is `invalid`, with the kind [`Stale`](crate::ErrorKind::Stale), if its process does not run, or is a
    ///   zombie; or started after the handoff was written, so that it is another one that was given the same number; or
    ///   if the handoff was written before this machine started. A leftover stays one until its file is written, or
    ///   touched, again;
    /// - a replica in force whose process ends is `removed` within one interval, with the reason
    ///   [`ProcessExited`](crate::RemovedReason::ProcessExited), and its file is `invalid` as above. If another file
    ///   claims the replica too, that one takes over as `updated`.
    ///
    /// A handoff without a `pid`, or with `"ready": false`, is none of this setting's business. A stale handoff that
    /// replaces a good one is like any other invalid content: the good one stays in force, as long as *its* process runs.
    /// While the directory is unavailable nothing is removed.
    ///
    /// "Written" is the file's mtime, with a tolerance of 3 s: a producer must not set it back, and a file system whose
    /// clock is another machine's must agree with this one's. If the clock is set *forward* after a handoff was written
    /// and before the watcher first saw it, a running engine looks like one that came later, and its handoff is stale
    /// until it is touched; what is in force already does not depend on any clock. If it is set back, a number that was
    /// given to another process may go unnoticed.
    ///
    /// A process that `/proc` does not show (`hidepid`, no `/proc`) counts as running for as long as there is one of that
    /// number, zombies included; the log says so once. Each poll costs three system calls for each handoff in force that
    /// has a `pid`.
    pub fn check_processes(mut self, check: bool) -> Self {
        self.settings.check_processes = check;
        self
    }

    /// Whether a notification of the kernel (inotify) lets the next scan begin at once. Default: no.
    ///
    /// A handoff is then told within a fraction of a millisecond. Polling goes on as without it, and stays the truth: where
    /// notifications cannot be had, get lost, or are never sent (NFS, FUSE, and a directory that does not exist yet), all
    /// is told as late as without them. [`Health::mode`](crate::Health::mode) says which it is.
    ///
    /// A file that was renamed into place is believed at once, unless somebody else has opened it by then (another watcher
    /// of the directory, for example), or it has a second name: then, and where a file was written under its final name, it
    /// has to stay the same for 50 ms. So it is with what was written and renamed within one tick of the clock on other file
    /// systems than ext4, XFS, Btrfs, F2FS and tmpfs. Before Linux 6.13 a notification is acted on one such tick later (1
    /// to 10 ms): until then stamps do not show every change.
    ///
    /// A storm of notifications causes at most one scan in 5 ms, and beyond what the polls cost no more than a fifth of one
    /// processor's time.
    #[cfg(feature = "inotify")]
    pub fn instant(mut self, instant: bool) -> Self {
        self.settings.instant = instant;
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
