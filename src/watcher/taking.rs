//! [thread] Where files are messages to be consumed: deletes what the host has taken.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::worker::Worker;
use crate::consume::{Consumed, bring_back, consume};
use crate::directory::Directory;
use crate::error::Error;
use crate::log::Log;
use crate::payload::ContentHash;
use crate::read::ReadOutcome;
use crate::reconcile::Taken;

/// For so long deleting goes on after a stop, which must not take long.
const AFTER_A_STOP: Duration = Duration::from_millis(20);

/// What the scanning thread remembers of it.
#[derive(Debug, Default)]
pub(super) struct Taking {
    /// What was hidden, by a host that has ended or where something went wrong, is back.
    brought_back: bool,
    /// The error numbers that were complained about: once each, however many files and polls there are.
    complaints: BTreeSet<Option<i32>>,
}

impl Taking {
    fn complain(&mut self, log: &Log, error: &Error) {
        if self.complaints.insert(error.io_error().and_then(io::Error::raw_os_error)) {
            log.warn(format_args!("{error}"));
        }
    }
}

impl Worker {
    /// Before the first listing, and again when something was left hidden.
    pub(super) fn bring_back(&mut self, directory: &Directory) {
        let Some(taking) = self.taking.as_mut().filter(|taking| !taking.brought_back) else { return };
        let log = &self.settings.log;
        match bring_back(directory) {
            Ok(count) => {
                taking.brought_back = true;
                if count > 0 {
                    log.info(format_args!("{count} handoffs that were about to be deleted are back"));
                }
            }
            Err(errno) => {
                let dir = &self.settings.runtime_dir;
                let error = Error::io("bring back what was about to be deleted", dir, errno.into());
                taking.complain(log, &error);
            }
        }
    }

    /// At the end: what the host has taken by then needs not be told again to the next one.
    pub(super) fn take_the_last_away(&mut self) {
        if self.taking.is_some() {
            self.hear_acks();
            self.take_away();
        }
    }

    /// Deletes what the host has taken since, unless it is something else by now; says whether anything was.
    pub(super) fn take_away(&mut self) -> bool {
        let Some(taking) = &mut self.taking else { return false };
        let mut deleted = false;
        let mut directory = None;
        let mut end = None;
        while let Some((id, name, hash)) = self.core.poll_taken() {
            // What is not deleted by then is told again to the next host.
            if self.shared.is_stopped() && Instant::now() > *end.get_or_insert_with(|| Instant::now() + AFTER_A_STOP) {
                break;
            }
            let opened = match directory.take() {
                Some(opened) => Ok(opened),
                None => Directory::open_trusted(&self.settings.runtime_dir, self.settings.trust.as_ref()),
            };
            let mut is_hidden = false;
            let consumed = opened.and_then(|opened| {
                let opened = directory.insert(opened);
                let reader = &mut self.reader;
                let is_taken = |name: &_| match reader.read(opened, name) {
                    ReadOutcome::Bytes { bytes, .. } => Ok(ContentHash::of(bytes) == hash),
                    ReadOutcome::Absent
                    | ReadOutcome::Other(_)
                    | ReadOutcome::TooLarge { .. }
                    | ReadOutcome::Untrusted { .. } => Ok(false),
                    // Which version it is shows at another time.
                    ReadOutcome::Changing | ReadOutcome::Contradictory { .. } => Err(Errno::AGAIN),
                    ReadOutcome::Failed(error) | ReadOutcome::Exhausted(error) => {
                        Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
                    }
                };
                consume(opened, &name, is_taken).map_err(|failed| {
                    is_hidden = failed.is_hidden;
                    let path = self.settings.runtime_dir.join(&*name);
                    Error::io(action(failed.errno), &path, failed.errno.into())
                })
            });
            let outcome = match consumed {
                Ok(Consumed::Deleted) => Taken::Deleted,
                Ok(Consumed::Changed) => Taken::Changed,
                Err(error) => {
                    taking.brought_back &= !is_hidden;
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
