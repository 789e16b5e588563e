//! [thread] Where files are messages to be consumed: deletes what the host has taken.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::worker::Worker;
use crate::config::Settings;
use crate::consume::{Consumed, bring_back, consume, go_on};
use crate::directory::{Directory, stamp};
use crate::error::Error;
use crate::listing::OtherKind;
use crate::log::Log;
use crate::payload::ContentHash;
use crate::read::{ReadOutcome, Reader};
use crate::reconcile::Taken;

/// For so long deleting goes on after a stop, which must not take long.
const AFTER_A_STOP: Duration = Duration::from_millis(20);

/// Which directory it is: its device and inode.
type Place = (u32, u64);

/// What the scanning thread remembers of it.
#[derive(Debug)]
pub(super) struct Taking {
    /// Follows no link: what it leads to may be replaced behind it.
    reader: Reader,
    /// Where what a host that has ended had hidden is back.
    brought_back: Option<Place>,
    /// What is hidden here and not deleted, as something went wrong.
    hidden: Vec<Hidden>,
    /// The error numbers that were complained about: once each, however many files and polls there are.
    complaints: BTreeSet<Option<i32>>,
}

/// A file that is hidden.
#[derive(Debug)]
struct Hidden {
    name: OsString,
    /// The version that was taken.
    hash: ContentHash,
    /// Where it is, if that could be seen.
    place: Option<Place>,
}

impl Taking {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            reader: Reader::new(settings.max_file_size, false).trusting(settings.trust.clone()),
            brought_back: None,
            hidden: Vec::new(),
            complaints: BTreeSet::new(),
        }
    }

    fn complain(&mut self, log: &Log, error: &Error) {
        if self.complaints.insert(error.io_error().and_then(io::Error::raw_os_error)) {
            log.warn(format_args!("{error}"));
        }
    }

    /// Before the first listing of a directory. Says whether the descriptor has been used for it.
    fn bring_back(&mut self, directory: &Directory, here: Place, path: &Path, log: &Log) -> bool {
        if self.brought_back == Some(here) {
            return false;
        }
        match bring_back(directory, |name| self.hidden.iter().any(|own| own.name == name)) {
            Ok(count) => {
                self.brought_back = Some(here);
                if count > 0 {
                    log.info(format_args!("{count} handoffs that were about to be deleted are back"));
                }
            }
            Err(errno) => {
                self.complain(log, &Error::io("bring back what was about to be deleted", path, errno.into()));
            }
        }
        true
    }

    /// Tries again what went wrong when it was hidden already, until then if that is given. That was complained about. Says
    /// whether there was any.
    fn go_on(&mut self, directory: &Directory, here: Place, end: Option<Instant>) -> bool {
        let mut tried = false;
        self.hidden.retain_mut(|Hidden { name, hash, place }| {
            // Another directory stands in its place, perhaps for a moment, and has no such file.
            if place.is_some_and(|place| place != here) || end.is_some_and(|end| Instant::now() > end) {
                return true;
            }
            tried = true;
            let outcome =
                go_on(directory, name.clone(), None, |name| is_taken(&mut self.reader, directory, name, *hash));
            let left = outcome.err().and_then(|failed| failed.hidden);
            left.map(|left| *name = left).is_some()
        });
        tried
    }
}

