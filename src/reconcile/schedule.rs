//! [pure] When to look at what: the next listing, and the next read of each file that is not decided yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::listing::FileName;

#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    next_scan: Instant,
    /// One entry a file at most, in both.
    reads: BTreeSet<(Instant, FileName)>,
    read_at: BTreeMap<FileName, Instant>,
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

    pub(super) fn scan_by(&mut self, at: Instant) {
        self.next_scan = self.next_scan.min(at);
    }

    pub(super) fn is_scan_due(&self, now: Instant) -> bool {
        self.next_scan <= now
    }

    pub(super) fn read_at(&mut self, name: &FileName, at: Instant) {
        self.forget(name);
        self.read_at.insert(name.clone(), at);
        self.reads.insert((at, name.clone()));
    }

    pub(super) fn forget(&mut self, name: &FileName) {
        if let Some(before) = self.read_at.remove(name) {
            self.reads.remove(&(before, name.clone()));
        }
    }

    /// The next file whose read is due.
    pub(super) fn pop_read(&mut self, now: Instant) -> Option<FileName> {
        if self.reads.first()?.0 > now {
            return None;
        }
        let (_, name) = self.reads.pop_first()?;
        self.read_at.remove(&name);
        Some(name)
    }

    pub(super) fn next(&self) -> Instant {
        self.reads.first().map_or(self.next_scan, |(at, _)| self.next_scan.min(*at))
    }
}
