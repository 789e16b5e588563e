//! [pure] Files as messages: what replicas are, and which files have been taken and may go.
//!
//! In: versions that were accepted, as for files that are the state; events that the host took. Out: what was announced
//! of each replica last, which stays in force whatever becomes of the file; and which files are to be taken away.
//!
//! A file claims its replica here too, for as long as it speaks of it: that says whose file may go when the host has
//! taken what there is of a replica.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Reconciler;
use super::file::{LOOK_AGAIN, Version};
use super::follow::Before;
use super::leftover::{Followed, process_of};
use super::outbox::Subject;
use super::replica::Replica;
use super::table::{FileId, ReplicaId};
use crate::config::Mode;
use crate::event::RemovedReason;
use crate::listing::{FileName, Process};
use crate::payload::ContentHash;

/// What is remembered where files are messages.
#[derive(Debug)]
pub(super) struct Announcements {
    /// How many listings there were: what they found together has no order but that of its times.
    round: u64,
    /// Files that the host has taken may be taken away; `None` where they stay.
    taken: Option<BTreeSet<FileId>>,
    /// Files that were not taken away: the next poll tries again.
    failed: BTreeSet<FileId>,
    /// Listings before then are of the same poll, or asked for by the attempt itself.
    again_at: Option<Instant>,
}

impl Announcements {
    pub(super) fn new(mode: Mode) -> Option<Self> {
        let Mode::Announcements { consume } = mode else { return None };
        Some(Self { round: 0, taken: consume.then(BTreeSet::new), failed: BTreeSet::new(), again_at: None })
    }

    /// There was a complete listing.
    pub(super) fn listed(&mut self, now: Instant, interval: Duration) {
        self.round += 1;
        if let Some(taken) = &mut self.taken
            && self.again_at.is_none_or(|at| at <= now)
        {
            taken.append(&mut self.failed);
            self.again_at = Some(now + interval / 2);
        }
    }

    pub(super) fn round(&self) -> u64 {
        self.round
    }
}

/// What was announced of a replica last.
#[derive(Clone, Debug)]
pub(super) struct Announcement {
    pub(super) file: FileName,
    pub(super) version: Version,
    round: u64,
}

/// What became of a file that the host has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is deleted.
    Deleted,
    /// It says something else by now.
    Changed,
    /// It could not be deleted.
    Failed,
}

impl Replica {
    /// A file says something new of the replica. The last one to come counts; of files that were found together, the newer
    /// one, then that of the greater name.
    pub(super) fn announce(&mut self, file: &FileName, version: &Version, round: u64) {
        if let Some(before) = self.announcement()
            && before.round == round
            && before.file != *file
            && (before.version.mtime, &before.file) > (version.mtime, file)
        {
            return;
        }
        self.set_announcement(Some(Announcement { file: file.clone(), version: version.clone(), round }));
    }

    /// "Not ready" is remembered for as long as a file says so, and not of every replica that ever was.
    pub(super) fn forget_ended(&mut self) {
        if self.claims().is_empty() && self.announcement().is_some_and(|it| !it.version.handoff.is_ready()) {
            self.set_announcement(None);
            self.removal = Some(RemovedReason::NotReady);
        }
    }
}

impl Reconciler {
    /// The host knows all that there is of a replica: the files that say it may go.
    pub(super) fn taken(&mut self, replica: ReplicaId) {
        if let Some(Announcements { taken: Some(taken), .. }) = &mut self.announcements
            && let Some(replica) = self.replicas.get(replica)
        {
            taken.extend(replica.claims());
        }
    }

    /// The next file that the host has taken, and its version: it is to be deleted if it is still that one.
    pub(crate) fn poll_taken(&mut self) -> Option<(FileId, FileName, ContentHash)> {
        loop {
            let id = self.announcements.as_mut()?.taken.as_mut()?.pop_first()?;
            let Some(file) = self.files.get(id) else { continue };
            let Some((version, replica)) = file.version.as_ref().zip(file.replica) else { continue };
            let (name, hash, replica) = (file.name.clone(), version.handoff.hash(), Subject::Replica(replica));
            // What came meanwhile is on its way, and this comes again when it has been taken.
            if !self.is_different(replica) && self.outbox.ticket(replica).is_none() {
                return Some((id, name, hash));
            }
        }
    }

    /// What became of a file that was to be deleted.
    pub(crate) fn handle_taken(&mut self, now: Instant, file: FileId, outcome: Taken) {
        match outcome {
            Taken::Deleted => {
                if let Some(before) = self.files.get(file).map(Before::of) {
                    self.gone(file, before);
                }
            }
            Taken::Changed => {
                // It may also have come back under another name. But what is invalid by now may stay so for long.
                if self.files.get(file).is_some_and(|file| file.verdict.is_none()) {
                    self.schedule.scan_by(now + LOOK_AGAIN);
                }
                self.try_again(file);
            }
            Taken::Failed => self.try_again(file),
        }
    }

    /// It may be again what was taken, or still: then nothing else will ever ask for it.
    fn try_again(&mut self, file: FileId) {
        if let Some(announcements) = &mut self.announcements {
            announcements.failed.insert(file);
        }
    }

    /// The replicas whose processes are to be looked at.
    pub(super) fn announced_processes(&self) -> impl Iterator<Item = Followed> {
        let announced = self.replicas.iter().filter(|(_, replica)| announced_process(replica).is_some());
        announced.map(|(id, _)| Followed::Replica(id))
    }

    /// What is known of the process of what was announced last.
    pub(super) fn handle_announced_process(&mut self, id: ReplicaId, process: Process) {
        let Some(replica) = self.replicas.get_mut(id) else { return };
        let exited = replica.announcement_mut().and_then(|it| it.version.follow(process)).is_some();
        if exited {
            replica.set_announcement(None);
            replica.removal = Some(RemovedReason::ProcessExited);
            self.claims_changed(id, None);
        }
    }
}

pub(super) fn announced_process(replica: &Replica) -> Option<u32> {
    process_of(&replica.announcement()?.version.handoff)
}
