//! [thread] Where files are messages to be consumed: deletes what the host has taken.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::worker::Worker;
use crate::consume::{Consumed, bring_back, consume, go_on};
use crate::directory::Directory;
use crate::error::Error;
use crate::log::Log;
use crate::payload::ContentHash;
use crate::read::{ReadOutcome, Reader};
use crate::reconcile::Taken;

/// For so long deleting goes on after a stop, which must not take long.
const AFTER_A_STOP: Duration = Duration::from_millis(20);

/// What the scanning thread remembers of it.
#[derive(Debug, Default)]
pub(super) struct Taking {
    /// What a host that has ended had hidden is back.
    brought_back: bool,
    /// What is hidden here and not deleted, as something went wrong, with the version that was taken.
    hidden: Vec<(OsString, ContentHash)>,
    /// The error numbers that were complained about: once each, however many files and polls there are.
    complaints: BTreeSet<Option<i32>>,
}

impl Taking {
    fn complain(&mut self, log: &Log, error: &Error) {
        if self.complaints.insert(error.io_error().and_then(io::Error::raw_os_error)) {
            log.warn(format_args!("{error}"));
        }
    }

    /// Before the first listing.
    fn bring_back(&mut self, directory: &Directory, path: &Path, log: &Log) {
        if self.brought_back {
            return;
        }
        match bring_back(directory, |name| self.hidden.iter().any(|(own, _)| own == name)) {
            Ok(count) => {
                self.brought_back = true;
                if count > 0 {
                    log.info(format_args!("{count} handoffs that were about to be deleted are back"));
                }
            }
            Err(errno) => {
                self.complain(log, &Error::io("bring back what was about to be deleted", path, errno.into()));
            }
        }
    }

    /// Tries again what went wrong when it was hidden already, until then if that is given. That was complained about.
    fn go_on(&mut self, directory: &Directory, reader: &mut Reader, end: Option<Instant>) {
        self.hidden.retain_mut(|(name, hash)| {
            if end.is_some_and(|end| Instant::now() > end) {
                return true;
            }
            let tried = go_on(directory, name.clone(), None, |name| is_taken(reader, directory, name, *hash));
            let left = tried.err().and_then(|failed| failed.hidden);
            left.map(|left| *name = left).is_some()
        });
    }
}

/// Whether the file is still the version that was taken; ENOENT where there is none.
fn is_taken(reader: &mut Reader, directory: &Directory, name: &OsStr, hash: ContentHash) -> Result<bool, Errno> {
    match reader.read(directory, name) {
        ReadOutcome::Bytes { bytes, .. } => Ok(ContentHash::of(bytes) == hash),
        ReadOutcome::Other(_) | ReadOutcome::TooLarge { .. } | ReadOutcome::Untrusted { .. } => Ok(false),
        ReadOutcome::Absent => Err(Errno::NOENT),
        // Which version it is shows at another time.
        ReadOutcome::Changing | ReadOutcome::Contradictory { .. } => Err(Errno::AGAIN),
        ReadOutcome::Failed(error) | ReadOutcome::Exhausted(error) => {
            Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
    }
}

impl Worker {
    /// Before each listing, which then sees what is back.
    pub(super) fn settle_hidden(&mut self, directory: &Directory) {
        if let Some(taking) = &mut self.taking {
            taking.bring_back(directory, &self.settings.runtime_dir, &self.settings.log);
            taking.go_on(directory, &mut self.reader, None);
        }
    }

    /// At the end: what the host has taken by then needs not be told again to the next one.
    pub(super) fn take_the_last_away(&mut self) {
        if self.taking.is_some() {
            self.hear_acks();
            self.take_away();
        }
        if let Some(taking) = self.taking.as_mut().filter(|taking| !taking.hidden.is_empty())
            && let Ok(directory) = Directory::open_trusted(&self.settings.runtime_dir, self.settings.trust.as_ref())
        {
            taking.go_on(&directory, &mut self.reader, Some(Instant::now() + AFTER_A_STOP));
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
                let reader = &mut self.reader;
                consume(opened, &name, |name| is_taken(reader, opened, name, hash)).map_err(|failed| {
                    taking.hidden.extend(failed.hidden.map(|hidden| (hidden, hash)));
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
        deleted
    }
}

fn action(errno: Errno) -> &'static str {
    match io::Error::from(errno).kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "delete the handoff that was taken (`consume` needs the right to write to the directory; each poll tries again)"
        }
        _ => "delete the handoff that was taken (each poll tries again)",
    }
}
