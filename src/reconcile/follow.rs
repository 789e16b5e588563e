//! [pure] What follows from a step of a file: reads to be made, claims that come and go, replicas that differ.
//!
//! In: a [`Step`], and what the file was before it. Out: nothing but changes of the [`Reconciler`].

use std::time::Instant;

use super::document::Document;
use super::file::{File, Rank, Step};
use super::outbox::Subject;
use super::table::{FileId, ReplicaId};
use super::{Reconciler, Waiting};
use crate::error::Error;
use crate::event::RemovedReason;
use crate::replica::ReplicaKey;

/// What is compared before and after a step of a file.
#[derive(Clone)]
pub(super) struct Before {
    pub(super) rank: Option<Rank>,
    pub(super) invalid: bool,
    pub(super) undecided: bool,
    /// The replica that it may speak of next.
    coming: Option<ReplicaKey>,
}

impl Before {
    pub(super) fn of(file: &File) -> Self {
        let (invalid, undecided) = (file.verdict.is_some(), file.is_undecided());
        Self { rank: file.rank(), invalid, undecided, coming: file.coming().cloned().map(ReplicaKey) }
    }
}

impl Reconciler {
    /// Draws the consequences of a step.
    pub(super) fn follow(&mut self, id: FileId, before: Before, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Read => self.queue_read(id),
            Step::ReadAt(at) => self.schedule.read_at(id, at),
            Step::ListAt(at) => self.schedule.scan_by(at),
            Step::Accepted { found } => self.accepted(id, found),
            Step::Rejected => self.differs(Subject::Invalid(id)),
            Step::Gone => return self.gone(id, before),
        }
        let Some(file) = self.files.get(id) else { return };
        let after = Before::of(file);
        if before.rank != after.rank && !matches!(step, Step::Accepted { .. }) {
            let is_there = after.rank.is_some_and(|rank| rank.is_there);
            // What it lost by going missing it has again, also where nothing else spoke of the replica meanwhile.
            let replica = if is_there { self.claim(id) } else { file.replica };
            if let Some(replica) = replica {
                self.claims_changed(replica, None);
            }
        }
        let is_over = before.invalid && !after.invalid;
        self.count(before, after);
        if is_over {
            self.differs(Subject::Invalid(id));
        }
        self.decided_at_start(id);
    }

    fn queue_read(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(id)
            && !std::mem::replace(&mut file.read_queued, true)
        {
            self.reads.push_back(id);
        }
    }

    fn accepted(&mut self, id: FileId, found: Instant) {
        let Some(replica) = self.claim(id) else { return };
        let (Some(file), Some(claimed)) = (self.files.get(id), self.replicas.get_mut(replica)) else { return };
        if let (Some(_), Some(version)) = (&self.announcements, &file.version) {
            claimed.announce(&file.name, version, found);
        }
        if claimed.claims().len() > 1 {
            self.rivals.insert(id);
        }
        self.claims_changed(replica, Some(id));
    }

    /// The file claims the replica of which its version in force speaks, and no other.
    fn claim(&mut self, id: FileId) -> Option<ReplicaId> {
        let file = self.files.get(id)?;
        let key = ReplicaKey(file.version.as_ref()?.handoff.clone());
        let replica = match file.replica {
            Some(same) if self.replicas.get(same).is_some_and(|replica| replica.key == key) => same,
            _ => {
                self.withdraw(id, RemovedReason::Moved);
                self.replicas.find_or_create(&key)
            }
        };
        // No version is kept for its name alone.
        self.replicas.rename(replica, key);
        self.files.get_mut(id)?.replica = Some(replica);
        self.replicas.get_mut(replica)?.claim(id, &self.files);
        Some(replica)
    }

    /// Whether what came with a listing can be followed before the rest of that is looked at: nothing has spoken of its
    /// replica yet, as far as is remembered.
    pub(super) fn can_go_first(&mut self, document: &Document) -> bool {
        let Document::Content { handoff: Ok(handoff), .. } = document else { return false };
        let is_known = self.replicas.find(&ReplicaKey(handoff.clone())).is_some();
        // Its file may just have been given another name; or both came, and which one counts is told with the rest.
        self.relist |= is_known;
        !is_known
    }

    /// The rest of the listing is known. What was read is what the file says, unless it has another stamp by now.
    pub(super) fn follow_waiting(&mut self, waiting: Waiting) {
        let Waiting { began, read, id, document } = waiting;
        let Some(file) = self.files.get(id) else { return };
        if document.stamp().is_some_and(|stamp| file.is_there_as(stamp)) {
            self.handle_document(began, read, id, document);
        } else {
            self.reads.push_back(id);
        }
    }

    pub(super) fn gone(&mut self, id: FileId, before: Before) {
        self.count(before, Before { rank: None, invalid: false, undecided: false, coming: None });
        self.schedule.forget(id);
        self.outbox.forgive(Subject::Invalid(id));
        self.resolved(Subject::Invalid(id));
        self.withdraw(id, RemovedReason::FileRemoved);
        self.revocations.extend(self.outbox.ticket(Subject::Invalid(id)));
        self.files.remove(id);
    }

    /// The file no longer claims the replica that it claimed.
    pub(super) fn withdraw(&mut self, id: FileId, reason: RemovedReason) {
        let Some(file) = self.files.get_mut(id) else { return };
        let Some(replica) = file.replica.take() else { return };
        if let Some(claimed) = self.replicas.get_mut(replica) {
            // What was announced stands, whatever becomes of the file.
            claimed.withdraw(id, &file.name, self.announcements.is_none().then_some(reason));
            self.claims_changed(replica, None);
        }
    }

    fn count(&mut self, before: Before, after: Before) {
        let moved = |count: usize, was: bool, is: bool| count + usize::from(is) - usize::from(was);
        self.invalid_files = moved(self.invalid_files, before.invalid, after.invalid);
        self.undecided_files = moved(self.undecided_files, before.undecided, after.undecided);
        if before.coming != after.coming {
            if let Some(key) = after.coming {
                *self.coming.entry(key).or_default() += 1;
            }
            before.coming.into_iter().for_each(|key| self.has_come(&key));
        }
    }

    /// A file says by now what it has to say of the replica, or will not.
    fn has_come(&mut self, key: &ReplicaKey) {
        if let Some(count) = self.coming.get_mut(key) {
            *count -= 1;
            if *count > 0 {
                return;
            }
            self.coming.remove(key);
        }
        // What nothing speaks of any more was not said to be gone as long as something might.
        if let Some((id, replica)) = self.replicas.find(key).and_then(|id| Some((id, self.replicas.get(id)?)))
            && replica.claims().is_empty()
        {
            self.registry_changes.push(key.clone());
            self.differs(Subject::Replica(id));
        }
    }

    pub(super) fn postpone(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(id) {
            let before = Before::of(file);
            file.postpone();
            let after = Before::of(file);
            self.count(before, after);
        }
    }

    pub(super) fn unavailable(&mut self, error: Error) {
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.id);
        for id in std::mem::take(&mut self.reads).into_iter().chain(waiting) {
            self.postpone(id);
        }
        self.round_open = false;
        self.relist = false;
        self.arriving = false;
        self.processes.clear();
        if self.availability.error.replace(error).is_none() {
            self.differs(Subject::Availability);
        }
    }

    /// The claims of a replica, or their ranks, are others now. `accepted` is the file that brought a new version.
    pub(super) fn claims_changed(&mut self, id: ReplicaId, accepted: Option<FileId>) {
        let Some(replica) = self.replicas.get_mut(id) else { return };
        self.registry_changes.push(replica.key.clone());
        if let Some(announcements) = &mut self.announcements {
            if replica.has_ended() {
                announcements.ended.insert(id);
            }
            return self.differs(Subject::Replica(id));
        }
        replica.drop_missing(&self.files);
        let winner = replica.winner(&self.files);
        let contest = replica.contest(&self.files);
        let contest_differs = contest.as_ref() != replica.told_contest();
        if contest.is_none() {
            replica.tell_contest(None);
            self.outbox.forgive(Subject::Conflict(id));
        }
        if let Some(winner) = winner.filter(|winner| Some(*winner) != accepted && !self.rivals.contains(winner))
            && let Some(version) = self.files.get_mut(winner).and_then(|file| file.version.as_mut())
        {
            // It takes over what it has been saying for long: no new file, so no latency of one.
            version.changed = None;
        }
        // One that is over may still be on its way.
        if contest_differs || self.outbox.ticket(Subject::Conflict(id)).is_some() {
            self.differs(Subject::Conflict(id));
        }
        self.differs(Subject::Replica(id));
    }
}
