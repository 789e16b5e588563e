//! handoff-watcher

mod config;
mod deliver;
mod directory;
mod error;
mod event;
mod listing;
mod payload;
mod publish;
mod read;
#[cfg(unix)]
mod readable;
mod reconcile;
mod registry;
mod replica;
mod scan;
mod stats;
mod watcher;

pub use config::{
    DEFAULT_POLL_INTERVAL_MS, DEFAULT_RUNTIME_DIR, HandoffWatcherConfig, RUNTIME_DIR_VARIABLE, WATCH_INTERVAL_VARIABLE,
};
pub use deliver::NextError;
pub use error::{Error, ErrorKind};
pub use event::{HandoffEvent, RemovedReason};
pub use payload::{HandoffPayload, Model};
pub use publish::{publish, withdraw};
pub use registry::{PoolStatus, Registry};
pub use stats::{EventCounts, Health, LATENCY_BUCKETS_MS, LATENCY_OBJECTIVE, Latency, Stats};
pub use watcher::{BoxError, HandoffIter, HandoffWatcher, HandoffWatcherBuilder, StopGuard, StopHandle, WatcherHandle};
