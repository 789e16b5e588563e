//! A simulated disk, whose clock, processes and failures a test sets.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::listing::{Entry, FileName, Life, Listing, Moment, OtherKind, Process, Seen, Stamp};
use crate::payload::{ContentHash, Handoff};
use crate::reconcile::{Document, Fault, process_of};
use crate::trust::Breach;

/// A document of a replica; `text` makes versions of one length different.
pub(super) fn doc(pool: &str, replica: &str, text: &str) -> String {
    format!(r#"{{"pool_id":"{pool}","replica_id":"{replica}","url":"http://h/{text}"}}"#)
}

pub(super) fn not_ready(pool: &str, replica: &str) -> String {
    format!(r#"{{"pool_id":"{pool}","replica_id":"{replica}","url":"http://h/","ready":false}}"#)
}

pub(super) fn with_pid(replica: &str, text: &str, pid: u32) -> String {
    format!(r#"{{"pool_id":"p","replica_id":"{replica}","url":"http://h/{text}","pid":{pid}}}"#)
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    Other(OtherKind),
    Dangling,
}

#[derive(Clone, Debug)]
pub(super) struct SimFile {
    pub(super) stamp: Stamp,
    pub(super) content: Content,
    /// `stat` and `open` fail with this.
    pub(super) errno: Option<i32>,
    /// What a read finds instead of the content.
    pub(super) hindrance: Option<Hindrance>,
    /// It was moved to its name and not opened since.
    pub(super) moved: Cell<bool>,
}

/// Why a file that is there cannot be taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hindrance {
    /// A writer is at it for as long as that.
    Changing,
    TooLarge,
    Untrusted,
}

/// A disk whose clock ticks as coarsely as one likes.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<FileName, SimFile>,
    /// The clock of the file system, in nanoseconds; it may be stepped.
    pub(super) clock: i64,
    pub(super) tick: i64,
    pub(super) next_inode: u64,
    pub(super) listing_fails: bool,
    pub(super) reads_exhausted: bool,
    /// The kernel tells of files that are moved to their names, which happens within a tick of the clock.
    pub(super) notifies: bool,
    pub(super) deletions_fail: bool,
    /// `stat` and `open` find nothing.
    pub(super) contradicts: bool,
    pub(super) processes_checked: bool,
    /// By pid; the others are gone.
    pub(super) processes: BTreeMap<u32, Life>,
    /// When the machine started, in nanoseconds; a clock that is stepped takes it along.
    pub(super) boot: i64,
    /// The names that were ever removed: nothing else may be told as removed.
    pub(super) removed: BTreeSet<FileName>,
}

impl Disk {
    pub(super) fn time(&self) -> Moment {
        let ticked = self.clock - self.clock.rem_euclid(self.tick);
        Moment::new(ticked.div_euclid(1_000_000_000), u32::try_from(ticked.rem_euclid(1_000_000_000)).unwrap())
    }

    pub(super) fn process(&self, pid: u32) -> Process {
        Process { life: self.processes.get(&pid).copied().unwrap_or(Life::Gone), boot: Some(self.boot / 1_000_000) }
    }

    pub(super) fn stamp(&self, inode: u64, size: usize) -> Stamp {
        let now = self.time();
        Stamp { inode, size: size as u64, mtime: now, ctime: now, device: 1 }
    }

    pub(super) fn put(&mut self, name: &str, content: Content) {
        let size = if let Content::Bytes(bytes) = &content { bytes.len() } else { 0 };
        self.next_inode += 1;
        let stamp = self.stamp(self.next_inode, size);
        self.files
            .insert(file(name), SimFile { stamp, content, errno: None, hindrance: None, moved: Cell::new(false) });
    }

    /// A temporary file, renamed over the name.
    pub(super) fn replace(&mut self, name: &str, text: &str) {
        self.put(name, Content::Bytes(text.into()));
        if let Some(file) = self.files.get_mut(OsStr::new(name)) {
            file.moved.set(self.notifies);
            if !self.notifies {
                // The rename came after the last byte.
                file.stamp.ctime = file.stamp.ctime.after(1);
            }
        }
    }

    /// Made in place.
    pub(super) fn create(&mut self, name: &str, text: &str) {
        self.put(name, Content::Bytes(text.into()));
    }

    /// The same inode; created if it is not there.
    pub(super) fn overwrite(&mut self, name: &str, text: &str) {
        let Some(inode) = self.files.get(OsStr::new(name)).map(|file| file.stamp.inode) else {
            return self.create(name, text);
        };
        let stamp = self.stamp(inode, text.len());
        self.files.insert(
            file(name),
            SimFile {
                stamp,
                content: Content::Bytes(text.into()),
                errno: None,
                hindrance: None,
                moved: Cell::new(false),
            },
        );
    }

    /// The same inode, and the mtime that it had before.
    pub(super) fn overwrite_keeping_mtime(&mut self, name: &str, text: &str) {
        let before = self.files.get(OsStr::new(name)).map(|file| file.stamp);
        self.overwrite(name, text);
        if let (Some(before), Some(now)) = (before, self.files.get_mut(OsStr::new(name))) {
            now.stamp.mtime = before.mtime;
        }
    }

    pub(super) fn touch(&mut self, name: &str) {
        let now = self.time();
        if let Some(file) = self.files.get_mut(OsStr::new(name)) {
            (file.stamp.mtime, file.stamp.ctime) = (now, now);
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if self.files.remove(OsStr::new(name)).is_some() {
            self.removed.insert(file(name));
        }
    }

    /// Keeps mtime; ctime is the time of the rename.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let now = self.time();
        let Some(mut moved) = self.files.remove(OsStr::new(from)) else { return };
        self.removed.insert(file(from));
        if matches!(moved.content, Content::Dangling) {
            // What was there is gone, and nothing has come in its place.
            self.removed.insert(file(to));
        }
        moved.stamp.ctime = now;
        moved.moved.set(self.notifies);
        self.files.insert(file(to), moved);
    }

    pub(super) fn fail(&mut self, name: &str, errno: Option<i32>) {
        if let Some(file) = self.files.get_mut(OsStr::new(name)) {
            file.errno = errno;
        }
    }

    /// Comes and goes by a change of the file, but for a writer that is at it.
    pub(super) fn hinder(&mut self, name: &str, hindrance: Option<Hindrance>) {
        let now = self.time();
        if let Some(file) = self.files.get_mut(OsStr::new(name)) {
            file.hindrance = hindrance;
            file.stamp.ctime = now;
        }
    }

    /// A process that starts now.
    pub(super) fn start(&mut self, pid: u32) {
        let since_boot = Duration::from_nanos(u64::try_from(self.clock - self.boot).unwrap_or(0));
        self.processes.insert(pid, Life::Runs { since_boot });
    }

    pub(super) fn kill(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// Somebody sets the clock: the start of the machine, by that clock, moves with it.
    pub(super) fn step(&mut self, millis: i64) {
        self.clock += millis * 1_000_000;
        self.boot += millis * 1_000_000;
    }

    pub(super) fn list(&self) -> Result<Listing, Error> {
        if self.listing_fails {
            return Err(Error::new(ErrorKind::Io, "cannot list: simulated"));
        }
        let entries = self.files.keys().map(|name| Entry { name: name.clone(), seen: self.look_at(name) });
        Ok(Listing { entries: entries.collect(), certain: false })
    }

    /// What is under the names of a listing by now.
    pub(super) fn look_again(&self, listing: &Listing) -> Listing {
        let entries = listing.entries.iter().map(|it| Entry { name: it.name.clone(), seen: self.look_at(&it.name) });
        Listing { entries: entries.collect(), certain: listing.certain }
    }

    fn look_at(&self, name: &FileName) -> Seen {
        let Some(file) = self.files.get(name).filter(|_| !self.contradicts) else { return Seen::Vanished };
        match (file.errno, &file.content) {
            (Some(errno), _) => Seen::Failed(errno),
            (None, Content::Bytes(_)) => Seen::File(file.stamp),
            (None, Content::Other(kind)) => Seen::Other(*kind),
            (None, Content::Dangling) => Seen::Absent,
        }
    }

    /// `None` is exhaustion.
    pub(super) fn read(&self, name: &FileName) -> Option<Document> {
        if self.reads_exhausted {
            return None;
        }
        let Some(file) = self.files.get(name).filter(|_| !self.contradicts) else { return Some(Document::Absent) };
        let faulty = |fault: Fault| Document::Faulty { stamp: None, fault, error: fault.file_type_error() };
        let hindered = |fault: Fault, kind: ErrorKind| {
            let error = Error::new(kind, "simulated");
            Some(Document::Faulty { stamp: Some(file.stamp), fault, error })
        };
        match (file.errno, &file.content, file.hindrance) {
            (None, Content::Bytes(_), Some(Hindrance::Changing)) => return Some(Document::Changing),
            (None, Content::Bytes(_), Some(Hindrance::TooLarge)) => {
                return hindered(Fault::TooLarge, ErrorKind::TooLarge);
            }
            (None, Content::Bytes(_), Some(Hindrance::Untrusted)) => {
                return hindered(Fault::Untrusted(Breach::Writable(0o666)), ErrorKind::Untrusted);
            }
            _ => {}
        }
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
                Document::Content {
                    stamp: file.stamp,
                    recent: age <= 3,
                    moved: file.moved.take(),
                    hash,
                    handoff,
                    process,
                }
            }
        })
    }
}

pub(super) fn file(name: &str) -> FileName {
    FileName::from(OsStr::new(name))
}
