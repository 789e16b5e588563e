//! The figures of promise 7: what the watcher does and how it fares, to be read at any time from any thread.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Serialize, Serializer};

use crate::error::{Error, excerpt};
use crate::event::HandoffEvent;
use crate::log::{Level, Log};
use crate::reconcile::Figures;

/// The objective of CLOUD-3013: from the creation of a handoff to its delivery.
pub const LATENCY_OBJECTIVE: Duration = Duration::from_secs(2);

/// The upper bounds of the latency histogram, in milliseconds. The objective is one of them.
pub const LATENCY_BUCKETS_MS: [u64; 12] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000, 10_000];

/// A snapshot of the watcher's figures. Durations are serialised in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Complete listings since the start.
    pub scans: u64,
    /// Listings that failed or broke off since the start.
    pub scan_errors: u64,
    /// Files read since the start.
    pub reads: u64,
    /// Since the last try to list the directory ended, complete or not; `None` before the first.
    #[serde(rename = "scan_age_seconds", serialize_with = "optional_seconds")]
    pub scan_age: Option<Duration>,
    /// How long the last complete listing took, its reads included; `None` before the first.
    #[serde(rename = "scan_duration_seconds", serialize_with = "optional_seconds")]
    pub scan_duration: Option<Duration>,
    /// The directory could be listed the last time.
    pub available: bool,
    /// Handoff files known.
    pub files: usize,
    /// Replicas that are ready.
    pub replicas: usize,
    /// Files that are reported, or about to be reported, as `invalid`.
    pub invalid_files: usize,
    /// Files that are not decided yet: half-written, gone missing, to be read.
    pub pending_files: usize,
    /// Events that the host has not taken yet, retries included.
    pub backlog: usize,
    /// Deliveries that the host refused, or panicked on, since the start.
    pub retries: u64,
    /// Events that the host took, by kind.
    pub events: EventCounts,
    /// From a file's last change to the delivery of its `ready` or `updated`.
    pub latency: Latency,
}

/// Events that the host took, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[allow(missing_docs)] // Each is the event of its name.
pub struct EventCounts {
    pub ready: u64,
    pub updated: u64,
    pub removed: u64,
    pub invalid: u64,
    pub conflict: u64,
    pub synced: u64,
    pub unavailable: u64,
    pub available: u64,
}

/// The created-to-delivered latency. What was there at the start has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// Deliveries measured.
    pub count: u64,
    /// Those over [`LATENCY_OBJECTIVE`].
    pub over_objective: u64,
    /// The sum of all, for a mean.
    #[serde(rename = "sum_seconds", serialize_with = "seconds")]
    pub sum: Duration,
    /// The last one.
    #[serde(rename = "last_seconds", serialize_with = "optional_seconds")]
    pub last: Option<Duration>,
    /// The longest.
    #[serde(rename = "max_seconds", serialize_with = "seconds")]
    pub max: Duration,
    /// How many were at most as long as the bound of the same place in [`LATENCY_BUCKETS_MS`], and longer than the one
    /// before it.
    pub buckets: [u64; LATENCY_BUCKETS_MS.len()],
}

/// What lets the next scan begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ScanMode {
    /// The interval alone.
    #[default]
    Polling,
    /// The interval, or before that a notification of the kernel.
    Instant,
}

impl ScanMode {
    /// `polling` or `instant`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::Instant => "instant",
        }
    }
}

/// Whether the watcher does its work.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The scanning thread is alive. False after a stop, and after a defect of this library.
    pub running: bool,
    /// The directory could be listed the last time; false before the first time.
    pub available: bool,
    /// The last try to list the directory ended more than three intervals and two seconds ago: the file system hangs, or
    /// the machine does not give the thread any time.
    pub stalled: bool,
    /// Why the directory cannot be listed, or the thread ended by itself.
    #[serde(serialize_with = "optional_text")]
    pub error: Option<Error>,
    /// What lets the next scan begin.
    pub mode: ScanMode,
    /// Why that is the interval alone although instant mode was asked for. It is tried again with each poll.
    #[serde(serialize_with = "optional_text")]
    pub mode_error: Option<Error>,
}

