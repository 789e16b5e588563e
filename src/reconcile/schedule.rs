//! [pure] When to look at what: the next listing, and the next read of each file that is not decided yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::table::FileId;

#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    next_scan: Instant,
    /// One entry a file at most, in both.
    reads: BTreeSet<(Instant, FileId)>,
    read_at: BTreeMap<FileId, Instant>,
}

impl Schedule {
    /// The first listing is due at once.
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self { interval, next_scan: now, reads: BTreeSet::new(), read_at: BTreeMap::new() }
    }

    /// A scan ran from `began` to `now`: its own time is taken off the interval, but for a tenth of it, so that a scan
    /// that takes longer than the interval does not keep the processor for itself.
    pub(super) fn scanned(&mut self, began: Instant, now: Instant) {
        let breath = now.duration_since(began) / 10;
        self.next_scan = (began + self.interval).max(now + breath);
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    pub(super) fn scan_by(&mut self, at: Instant) {
        self.next_scan = self.next_scan.min(at);
    }

    pub(super) fn is_scan_due(&self, now: Instant) -> bool {
        self.next_scan <= now
    }

    pub(super) fn read_at(&mut self, file: FileId, at: Instant) {
        self.forget(file);
        self.read_at.insert(file, at);
        self.reads.insert((at, file));
    }

    pub(super) fn forget(&mut self, file: FileId) {
        if let Some(before) = self.read_at.remove(&file) {
            self.reads.remove(&(before, file));
        }
    }

    /// The next file whose read is due.
    pub(super) fn pop_read(&mut self, now: Instant) -> Option<FileId> {
        if self.reads.first()?.0 > now {
            return None;
        }
        let (_, file) = self.reads.pop_first()?;
        self.read_at.remove(&file);
        Some(file)
    }

    pub(super) fn next(&self) -> Instant {
        self.reads.first().map_or(self.next_scan, |(at, _)| self.next_scan.min(*at))
    }
}
