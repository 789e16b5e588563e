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
use super::file::{LOOK_AGAIN, RACY_WINDOW, Version};
use super::follow::Before;
use super::leftover::{Followed, process_of};
use super::outbox::Subject;
use super::replica::Replica;
use super::table::{FileId, ReplicaId};
use crate::config::Mode;
use crate::event::RemovedReason;
use crate::hidden::came_back;
use crate::listing::{FileName, Process};
use crate::payload::ContentHash;

/// What is remembered where files are messages.
#[derive(Debug)]
pub(super) struct Announcements {
    /// Files that the host has taken may be taken away; `None` where they stay.
    taken: Option<BTreeSet<FileId>>,
    /// Files that were not taken away: the next poll tries again.
    failed: BTreeSet<FileId>,
    /// Listings before then are of the same poll, or asked for by the attempt itself.
    again_at: Option<Instant>,
    /// Replicas that were said not to be ready, by files that speak of them no longer.
    pub(super) ended: BTreeSet<ReplicaId>,
}

impl Announcements {
    pub(super) fn new(mode: Mode) -> Option<Self> {
        let Mode::Announcements { consume } = mode else { return None };
        let taken = consume.then(BTreeSet::new);
        Some(Self { taken, failed: BTreeSet::new(), again_at: None, ended: BTreeSet::new() })
    }

    /// There was a complete listing. Gives the replicas that may be forgotten by now.
    pub(super) fn listed(&mut self, now: Instant, interval: Duration) -> BTreeSet<ReplicaId> {
        if let Some(taken) = &mut self.taken
            && self.again_at.is_none_or(|at| at <= now)
        {
            taken.append(&mut self.failed);
            self.again_at = Some(now + interval / 2);
        }
        std::mem::take(&mut self.ended)
    }
}

/// What was announced of a replica last.
#[derive(Clone, Debug)]
pub(super) struct Announcement {
    pub(super) file: FileName,
    pub(super) version: Version,
    /// When a look at the directory first showed it.
    found: Instant,
}

impl Announcement {
    /// Where the order in which they were found says nothing.
    fn order(&self) -> impl Ord {
        (self.version.mtime, !came_back(&self.file), &self.file)
    }

    /// Whether it takes the place of what was announced before, by another file. The last one to be found does, however long
    /// it took to believe it; of those found together, the newest, then that of the greater name. One that is back was found
    /// before, by a host that has ended: it is as new as its time says, and older than what else is of that time.
    fn follows(&self, before: &Self) -> bool {
        let last = if self.found > before.found { self } else { before };
        if self.found == before.found || came_back(&last.file) {
            return self.order() > before.order();
        }
        self.found > before.found
    }
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
    /// A file says something new of the replica.
    pub(super) fn announce(&mut self, file: &FileName, version: &Version, found: Instant) {
        let announcement = Announcement { file: file.clone(), version: version.clone(), found };
        if self.announcement().is_none_or(|before| before.file == *file || announcement.follows(before)) {
            self.set_announcement(Some(announcement));
        }
    }

    /// It was said not to be ready, and no file says so any more.
    pub(super) fn has_ended(&self) -> bool {
        self.claims().is_empty() && self.announcement().is_some_and(|it| !it.version.handoff.is_ready())
    }
}

impl Reconciler {
    /// "Not ready" is remembered for as long as a file says so, or may have said something else before that is not believed
    /// yet; and not of every replica that ever was.
    pub(super) fn forget_ended(&mut self, now: Instant, id: ReplicaId) {
        let Some(replica) = self.replicas.get_mut(id).filter(|replica| replica.has_ended()) else { return };
        if replica.announcement().is_some_and(|it| now.duration_since(it.found) <= RACY_WINDOW) {
            self.announcements.as_mut().map(|announcements| announcements.ended.insert(id));
            return;
        }
        replica.set_announcement(None);
        replica.removal = Some(RemovedReason::NotReady);
        self.differs(Subject::Replica(id));
    }

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
