//! [pure] When to look at what: the next listing, and the next read of each file that is not decided yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::table::FileId;

/// From a scan between two polls to the next one of those: the time from start to start, at least; and at least so many times
/// the processor time that the first took, with all that followed from it, between them. A writer that never rests must not
/// cost the host a processor. What a slow disk held up cost none, and keeps nothing waiting for longer than it took.
const REST: (Duration, u32) = (Duration::from_millis(5), 4);

/// A scan between two polls that failed is tried again after so long: what asked for it will not ask again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    next_scan: Instant,
    /// When the next listing is due that looks at everything, whoever asks for others before.
    next_poll: Instant,
    /// A notification asked for the next listing.
    noticed: bool,
    /// The last listing was one between two polls, whatever asked for it.
    was_between: bool,
    /// The next one of those has to wait until then.
    rests_until: Option<Instant>,
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
            was_between: false,
            rests_until: None,
            reads: BTreeSet::new(),
            read_at: BTreeMap::new(),
        }
    }

    /// A scan began then: its own time is taken off the interval. Says whether it was only one between two polls, for which
    /// a notification asked.
    pub(super) fn scanned(&mut self, began: Instant) -> bool {
        self.was_between = self.is_between_polls(began);
        let early = std::mem::take(&mut self.noticed) && self.was_between;
        if !early {
            self.next_poll = began + self.interval;
        }
        self.next_scan = self.next_poll;
        early
    }

    /// The scan that began then could not be made.
    pub(super) fn failed(&mut self, began: Instant) {
        if self.was_between {
            self.scan_by(began + TRY_AGAIN);
        }
    }

    /// All that followed from the scan that began then is done, and took so much of the processor. A tenth of its time goes
    /// by before the next one, so that one that takes longer than the interval does not keep the processor for itself, and
    /// the host has its turn.
    pub(super) fn round_ended(&mut self, began: Instant, now: Instant, processor: Duration) {
        let (least, times) = REST;
        let breath = now + now.duration_since(began) / 10;
        let rest = if self.was_between { (now + processor * times).max(began + least) } else { breath };
        let until = rest.max(breath);
        self.rests_until = Some(until);
        // What was asked for meanwhile waits, too, but not beyond the next poll.
        self.next_scan = self.next_scan.max(until.min(self.next_poll)).max(breath);
    }

    /// Whether a scan that begins now is none that the interval asks for.
    pub(super) fn is_between_polls(&self, now: Instant) -> bool {
        now < self.next_poll
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
        let at = self.rests_until.map_or(at, |until| until.max(at));
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
