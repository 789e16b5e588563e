//! A simulated disk, clock and host around the core: every promise in microseconds, nothing sleeps.
#![allow(clippy::unwrap_used)]
#![cfg_attr(fuzzing, allow(dead_code))]

#[cfg(test)]
mod announcements;
#[cfg(test)]
mod arrivals;
#[cfg(test)]
mod bounded;
mod disk;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod model;
mod play;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod refusals;
mod regressions;
#[cfg(test)]
mod traps;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Document, Fault, Parcel, Reconciler, Taken, Ticket};
use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::event::{HandoffEvent, RemovedReason};
use crate::listing::{Entry, FileName, Life, Listing, OtherKind};
use crate::payload::Handoff;

use disk::{Content, Disk, doc, not_ready, with_pid};

/// For the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    play::fuzz(bytes);
}

const INTERVAL: Duration = Duration::from_millis(1000);
/// Promise 1: within one interval plus this.
const GRACE: Duration = Duration::from_millis(100);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the host does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Takes,
    Refuses,
    /// Takes nothing: what was offered stays on the way.
    Sleeps,
}

/// A host that remembers what it was told, and objects to everything that is not news.
#[derive(Debug)]
struct Host {
    mood: Mood,
    /// Payload text and file.
    held: BTreeMap<(String, String), (String, PathBuf)>,
    heard: Vec<HandoffEvent>,
    available: bool,
    synced: bool,
}

/// An act of a writer.
type Meanwhile = Box<dyn FnOnce(&mut Disk)>;

/// The core with a disk on one side and a host on the other.
struct World {
    start: Instant,
    now: Instant,
    disk: Disk,
    core: Reconciler,
    host: Host,
    waiting: Vec<Parcel>,
    capacity: usize,
    /// What happens between the next listing and its reads.
    meanwhile: Vec<Meanwhile>,
    /// What happens between the acknowledgement of a message and its deletion.
    before_deletion: Vec<Meanwhile>,
    /// The files that were deleted because their messages were taken.
    deleted: Vec<String>,
    reads: u32,
    /// What is new is told before the rest is looked at, as in the scanning thread.
    arrives: bool,
    /// How long that takes then.
    look_takes: Duration,
    /// How long each read takes.
    read_takes: Duration,
    /// The processor time of a scan between two polls.
    scan_costs: Duration,
    /// The names of the last listing.
    listed: BTreeSet<FileName>,
    /// How often the host refused something.
    refusals: u32,
    /// Every good document that ever was under a name, and what it says.
    written: BTreeMap<Vec<u8>, String>,
    /// At processes.
    looks: u32,
}

impl World {
    fn new() -> Self {
        Self::with(Settings { poll_interval: INTERVAL, ..Settings::default() })
    }

    fn with(settings: Settings) -> Self {
        let start = Instant::now();
        let disk = Disk {
            files: BTreeMap::new(),
            clock: 1_700_000_000_123_456_789,
            tick: 1,
            next_inode: 0,
            listing_fails: false,
            reads_exhausted: false,
            notifies: false,
            deletions_fail: false,
            contradicts: false,
            processes_checked: settings.check_processes,
            processes: BTreeMap::new(),
            boot: 1_700_000_000_123_456_789 - 3_600_000_000_000,
            removed: BTreeSet::new(),
        };
        let host = Host { mood: Mood::Takes, held: BTreeMap::new(), heard: Vec::new(), available: true, synced: false };
        Self {
            start,
            now: start,
            disk,
            core: Reconciler::new(start, &settings),
            host,
            waiting: Vec::new(),
            capacity: settings.channel_capacity,
            meanwhile: Vec::new(),
            before_deletion: Vec::new(),
            deleted: Vec::new(),
            reads: 0,
            arrives: true,
            look_takes: Duration::ZERO,
            read_takes: Duration::ZERO,
            scan_costs: Duration::ZERO,
            listed: BTreeSet::new(),
            refusals: 0,
            written: BTreeMap::new(),
            looks: 0,
        }
    }

    /// One turn of the scanning thread.
    fn round(&mut self) {
        self.take();
        self.remember();
        self.core.handle_timeout(self.now);
        let scan = self.core.is_scan_due(self.now).then_some(self.now);
        if let Some(began) = scan {
            match self.disk.list() {
                Ok(listing) => {
                    let listing = self.arrive(listing);
                    match self.disk.list() {
                        Ok(_) => self.core.handle_listing(began, self.now, &listing),
                        Err(error) => self.core.handle_scan_error(began, error),
                    }
                }
                Err(error) => self.core.handle_scan_error(began, error),
            }
            for act in std::mem::take(&mut self.meanwhile) {
                act(&mut self.disk);
            }
            self.remember();
        }
        self.read();
        while let Some((followed, pid)) = self.core.poll_process() {
            self.looks += 1;
            let process = self.disk.process(pid);
            self.core.handle_process(followed, process);
        }
        // An acknowledgement wakes the thread, which may have room then.
        loop {
            self.tell();
            if !self.delete_taken() {
                break;
            }
        }
        let coming = self.core.files.iter().filter(|(_, file)| file.coming().is_some()).count();
        assert_eq!(self.core.coming.values().sum::<usize>(), coming);
        if let Some(began) = scan {
            self.core.handle_round_end(began, self.now, self.scan_costs);
        }
    }

