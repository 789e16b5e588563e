//! How a watcher fares.

use std::ffi::c_char;
use std::time::Duration;

use super::argument::{self, Versioned, out};
use super::guard;
use super::handle::{Watcher, using};
use super::status::HANDOFF_OK;
use crate::stats;

/// How many buckets the latency histogram has.
pub const HANDOFF_LATENCY_BUCKETS: usize = 12;

/// A snapshot of a watcher's figures. Set struct_size to sizeof(handoff_stats) before asking for it. A later version only
/// appends; what the library does not know stays 0. Times are in microseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HandoffStats {
    /// sizeof(handoff_stats), as the host was compiled.
    pub struct_size: usize,
    /// Complete listings since the start.
    pub scans: u64,
    /// Listings that failed or broke off since the start.
    pub scan_errors: u64,
    /// Files read since the start.
    pub reads: u64,
    /// Since the last try to list the directory ended; -1 before the first.
    pub scan_age_us: i64,
    /// How long the last complete listing took, its reads included; -1 before the first.
    pub scan_duration_us: i64,
    /// 1: the directory could be listed the last time.
    pub available: u64,
    /// Handoff files known.
    pub files: u64,
    /// Replicas that are ready.
    pub replicas: u64,
    /// Files that are reported, or about to be reported, as invalid.
    pub invalid_files: u64,
    /// Files that are not decided yet.
    pub pending_files: u64,
    /// Events that the host has not taken yet, retries included.
    pub backlog: u64,
    /// Deliveries that the host refused, since the start.
    pub retries: u64,
    /// Events of each kind that the host took: of HANDOFF_EVENT_READY ...
    pub events_ready: u64,
    /// ... of HANDOFF_EVENT_UPDATED
    pub events_updated: u64,
    /// ... of HANDOFF_EVENT_REMOVED
    pub events_removed: u64,
    /// ... of HANDOFF_EVENT_INVALID
    pub events_invalid: u64,
    /// ... of HANDOFF_EVENT_CONFLICT
    pub events_conflict: u64,
    /// ... of HANDOFF_EVENT_SYNCED
    pub events_synced: u64,
    /// ... of HANDOFF_EVENT_UNAVAILABLE
    pub events_unavailable: u64,
    /// ... of HANDOFF_EVENT_AVAILABLE
    pub events_available: u64,
    /// Deliveries whose time from the file's last change was measured.
    pub latency_count: u64,
    /// Those that took longer than the objective of 2 s.
    pub latency_over_objective: u64,
    /// The sum of all, for a mean.
    pub latency_sum_us: i64,
    /// The last one; -1 before the first.
    pub latency_last_us: i64,
    /// The longest.
    pub latency_max_us: i64,
    /// How many took at most 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000, 10000 ms, and longer than the bound before.
    pub latency_buckets: [u64; HANDOFF_LATENCY_BUCKETS],
}

/// Whether a watcher does its work. Set struct_size to sizeof(handoff_health) before asking for it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HandoffHealth {
    /// sizeof(handoff_health), as the host was compiled.
    pub struct_size: usize,
    /// 1: all is well: running, available, not stalled.
    pub ok: i32,
    /// 1: the scanning thread is alive. 0 after a stop, and after a defect of this library.
    pub running: i32,
    /// 1: the directory could be listed the last time. 0 before the first time.
    pub available: i32,
    /// 1: the last try to list the directory ended more than three intervals and two seconds ago.
    pub stalled: i32,
    /// 1: instant mode was asked for, and is in force. 0: polling alone.
    pub instant: i32,
    /// 0.
    pub reserved: i32,
}

// SAFETY: `repr(C)`; numbers, in pairs where they have 32 bits.
unsafe impl Versioned for HandoffStats {
    const NAME: &'static str = "stats";
}

// SAFETY: as above.
unsafe impl Versioned for HandoffHealth {
    const NAME: &'static str = "health";
}

const _: () = assert!(HANDOFF_LATENCY_BUCKETS == stats::LATENCY_BUCKETS_MS.len());

