//! [pure] When to look at what: the next listing, and the next read of each file that is not decided yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::table::FileId;

#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    next_scan: Instant,
    /// When the next listing is due that looks at everything, whoever asks for others before.
    next_poll: Instant,
    /// A notification asked for the next listing.
    noticed: bool,
    /// One entry a file at most, in both.
    reads: BTreeSet<(Instant, FileId)>,
    read_at: BTreeMap<FileId, Instant>,
}

impl Schedule {
    /// The first listing is due at once.
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self {
            interval,
            next_scan: now,
            next_poll: now,
            noticed: false,
            reads: BTreeSet::new(),
            read_at: BTreeMap::new(),
        }
    }

    /// A scan ran from `began` to `now`: its own time is taken off the interval, but for a tenth of it, so that a scan
    /// that takes longer than the interval does not keep the processor for itself. Says whether it was only one between
    /// two polls, for which a notification asked.
    pub(super) fn scanned(&mut self, began: Instant, now: Instant) -> bool {
        let early = std::mem::take(&mut self.noticed) && began < self.next_poll;
        if !early {
            self.next_poll = began + self.interval;
        }
        let breath = now.duration_since(began) / 10;
        self.next_scan = self.next_poll.max(now + breath);
        early
    }

    /// A notification asks for a scan.
    pub(super) fn notice(&mut self, at: Instant) {
        self.noticed = true;
        self.scan_by(at);
    }

    /// The next scan is a poll, whenever it comes.
    pub(super) fn poll_next(&mut self) {
        self.noticed = false;
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