    /// What is new is told before all that is known is looked at again; gives what is then seen under the listed names.
    fn arrive(&mut self, listing: Listing) -> Listing {
        let mut before =
            std::mem::replace(&mut self.listed, listing.entries.iter().map(|it| it.name.clone()).collect());
        let is_new = |entry: &&Entry| !before.remove(&entry.name);
        let arrivals: Vec<Entry> = listing.entries.iter().filter(is_new).cloned().collect();
        if !self.arrives || !self.core.handle_arrivals(self.now, &arrivals) {
            return listing;
        }
        self.one_meanwhile();
        self.read();
        self.tell();
        self.one_meanwhile();
        self.pass(self.now + self.look_takes);
        self.disk.look_again(&listing)
    }

    fn one_meanwhile(&mut self) {
        if !self.meanwhile.is_empty() {
            self.meanwhile.remove(0)(&mut self.disk);
            self.remember();
        }
    }

    fn read(&mut self) {
        // What comes due meanwhile is for the next round.
        let now = self.now;
        while let Some((id, name)) = self.core.poll_read(now) {
            self.reads += 1;
            self.pass(self.now + self.read_takes / 2);
            let began = self.now;
            self.pass(began + self.read_takes / 2);
            match self.disk.read(&name) {
                Some(document) => self.core.handle_document(began, self.now, id, document),
                None => self.core.handle_exhausted(id, Error::new(ErrorKind::Io, "too many open files: simulated")),
            }
        }
    }

    fn tell(&mut self) {
        while self.core.poll_registry().is_some() {}
        while let Some(ticket) = self.core.poll_revoke() {
            if let Some(place) = self.waiting.iter().position(|parcel| parcel.ticket == ticket) {
                self.waiting.remove(place);
                self.core.handle_revoked(ticket);
            }
        }
        while self.offer() {
            self.take();
        }
    }

    /// What the scanning thread does where files are messages to be consumed.
    fn delete_taken(&mut self) -> bool {
        let before = self.deleted.len();
        while let Some((id, name, hash)) = self.core.poll_taken() {
            for act in std::mem::take(&mut self.before_deletion) {
                act(&mut self.disk);
            }
            self.remember();
            let outcome = match self.disk.read(&name) {
                _ if self.disk.deletions_fail => Taken::Failed,
                Some(Document::Content { hash: found, .. }) if found == hash => {
                    self.disk.remove(name.to_str().unwrap());
                    self.deleted.push(name.to_str().unwrap().to_owned());
                    Taken::Deleted
                }
                // Which version it is cannot be known then.
                None | Some(Document::Faulty { fault: Fault::Unreadable(_), .. }) => Taken::Failed,
                _ => Taken::Changed,
            };
            self.core.handle_taken(self.now, id, outcome);
        }
        self.deleted.len() > before
    }

    fn offer(&mut self) -> bool {
        let before = self.waiting.len();
        while self.waiting.len() < self.capacity {
            let Some(parcel) = self.core.poll_event(self.waiting.is_empty()) else { break };
            assert!(self.waiting.iter().all(|other| about(other) != about(&parcel)), "two on the way: {parcel:?}");
            self.waiting.push(parcel);
        }
        self.waiting.len() > before
    }

    fn take(&mut self) {
        if self.host.mood == Mood::Sleeps {
            return;
        }
        for parcel in std::mem::take(&mut self.waiting) {
            let taken = self.host.mood == Mood::Takes;
            if taken {
                self.hear(&parcel.event());
            }
            self.refusals += u32::from(!taken);
            self.acknowledge(parcel.ticket, taken);
        }
    }

    fn acknowledge(&mut self, ticket: Ticket, taken: bool) {
        self.core.handle_ack(self.now, ticket, taken);
    }

    fn remember(&mut self) {
        for file in self.disk.files.values() {
            if let Content::Bytes(bytes) = &file.content
                && !self.written.contains_key(bytes)
                && let Ok(handoff) = Handoff::of(bytes)
            {
                self.written.insert(bytes.clone(), serde_json::to_string(&handoff.payload()).unwrap());
            }
        }
    }