impl Health {
    /// All is well: running, available, not stalled.
    pub fn is_ok(&self) -> bool {
        self.running && self.available && !self.stalled
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn optional_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

fn optional_text<S: Serializer>(error: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(Error::to_string).serialize(serializer)
}

impl EventCounts {
    fn count(&mut self, event: &HandoffEvent) {
        *match event {
            HandoffEvent::Ready { .. } => &mut self.ready,
            HandoffEvent::Updated { .. } => &mut self.updated,
            HandoffEvent::Removed { .. } => &mut self.removed,
            HandoffEvent::Invalid { .. } => &mut self.invalid,
            HandoffEvent::Conflict { .. } => &mut self.conflict,
            HandoffEvent::Synced => &mut self.synced,
            HandoffEvent::Unavailable { .. } => &mut self.unavailable,
            HandoffEvent::Available => &mut self.available,
        } += 1;
    }
}

impl Latency {
    fn measure(&mut self, latency: Duration) {
        self.count += 1;
        self.over_objective += u64::from(latency > LATENCY_OBJECTIVE);
        self.sum = self.sum.saturating_add(latency);
        self.last = Some(latency);
        self.max = self.max.max(latency);
        let bucket = LATENCY_BUCKETS_MS.iter().position(|bound| latency <= Duration::from_millis(*bound));
        if let Some(bucket) = bucket {
            self.buckets[bucket] += 1;
        }
    }
}

/// Where the threads write the figures down.
#[derive(Debug)]
pub(crate) struct Meter {
    interval: Duration,
    log: Log,
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stats: Stats,
    scanned_at: Option<Instant>,
    running: bool,
    error: Option<Error>,
    mode: ScanMode,
    mode_error: Option<Error>,
}

impl Meter {
    pub(crate) fn new(interval: Duration, log: Log) -> Self {
        let inner = Inner { running: true, ..Inner::default() };
        Self { interval, log, started: Instant::now(), inner: Mutex::new(inner) }
    }

    /// A try to list the directory ended.
    pub(crate) fn scanned(&self, now: Instant, error: Option<&Error>) {
        let mut inner = self.inner.lock();
        inner.scanned_at = Some(now);
        match error {
            None => inner.stats.scans += 1,
            Some(_) => inner.stats.scan_errors += 1,
        }
    }

    /// A round of listing, reading and telling is done.
    pub(crate) fn round(
        &self,
        scan: Option<Duration>,
        reads: u64,
        replicas: usize,
        figures: Figures,
        error: Option<&Error>,
    ) {
        let mut inner = self.inner.lock();
        let stats = &mut inner.stats;
        stats.scan_duration = scan.or(stats.scan_duration);
        stats.reads += reads;
        stats.replicas = replicas;
        stats.files = figures.files;
        stats.invalid_files = figures.invalid_files;
        stats.pending_files = figures.undecided_files;
        stats.backlog = figures.backlog;
        stats.available = figures.available && stats.scans > 0;
        if inner.error.as_ref() != error {
            inner.error = error.cloned();
        }
    }

    /// Instant mode is in force, or why it is not. `is_told`: the host is told as an event, too, what stands in the way.
    pub(crate) fn instant(&self, error: Option<&Error>, is_told: bool) {
        let mode = if error.is_none() { ScanMode::Instant } else { ScanMode::Polling };
        let mut inner = self.inner.lock();
        if (inner.mode, inner.mode_error.as_ref()) == (mode, error) {
            return;
        }
        (inner.mode, inner.mode_error) = (mode, error.cloned());
        drop(inner);
        match error {
            None => self.log.info(format_args!("instant mode: a notification of the kernel lets the next scan begin")),
            Some(error) => {
                let line = format_args!("instant mode is not in force, polling goes on: {error}");
                if is_told { self.log.event(Level::Warn, line) } else { self.log.warn(line) }
            }
        }
    }

    pub(crate) fn delivered(&self, event: &HandoffEvent) {
        {
            let mut inner = self.inner.lock();
            inner.stats.events.count(event);
            if let Some(latency) = event.latency() {
                inner.stats.latency.measure(latency);
            }
        }
        self.log(event);
    }

    pub(crate) fn refused(&self) {
        self.inner.lock().stats.retries += 1;
    }

    pub(crate) fn ended(&self, error: Option<Error>) {
        let mut inner = self.inner.lock();
        inner.running = false;
        inner.error = error.or(inner.error.take());
    }

    pub(crate) fn stats(&self) -> Stats {
        let inner = self.inner.lock();
        let mut stats = inner.stats.clone();
        stats.scan_age = inner.scanned_at.map(|at| at.elapsed());
        stats
    }

    pub(crate) fn health(&self) -> Health {
        let inner = self.inner.lock();
        let age = inner.scanned_at.unwrap_or(self.started).elapsed();
        Health {
            running: inner.running,
            available: inner.stats.available,
            stalled: inner.running && age > self.interval.saturating_mul(3).saturating_add(LATENCY_OBJECTIVE),
            error: inner.error.clone(),
            mode: inner.mode,
            mode_error: inner.mode_error.clone(),
        }
    }

    /// What a host that asks for payloads alone would not learn otherwise.
    fn log(&self, event: &HandoffEvent) {
        let line = |level, line: fmt::Arguments<'_>| self.log.event(level, line);
        match event {
            HandoffEvent::Invalid { error, .. } => line(Level::Warn, format_args!("invalid handoff: {error}")),
            HandoffEvent::Unavailable { error } => {
                line(Level::Warn, format_args!("the directory is unavailable: {error}"));
            }
            HandoffEvent::Available => line(Level::Info, format_args!("the directory is available again")),
            HandoffEvent::Conflict { pool_id, replica_id, winner, losers } => line(
                Level::Warn,
                format_args!(
                    "conflict over replica {} of pool {}: {winner:?} is in force, not {}{}",
                    excerpt(replica_id),
                    excerpt(pool_id),
                    losers.first().map_or_else(String::new, |loser| format!("{loser:?}")),
                    if losers.len() > 1 { format!(" and {} more", losers.len() - 1) } else { String::new() }
                ),
            ),
            event => match event.pool_id().zip(event.replica_id()) {
                Some((pool_id, replica_id)) => line(
                    Level::Debug,
                    format_args!("{}: replica {} of pool {}", event.name(), excerpt(replica_id), excerpt(pool_id)),
                ),
                None => line(Level::Debug, format_args!("{}", event.name())),
            },
        }
    }
}
