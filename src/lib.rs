//! handoff-watcher

mod config;
#[allow(dead_code)]
mod directory;
mod error;
mod event;
#[allow(dead_code)]
mod listing;
#[allow(dead_code)]
mod payload;
#[allow(dead_code)]
mod read;
#[allow(dead_code)]
mod scan;

pub use config::{
    DEFAULT_POLL_INTERVAL_MS, DEFAULT_RUNTIME_DIR, HandoffWatcherConfig, RUNTIME_DIR_VARIABLE, WATCH_INTERVAL_VARIABLE,
};
pub use error::{Error, ErrorKind};
pub use event::{HandoffEvent, RemovedReason};
pub use payload::{HandoffPayload, Model};
