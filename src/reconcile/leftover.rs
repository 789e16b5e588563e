//! [pure] Leftovers: handoffs whose process is none of theirs any more.
//!
//! In: what is known of a process. Out: which processes are to be looked at, and what follows from what is known.
//!
//! Two questions, and a different answer to each:
//! - *Is a handoff that is read now a leftover?* The clocks decide: its file must not have been written before the
//!   process started, nor before the machine did. A clock that is set forward between the writing of a handoff and the
//!   first look at it makes it look like one; to write or to touch the file once more mends that.
//! - *Does the engine of a handoff in force still run?* The start of the process decides, counted from the start of the
//!   machine, which no setting of a clock changes: it is the same process, or it is not.
//!
//! Once a leftover, a file stays one until its content or its mtime changes: its number may be given to any process at
//! any time, and none of them is the engine's.

use std::time::Duration;

use super::announcement::announced_process;
use super::file::Verdict;
use super::file::{File, Step, Version};
use super::follow::Before;
use super::table::{FileId, ReplicaId};
use super::{Fault, Reconciler};
use crate::error::{Error, ErrorKind};
use crate::event::RemovedReason;
use crate::listing::{Life, Moment, Process};
use crate::payload::{ContentHash, Handoff};

/// By how much a file may be older than its process and still be its handoff, in milliseconds: the coarsest clock of a
/// file system stands 2 s behind, and a leap second and the rounding of the ticks are less than another one.
const TOLERANCE_MS: i64 = 3000;

/// A version that was found to be a leftover.
#[derive(Clone, Debug)]
pub(super) struct Leftover {
    hash: ContentHash,
    mtime: Moment,
    error: Error,
}

/// The process of a version in force: when it started, counted from the start of the machine, and the mtime of the file
/// for which that was found to be right.
pub(super) type Identity = (Duration, Moment);

/// What in force names a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Followed {
    File(FileId),
    /// What was announced of it last, whatever became of its file.
    Replica(ReplicaId),
}

/// The process that has to run for a handoff to be one. One that says "not ready" needs none.
pub(crate) fn process_of(handoff: &Handoff) -> Option<u32> {
    handoff.pid().filter(|_| handoff.is_ready())
}

/// Why a handoff that was written at `mtime` is not that of this process.
fn leftover(pid: u32, process: Process, mtime: Moment) -> Option<Error> {
    let written = mtime.millis();
    let too_late = |start: i64| start.saturating_sub(written).saturating_sub(TOLERANCE_MS) > 0;
    if process.boot.is_some_and(too_late) {
        let message = format!("written before this machine started, so process {pid} is not its engine");
        return Some(stale(&message));
    }
    match (process.life, process.boot) {
        (Life::Gone, _) => Some(stale(&format!("process {pid} does not run"))),
        (Life::Runs { since_boot }, Some(boot)) => {
            let started = boot.saturating_add(i64::try_from(since_boot.as_millis()).unwrap_or(i64::MAX));
            too_late(started).then(|| {
                let seconds = started.saturating_sub(written) / 1000;
                stale(&format!("process {pid} started {seconds} s after this was written, so it is another one"))
            })
        }
        (Life::Runs { .. }, None) | (Life::Unknown, _) => None,
    }
}

fn stale(found: &str) -> Error {
    let message =
        format!("{found}: expected a running engine; remove the file, or write it anew when the engine is back");
    Error::new(ErrorKind::Stale, message).with_field("pid")
}

impl Version {
    /// Why the process of this version in force is not its engine any more.
    pub(super) fn follow(&mut self, process: Process) -> Option<Error> {
        let pid = process_of(&self.handoff)?;
        let Life::Runs { since_boot } = process.life else {
            return (process.life == Life::Gone).then(|| stale(&format!("process {pid} has exited")));
        };
        match self.process.as_deref() {
            Some((same, _)) if *same == since_boot => {}
            // The same bytes were written again: perhaps for a new process of the same number.
            Some((_, mtime)) if *mtime == self.mtime => {
                return Some(stale(&format!("process {pid} has exited, and another one has its number")));
            }
            _ => {
                if let Some(error) = leftover(pid, process, self.mtime) {
                    return Some(error);
                }
            }
        }
        let identity = (since_boot, self.mtime);
        if self.process.as_deref() != Some(&identity) {
            self.process = Some(Box::new(identity));
        }
        None
    }
}

impl File {
    /// Why what was just read is a leftover. What is in force is not asked: its process is followed.
    pub(super) fn is_leftover(
        &mut self,
        hash: ContentHash,
        mtime: Moment,
        handoff: &Handoff,
        process: Option<Process>,
    ) -> Option<Error> {
        let (process, pid) = (process?, process_of(handoff)?);
        if self.version.as_ref().is_some_and(|version| version.handoff.hash() == hash) {
            return None;
        }
        if let Some(known) = self.leftover.as_ref().filter(|known| (known.hash, known.mtime) == (hash, mtime)) {
            return Some(known.error.clone());
        }
        let error = leftover(pid, process, mtime)?;
        self.leftover = Some(Box::new(Leftover { hash, mtime, error: error.clone() }));
        Some(error)
    }

    /// The version in force is a leftover now, and no longer in force.
    fn expire(&mut self, error: Error) -> Option<Version> {
        let version = self.version.take()?;
        if self.verdict.is_none() && !self.is_undecided() {
            let fault = Fault::Stale(version.handoff.hash());
            self.verdict = Some(Box::new(Verdict { fault, error: error.clone(), told: false }));
        }
        self.leftover = Some(Box::new(Leftover { hash: version.handoff.hash(), mtime: version.mtime, error }));
        Some(version)
    }
}

impl Reconciler {
    /// After a complete listing: every handoff in force that has a process is to be looked at, once.
    pub(super) fn queue_processes(&mut self) {
        self.processes.clear();
        if !self.check_processes {
            return;
        }
        let mut processes = std::mem::take(&mut self.processes);
        if self.announcements.is_some() {
            processes.extend(self.announced_processes());
        } else {
            let followed = self.files.iter().filter(|(_, file)| file.process().is_some());
            processes.extend(followed.map(|(id, _)| Followed::File(id)));
        }
        self.processes = processes;
    }

    /// The next process to look at, and what in force names it. To be asked when all is read: a file that was replaced
    /// names another process.
    pub(crate) fn poll_process(&mut self) -> Option<(Followed, u32)> {
        while let Some(followed) = self.processes.pop_front() {
            let pid = match followed {
                Followed::File(file) => self.files.get(file).and_then(|file| file.process()),
                Followed::Replica(replica) => self.replicas.get(replica).and_then(announced_process),
            };
            if let Some(pid) = pid {
                return Some((followed, pid));
            }
        }
        None
    }

    /// What is known of the process that something in force names.
    pub(crate) fn handle_process(&mut self, followed: Followed, process: Process) {
        match followed {
            Followed::File(file) => self.handle_file_process(file, process),
            Followed::Replica(replica) => self.handle_announced_process(replica, process),
        }
    }

    fn handle_file_process(&mut self, id: FileId, process: Process) {
        let Some(file) = self.files.get_mut(id) else { return };
        let before = Before::of(file);
        let error = file.version.as_mut().and_then(|version| version.follow(process));
        if error.and_then(|error| file.expire(error)).is_none() {
            return;
        }
        let step = if file.verdict.is_some() && !before.invalid { Step::Rejected } else { Step::Nothing };
        self.withdraw(id, RemovedReason::ProcessExited);
        self.follow(id, before, step);
    }
}
