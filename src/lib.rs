//! Watches a directory of engine handoff files, and tells its host what is ready.
//!
//! On a GPU node an engine-provisioner starts an LLM engine and writes a small JSON file, the *handoff*, into
//! `.runtime/engines/`. The pool manager on that node embeds this crate, learns of the engine within 2 seconds
//! (CLOUD-3013), and says so with its next heartbeat. It is synchronous: a plain thread polls with `std` and system calls,
//! a bounded channel feeds an iterator or a callback, and there is no async runtime.
//!
//! ```
//! use std::path::PathBuf;
//! use handoff_watcher::{HandoffWatcher, HandoffWatcherConfig, HandoffPayload};
//! let callback = Box::new(|payload: HandoffPayload| {
//!     println!("Engine ready: {} at {}", payload.pool_id, payload.url);
//!     Ok(())
//! });
//! let config = HandoffWatcherConfig {
//!     runtime_dir: PathBuf::from(".runtime/engines"),
//!     poll_interval_ms: 1000,
//! };
//! let watcher = HandoffWatcher::new(config, callback);
//! let handle = watcher.spawn();
//! # handle.stop();
//! ```
//!
//! # The flow
//!
//! ```text
//! scan [fs] ─▶ reconcile [pure] ─▶ read [fs] ─▶ parse [pure] ─▶ reconcile [pure] ─▶ deliver [channel] ─▶ host
//! ```
//!
//! The core is a state machine without a clock, disk, thread or channel. The scanning thread is the one place that joins
//! the stages; they do not know each other.
//!
//! # Where to start
//!
//! - [`HandoffWatcher::new`]: a callback for each payload that is ready. [`HandoffWatcher::builder`] has every setting, and
//!   a callback for every event.
//! - [`HandoffWatcher::iter`]: the same as an iterator of [`HandoffEvent`], with a file descriptor for event loops.
//! - [`Registry`]: what is ready now, for hosts that want to ask rather than be told.
//! - [`publish`] and [`withdraw`]: the producer's side.
//!
//! # What is promised
//!
//! Let *quiet* mean that no writer has touched the directory for 2 seconds.
//!
//! 1. **Nothing is lost.** When the directory is quiet, what the host was told equals what the directory says. A change is
//!    seen within one poll interval plus 100 ms after its last byte, however the file was changed: renamed over,
//!    overwritten in place, replaced by an older file, rewritten with the same size and a restored mtime.
//! 2. **Nothing is told twice.** A version is delivered once; `touch`, or the same bytes again, is no event. A delivery
//!    counts when the host took it.
//! 3. **Nothing is made up.** No removal without a removed file; what cannot be listed, read or parsed is not a removal,
//!    and the last good version stays in force. No payload mixes two versions.
//! 4. **A bad file harms only itself.** One `invalid` per bad content, with file, place and reason. Half-written files get
//!    one second before they are called that.
//! 5. **Bounded.** Memory is a function of the number of files, not of changes, nor of how slow the host is.
//! 6. **The host is safe.** A callback that fails or panics is tried again with backoff; one that hangs delays only
//!    deliveries. After `stop` has returned, nothing calls back.
//! 7. **It can be watched.** [`Stats`] and [`Health`], at any time.
//!
//! # Limits
//!
//! - Unix only; Linux is what it is tested on.
//! - The directory is not searched recursively; hidden files and names that do not end in `.json` are ignored.
//! - A writer that overwrites a file in place *without truncating it*, in pieces more than 50 ms apart, cannot be told from
//!   one that has finished: use [`publish`], or rename.
//! - What is written through a shared `mmap` is seen when the kernel gives the file another time.
//! - Two versions of a file that hash to the same 64 bits would be taken for one.
//! - A child that is forked has no part in the watchers of its parent: to stop or drop its copies does nothing there, and
//!   nothing else may be done with them. It may start watchers of its own; where other threads of the parent were in the
//!   library at that moment, those may hang: fork before, or let the child exec.
//! - By default what the directory says is believed: who can write to it can route requests; see [`TrustPolicy`].

#[cfg(not(unix))]
compile_error!("handoff-watcher needs a Unix: it tells files apart by device, inode and change time");

// What the README shows, compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod bell;
mod config;
mod consume;
mod deliver;
mod directory;
mod error;
mod event;
#[cfg(all(feature = "capi", unix))]
mod ffi;
mod hidden;
#[cfg(all(feature = "inotify", any(target_os = "linux", target_os = "android")))]
mod instant;
#[cfg(not(all(feature = "inotify", any(target_os = "linux", target_os = "android"))))]
#[path = "no_instant.rs"]
mod instant;
mod listing;
mod log;
#[cfg(feature = "metrics")]
mod metrics;
mod payload;
mod process;
mod publish;
mod read;
mod readable;
mod reconcile;
mod registry;
mod replica;
mod scan;
mod stats;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
mod sync;
mod trust;
mod watcher;

pub use config::{
    DEFAULT_POLL_INTERVAL_MS, DEFAULT_RUNTIME_DIR, HandoffWatcherConfig, Mode, RUNTIME_DIR_VARIABLE,
    WATCH_INTERVAL_VARIABLE,
};
pub use deliver::NextError;
pub use error::{Error, ErrorKind};
pub use event::{HandoffEvent, RemovedReason};
pub use payload::{HandoffPayload, Model};
pub use publish::{publish, withdraw};
pub use registry::{PoolStatus, Registry};
pub use stats::{EventCounts, Health, LATENCY_BUCKETS_MS, LATENCY_OBJECTIVE, Latency, ScanMode, Stats};
pub use trust::TrustPolicy;
pub use watcher::{BoxError, HandoffIter, HandoffWatcher, HandoffWatcherBuilder, StopGuard, StopHandle, WatcherHandle};

/// The core under any sequence of acts on a simulated disk, for the fuzzer alone.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_core(bytes: &[u8]) {
    reconcile::tests::fuzz(bytes);
}

/// A document by way of the compact form, for the fuzzer alone.
///
/// # Errors
/// As [`HandoffPayload::parse`].
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_handoff(bytes: &[u8]) -> Result<HandoffPayload, Error> {
    payload::Handoff::of(bytes).map(|handoff| handoff.payload())
}