impl From<stats::Stats> for HandoffStats {
    fn from(stats: stats::Stats) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            scans: stats.scans,
            scan_errors: stats.scan_errors,
            reads: stats.reads,
            scan_age_us: stats.scan_age.map_or(-1, micros),
            scan_duration_us: stats.scan_duration.map_or(-1, micros),
            available: u64::from(stats.available),
            files: stats.files as u64,
            replicas: stats.replicas as u64,
            invalid_files: stats.invalid_files as u64,
            pending_files: stats.pending_files as u64,
            backlog: stats.backlog as u64,
            retries: stats.retries,
            events_ready: stats.events.ready,
            events_updated: stats.events.updated,
            events_removed: stats.events.removed,
            events_invalid: stats.events.invalid,
            events_conflict: stats.events.conflict,
            events_synced: stats.events.synced,
            events_unavailable: stats.events.unavailable,
            events_available: stats.events.available,
            latency_count: stats.latency.count,
            latency_over_objective: stats.latency.over_objective,
            latency_sum_us: micros(stats.latency.sum),
            latency_last_us: stats.latency.last.map_or(-1, micros),
            latency_max_us: micros(stats.latency.max),
            latency_buckets: stats.latency.buckets,
        }
    }
}

impl From<stats::Health> for HandoffHealth {
    fn from(health: stats::Health) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            ok: i32::from(health.is_ok()),
            running: i32::from(health.running),
            available: i32::from(health.available),
            stalled: i32::from(health.stalled),
            instant: i32::from(health.mode == stats::ScanMode::Instant),
            reserved: 0,
        }
    }
}

/// The figures, as of the last round of the scanning thread.
///
/// watcher: not NULL.
/// stats: not NULL, with its struct_size set; the rest is set on HANDOFF_OK.
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_stats(watcher: *const Watcher, stats: *mut HandoffStats) -> i32 {
    let ask = |watcher: &Watcher| {
        // SAFETY: the host's word.
        unsafe { argument::write(stats, &watcher.threads.shared().meter.stats().into()) }?;
        Ok(HANDOFF_OK)
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, ask) }
}

/// The figures as JSON: one object, times in seconds.
///
/// watcher: not NULL.
/// json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_stats_json(watcher: *const Watcher, json: *mut *mut c_char) -> i32 {
    let ask = |watcher: &Watcher| {
        out("json", json)?;
        // SAFETY: the host's word.
        unsafe { argument::give_json(json, &watcher.threads.shared().meter.stats()) }
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, ask) }
}

/// The figures, the health and the pools as text for Prometheus: the text exposition format, version 0.0.4. What there is
/// is listed in src/metrics.md; names stay, a later version may add some. There is a series for each pool.
///
/// watcher: not NULL.
/// text: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_metrics(watcher: *const Watcher, text: *mut *mut c_char) -> i32 {
    let ask = |watcher: &Watcher| {
        out("text", text)?;
        let metrics = guard::c_text(&watcher.threads.shared().metrics());
        // SAFETY: the host's word.
        unsafe { argument::give(text, metrics) };
        Ok(HANDOFF_OK)
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, ask) }
}

/// Whether the watcher does its work.
///
/// watcher: not NULL.
/// health: not NULL, with its struct_size set; the rest is set on HANDOFF_OK.
/// Returns HANDOFF_OK, also when all is not well; or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_health(watcher: *const Watcher, health: *mut HandoffHealth) -> i32 {
    let ask = |watcher: &Watcher| {
        // SAFETY: the host's word.
        unsafe { argument::write(health, &watcher.threads.shared().meter.health().into()) }?;
        Ok(HANDOFF_OK)
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, ask) }
}

/// Whether the watcher does its work, as JSON: {"running", "available", "stalled", "error", "mode", "mode_error"}, with
/// the text of why the directory cannot be listed, or the watcher ended by itself; "mode" is "instant" or "polling", and
/// "mode_error" the text of why it is not the one that was asked for.
///
/// watcher: not NULL.
/// json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_health_json(watcher: *const Watcher, json: *mut *mut c_char) -> i32 {
    let ask = |watcher: &Watcher| {
        out("json", json)?;
        // SAFETY: the host's word.
        unsafe { argument::give_json(json, &watcher.threads.shared().meter.health()) }
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, ask) }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