/// Whether the file is still the version that was taken; ENOENT where there is none, ELOOP where it is a link.
fn is_taken(reader: &mut Reader, directory: &Directory, name: &OsStr, hash: ContentHash) -> Result<bool, Errno> {
    match reader.read(directory, name) {
        ReadOutcome::Bytes { bytes, .. } => Ok(ContentHash::of(bytes) == hash),
        ReadOutcome::Other(OtherKind::Symlink) => Err(Errno::LOOP),
        ReadOutcome::Other(_) | ReadOutcome::TooLarge { .. } | ReadOutcome::Untrusted { .. } => Ok(false),
        ReadOutcome::Absent => Err(Errno::NOENT),
        // Which version it is shows at another time.
        ReadOutcome::Changing | ReadOutcome::Contradictory { .. } => Err(Errno::AGAIN),
        ReadOutcome::Failed(error) | ReadOutcome::Exhausted(error) => {
            Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
    }
}

fn place(directory: &Directory) -> Option<Place> {
    directory.stat().ok().map(|stat| stamp(&stat)).map(|stamp| (stamp.device, stamp.inode))
}

impl Worker {
    /// Before each listing. True if that needs another descriptor: this one may have been listed; and on btrfs a directory has,
    /// as long as it is open, only the names that it had by then.
    pub(super) fn settle_hidden(&mut self, directory: &Directory) -> bool {
        // Where it cannot be seen which directory it is, the next listing asks again.
        let Some((taking, here)) = self.taking.as_mut().and_then(|taking| Some((taking, place(directory)?))) else {
            return false;
        };
        let back = taking.bring_back(directory, here, &self.settings.runtime_dir, &self.settings.log);
        taking.go_on(directory, here, None) || back
    }

    /// At the end, when no callback is under way any more: what the host has taken by then needs not be told again to the
    /// next one.
    pub(super) fn take_the_last_away(&mut self) {
        self.hear_acks();
        self.take_away();
        if let Some(taking) = self.taking.as_mut().filter(|taking| !taking.hidden.is_empty())
            && let Ok(directory) = Directory::open_trusted(&self.settings.runtime_dir, self.settings.trust.as_ref())
            && let Some(here) = place(&directory)
        {
            taking.go_on(&directory, here, Some(Instant::now() + AFTER_A_STOP));
        }
    }

    /// Deletes what the host has taken since, unless it is something else by now; says whether anything was.
    pub(super) fn take_away(&mut self) -> bool {
        let mut deleted = false;
        let mut directory = None;
        let mut end = None;
        while let Some(taking) = &mut self.taking
            && let Some((id, name, hash)) = self.core.poll_taken()
        {
            // What is not deleted by then is told again to the next host.
            if self.shared.is_stopped() && Instant::now() > *end.get_or_insert_with(|| Instant::now() + AFTER_A_STOP) {
                break;
            }
            let opened = match directory.take() {
                Some(opened) => Ok(opened),
                None => Directory::open_trusted(&self.settings.runtime_dir, self.settings.trust.as_ref()),
            };
            let consumed = opened.and_then(|opened| {
                let opened = &*directory.insert(opened);
                let consumed = consume(opened, &name, |name| is_taken(&mut taking.reader, opened, name, hash));
                consumed.map_err(|failed| {
                    let hidden = failed.hidden.map(|name| Hidden { name, hash, place: place(opened) });
                    taking.hidden.extend(hidden);
                    let path = self.settings.runtime_dir.join(&*name);
                    Error::io(action(failed.errno), &path, failed.errno.into())
                })
            });
            let outcome = match consumed {
                Ok(Consumed::Deleted) => Taken::Deleted,
                Ok(Consumed::Changed) => Taken::Changed,
                Err(error) => {
                    taking.complain(&self.settings.log, &error);
                    Taken::Failed
                }
            };
            deleted |= outcome == Taken::Deleted;
            self.core.handle_taken(Instant::now(), id, outcome);
        }
        if let Some(taking) = &mut self.taking {
            taking.reader.trim();
        }
        deleted
    }
}

fn action(errno: Errno) -> &'static str {
    match io::Error::from(errno).kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "delete the handoff that was taken (`consume` needs the right to write to the directory; each poll tries again)"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "delete the handoff that was taken (it gets another name first, for which there must be room in the directory; \
             each poll tries again)"
        }
        _ if errno == Errno::LOOP => {
            "delete the handoff that was taken (a symbolic link stays: what it leads to may be replaced at any time)"
        }
        _ => "delete the handoff that was taken (each poll tries again)",
    }
}