    /// Promises 2 and 3, at each event.
    fn hear(&mut self, event: &HandoffEvent) {
        let was_removed = |path: &PathBuf| self.disk.removed.contains(path.file_name().unwrap());
        let host = &mut self.host;
        let key = event.pool_id().map(|pool| (pool.to_owned(), event.replica_id().unwrap().to_owned()));
        let text = event.payload().map(|payload| serde_json::to_string(payload).unwrap());
        match event {
            HandoffEvent::Ready { file, .. } => {
                let before = host.held.insert(key.unwrap(), (text.unwrap(), file.clone()));
                assert!(before.is_none(), "ready, but held: {event:?}");
            }
            HandoffEvent::Updated { file, previous, .. } => {
                let held = host.held.get_mut(&key.unwrap()).expect("updated, but not held");
                assert_eq!(held.0, serde_json::to_string(previous).unwrap());
                assert!((&held.0, &held.1) != (text.as_ref().unwrap(), file), "told twice: {event:?}");
                *held = (text.unwrap(), file.clone());
            }
            HandoffEvent::Removed { file, reason, .. } => {
                let held = host.held.remove(&key.unwrap()).expect("removed, but not held");
                assert_eq!((&held.0, &held.1), (text.as_ref().unwrap(), file));
                assert!(*reason != RemovedReason::FileRemoved || was_removed(file), "made up: {event:?}");
            }
            HandoffEvent::Unavailable { .. } => assert!(std::mem::replace(&mut host.available, false)),
            HandoffEvent::Available => assert!(!std::mem::replace(&mut host.available, true)),
            HandoffEvent::Synced => assert!(!std::mem::replace(&mut host.synced, true)),
            HandoffEvent::Invalid { .. } | HandoffEvent::Conflict { .. } => {}
        }
        if let Some(payload) = event.payload() {
            // The simulated documents are all in the canonical form.
            let text = serde_json::to_vec(payload).unwrap();
            assert!(self.written.contains_key(&text), "never written: {event:?}");
        }
        self.host.heard.push(event.clone());
    }

    /// Lets time pass, from one deadline of the core to the next.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut idle = 0;
        loop {
            self.round();
            let next = self.core.poll_timeout();
            if next > end {
                break;
            }
            // The core may want another turn at once, but not over and over.
            idle = if next <= self.now { idle + 1 } else { 0 };
            assert!(idle < 5, "asks to be woken for nothing");
            self.pass(next.max(self.now));
        }
        self.pass(end.max(self.now));
    }

    /// The kernel tells that something changed.
    fn notice(&mut self) {
        self.core.handle_notice(self.now);
    }

    fn pass(&mut self, to: Instant) {
        self.disk.clock += i64::try_from(to.duration_since(self.now).as_nanos()).unwrap();
        self.now = to;
    }

    /// The names of the events heard since the last call, with their replica or file.
    fn heard(&mut self) -> Vec<String> {
        let short = |event: &HandoffEvent| {
            let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            match event {
                HandoffEvent::Invalid { file, .. } => format!("invalid {}", name(file)),
                HandoffEvent::Conflict { winner, losers, .. } => {
                    format!("conflict {} {}", name(winner), losers.iter().map(name).collect::<Vec<_>>().join(" "))
                }
                HandoffEvent::Removed { payload, reason, .. } => {
                    format!("removed {} {}", payload.replica_id, reason.as_str())
                }
                event => match event.payload() {
                    Some(payload) => format!("{} {} {}", event.name(), payload.replica_id, &payload.url[9..]),
                    None => event.name().to_owned(),
                },
            }
        };
        let heard = self.host.heard.iter().map(short).collect();
        self.host.heard.clear();
        heard
    }

    /// Starts it, and lets the stamps of what is there settle.
    fn settled(mut self) -> Self {
        self.run(ms(5000));
        self.heard();
        self
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }
}

impl Parcel {
    fn event(&self) -> HandoffEvent {
        self.news.clone().event(None)
    }
}

/// What a parcel is about, for "one pending event per replica".
fn about(parcel: &Parcel) -> (Option<String>, Option<PathBuf>) {
    match &parcel.event() {
        HandoffEvent::Invalid { file, .. } => (Some("invalid".into()), Some(file.clone())),
        HandoffEvent::Unavailable { .. } | HandoffEvent::Available => (Some("availability".into()), None),
        HandoffEvent::Synced => (Some("synced".into()), None),
        HandoffEvent::Conflict { pool_id, replica_id, .. } => (Some(format!("conflict {pool_id}/{replica_id}")), None),
        event => (Some(format!("{}/{}", event.pool_id().unwrap(), event.replica_id().unwrap())), None),
    }
}
