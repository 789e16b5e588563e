//! A simulated disk, clock and host around the core: every promise in microseconds, nothing sleeps.
#![allow(clippy::unwrap_used)]
#![cfg_attr(fuzzing, allow(dead_code))]

#[cfg(test)]
mod announcements;
#[cfg(test)]
mod bounded;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod model;
mod play;
#[cfg(test)]
mod promises;
mod regressions;
#[cfg(test)]
mod traps;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{ContentHash, Document, Fault, Parcel, Reconciler, Taken, Ticket, process_of};
use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::event::{HandoffEvent, RemovedReason};
use crate::listing::{Entry, FileName, Life, Listing, Moment, OtherKind, Process, Seen, Stamp};
use crate::payload::Handoff;

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

/// A document of a replica; `text` makes versions of one length different.
fn doc(pool: &str, replica: &str, text: &str) -> String {
    format!(r#"{{"pool_id":"{pool}","replica_id":"{replica}","url":"http://h/{text}"}}"#)
}

fn not_ready(pool: &str, replica: &str) -> String {
    format!(r#"{{"pool_id":"{pool}","replica_id":"{replica}","url":"http://h/","ready":false}}"#)
}

#[derive(Clone, Debug)]
enum Content {
    Bytes(Vec<u8>),
    Other(OtherKind),
    Dangling,
}

#[derive(Clone, Debug)]
struct SimFile {
    stamp: Stamp,
    content: Content,
    /// `stat` and `open` fail with this.
    errno: Option<i32>,
    /// It was moved to its name and not written to since.
    moved: bool,
}

/// A disk whose clock ticks as coarsely as one likes.
#[derive(Debug)]
struct Disk {
    files: BTreeMap<FileName, SimFile>,
    /// The clock of the file system, in nanoseconds; it may be stepped.
    clock: i64,
    tick: i64,
    next_inode: u64,
    listing_fails: bool,
    reads_exhausted: bool,
    /// The kernel tells of files that are moved to their names, which happens within a tick of the clock.
    notifies: bool,
    deletions_fail: bool,
    /// `stat` and `open` find nothing.
    contradicts: bool,
    processes_checked: bool,
    /// By pid; the others are gone.
    processes: BTreeMap<u32, Life>,
    /// When the machine started, in nanoseconds; a clock that is stepped takes it along.
    boot: i64,
    /// The names that were ever removed: nothing else may be told as removed.
    removed: BTreeSet<FileName>,
}

impl Disk {
    fn time(&self) -> Moment {
        let ticked = self.clock - self.clock.rem_euclid(self.tick);
        Moment::new(ticked.div_euclid(1_000_000_000), u32::try_from(ticked.rem_euclid(1_000_000_000)).unwrap())
    }

    fn process(&self, pid: u32) -> Process {
        Process { life: self.processes.get(&pid).copied().unwrap_or(Life::Gone), boot: Some(self.boot / 1_000_000) }
    }

    fn stamp(&self, inode: u64, size: usize) -> Stamp {
        let now = self.time();
        Stamp { inode, size: size as u64, mtime: now, ctime: now, device: 1 }
    }

    fn put(&mut self, name: &str, content: Content) {
        let size = if let Content::Bytes(bytes) = &content { bytes.len() } else { 0 };
        self.next_inode += 1;
        let stamp = self.stamp(self.next_inode, size);
        self.files.insert(file(name), SimFile { stamp, content, errno: None, moved: false });
    }

    /// A temporary file, renamed over the name.
    fn replace(&mut self, name: &str, text: &str) {
        self.put(name, Content::Bytes(text.into()));
        if let Some(file) = self.files.get_mut(OsStr::new(name)) {
            file.moved = self.notifies;
            if !self.notifies {
                // The rename came after the last byte.
                file.stamp.ctime = file.stamp.ctime.after(1);
            }
        }
    }

    /// Made in place.
    fn create(&mut self, name: &str, text: &str) {
        self.put(name, Content::Bytes(text.into()));
    }

    /// The same inode; created if it is not there.
    fn overwrite(&mut self, name: &str, text: &str) {
        let Some(inode) = self.files.get(OsStr::new(name)).map(|file| file.stamp.inode) else {
            return self.create(name, text);
        };
        let stamp = self.stamp(inode, text.len());
        self.files
            .insert(file(name), SimFile { stamp, content: Content::Bytes(text.into()), errno: None, moved: false });
    }

    /// The same inode, and the mtime that it had before.
    fn overwrite_keeping_mtime(&mut self, name: &str, text: &str) {
        let before = self.files.get(OsStr::new(name)).map(|file| file.stamp);
        self.overwrite(name, text);
        if let (Some(before), Some(now)) = (before, self.files.get_mut(OsStr::new(name))) {
            now.stamp.mtime = before.mtime;
        }
    }

    fn touch(&mut self, name: &str) {
        let now = self.time();
        if let Some(file) = self.files.get_mut(OsStr::new(name)) {
            (file.stamp.mtime, file.stamp.ctime) = (now, now);
        }
    }

    fn remove(&mut self, name: &str) {
        if self.files.remove(OsStr::new(name)).is_some() {
            self.removed.insert(file(name));
        }
    }

    /// Keeps mtime; ctime is the time of the rename.
    fn rename(&mut self, from: &str, to: &str) {
        let now = self.time();
        let Some(mut moved) = self.files.remove(OsStr::new(from)) else { return };
        self.removed.insert(file(from));
        if matches!(moved.content, Content::Dangling) {
            // What was there is gone, and nothing has come in its place.
            self.removed.insert(file(to));
        }
        moved.stamp.ctime = now;
        moved.moved = self.notifies;
        self.files.insert(file(to), moved);
    }

    fn fail(&mut self, name: &str, errno: Option<i32>) {
        if let Some(file) = self.files.get_mut(OsStr::new(name)) {
            file.errno = errno;
        }
    }

    fn list(&self) -> Result<Listing, Error> {
        if self.listing_fails {
            return Err(Error::new(ErrorKind::Io, "cannot list: simulated"));
        }
        let entries = self.files.iter().map(|(name, file)| {
            let seen = match (file.errno, &file.content) {
                _ if self.contradicts => Seen::Vanished,
                (Some(errno), _) => Seen::Failed(errno),
                (None, Content::Bytes(_)) => Seen::File(file.stamp),
                (None, Content::Other(kind)) => Seen::Other(*kind),
                (None, Content::Dangling) => Seen::Absent,
            };
            Entry { name: name.clone(), seen }
        });
        Ok(Listing { entries: entries.collect(), certain: false })
    }

    /// `None` is exhaustion.
    fn read(&self, name: &FileName) -> Option<Document> {
        if self.reads_exhausted {
            return None;
        }
        let Some(file) = self.files.get(name).filter(|_| !self.contradicts) else { return Some(Document::Absent) };
        let faulty = |fault: Fault| Document::Faulty { stamp: None, fault, error: fault.file_type_error() };
        Some(match (file.errno, &file.content) {
            (Some(errno), _) => faulty(Fault::Unreadable(errno)),
            (None, Content::Other(kind)) => faulty(Fault::Other(*kind)),
            (None, Content::Dangling) => Document::Absent,
            (None, Content::Bytes(bytes)) => {
                let handoff = Handoff::of(bytes);
                let age = (self.time().millis() - file.stamp.ctime.millis()) / 1000;
                let hash = ContentHash::of(bytes);
                let pid = handoff.as_ref().ok().and_then(process_of);
                let process = pid.filter(|_| self.processes_checked).map(|pid| self.process(pid));
                Document::Content { stamp: file.stamp, recent: age <= 3, moved: file.moved, hash, handoff, process }
            }
        })
    }
}

fn file(name: &str) -> FileName {
    FileName::from(OsStr::new(name))
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
        if self.core.is_scan_due(self.now) {
            match self.disk.list() {
                Ok(listing) => self.core.handle_listing(self.now, self.now, &listing),
                Err(error) => self.core.handle_scan_error(self.now, self.now, error),
            }
            for act in std::mem::take(&mut self.meanwhile) {
                act(&mut self.disk);
            }
            self.remember();
        }
        while let Some((id, name)) = self.core.poll_read(self.now) {
            self.reads += 1;
            match self.disk.read(&name) {
                Some(document) => self.core.handle_document(self.now, self.now, id, document),
                None => self.core.handle_exhausted(id, Error::new(ErrorKind::Io, "too many open files: simulated")),
            }
        }
        while let Some((followed, pid)) = self.core.poll_process() {
            self.looks += 1;
            let process = self.disk.process(pid);
            self.core.handle_process(followed, process);
        }
        while self.core.poll_registry().is_some() {}
        while let Some(ticket) = self.core.poll_revoke() {
            if let Some(place) = self.waiting.iter().position(|parcel| parcel.ticket == ticket) {
                self.waiting.remove(place);
                self.core.handle_revoked(ticket);
            }
        }
        // An acknowledgement wakes the thread, which may have room then.
        loop {
            while self.offer() {
                self.take();
            }
            if !self.delete_taken() {
                break;
            }
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
            let Some(parcel) = self.core.poll_event() else { break };
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
        self.pass(end);
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
