//! [pure] The difference between what is and what the host was told, as events.
//!
//! In: a subject. Out: the event that tells what differs, and the [`Flight`] that remembers what it will have told.

use std::path::PathBuf;
use std::time::Duration;

use super::file::Version;
use super::outbox::{Subject, Ticket};
use super::replica::{Contest, Replica, Told};
use super::table::{FileId, ReplicaId};
use super::{Fault, Reconciler};
use crate::event::{HandoffEvent, RemovedReason};
use crate::listing::{FileName, Moment};
use crate::payload::Handoff;

/// What is to be told, as small as it is kept: it may have to wait, and a document can be many times larger when it is
/// decoded than it is in its file.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Ready { file: PathBuf, handoff: Handoff },
    Updated { file: PathBuf, handoff: Handoff, previous: Handoff },
    Removed { file: PathBuf, handoff: Handoff, reason: RemovedReason },
    Other(Box<HandoffEvent>),
}

impl News {
    /// The event that the host receives.
    pub(crate) fn event(self, latency: Option<Duration>) -> HandoffEvent {
        match self {
            Self::Ready { file, handoff } => HandoffEvent::Ready { file, payload: handoff.payload(), latency },
            Self::Updated { file, handoff, previous } => {
                let previous = Box::new(previous.payload());
                HandoffEvent::Updated { file, payload: handoff.payload(), previous, latency }
            }
            Self::Removed { file, handoff, reason } => {
                HandoffEvent::Removed { file, payload: handoff.payload(), reason }
            }
            Self::Other(event) => *event,
        }
    }
}

/// When the file that it is about became what it is, and what it will have told.
type Dispatch = (News, Option<Moment>, Flight);

/// What an event on its way will have told, once the host has taken it.
#[derive(Clone, Debug)]
pub(super) enum Flight {
    Availability(bool),
    Synced,
    Invalid(FileId, Fault),
    Replica(ReplicaId, Option<Told>),
    Conflict(ReplicaId, Contest),
}

impl Flight {
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Availability(_) => Subject::Availability,
            Self::Synced => Subject::Synced,
            Self::Invalid(file, _) => Subject::Invalid(*file),
            Self::Replica(replica, _) => Subject::Replica(*replica),
            Self::Conflict(replica, _) => Subject::Conflict(*replica),
        }
    }
}

impl Reconciler {
    /// The subject may have something else to say than before. What is on its way is taken back if it is out of date; what
    /// was refused is tried again at once if it is something else, and at its time if it is not.
    pub(super) fn differs(&mut self, subject: Subject) {
        match self.outbox.ticket(subject) {
            Some(ticket) if self.flights.get(&ticket).is_some_and(|flight| self.is_current(flight)) => {}
            Some(ticket) => self.revocations.push_back(ticket),
            None if self.outbox.refused(subject).is_some_and(|flight| self.is_current(flight)) => {}
            None => self.outbox.changed(subject),
        }
    }

    /// Takes an event off its way: it arrived, or was taken back.
    pub(super) fn land(&mut self, ticket: Ticket) -> Option<Flight> {
        let flight = self.flights.remove(&ticket)?;
        self.outbox.arrive(flight.subject());
        Some(flight)
    }

    /// Whether what is on its way is still what is to be told.
    pub(super) fn is_current(&self, flight: &Flight) -> bool {
        match flight {
            Flight::Availability(available) => *available == self.availability.error.is_none(),
            Flight::Synced => true,
            Flight::Invalid(file, fault) => {
                let verdict = self.files.get(*file).and_then(|file| file.verdict.as_ref());
                verdict.is_some_and(|verdict| verdict.fault == *fault)
            }
            Flight::Replica(replica, told) => {
                self.replicas.get(*replica).and_then(|replica| self.desired_of(replica)) == *told
            }
            Flight::Conflict(replica, contest) => {
                self.replicas.get(*replica).and_then(|replica| replica.contest(&self.files)).as_ref() == Some(contest)
            }
        }
    }

    /// Whether the host is to be told something of the subject.
    pub(super) fn is_different(&self, subject: Subject) -> bool {
        match subject {
            Subject::Availability => self.availability.told_available != self.availability.error.is_none(),
            // Put in the outbox once, when it is reached.
            Subject::Synced => false,
            Subject::Invalid(file) => {
                let verdict = self.files.get(file).and_then(|file| file.verdict.as_ref());
                verdict.is_some_and(|verdict| !verdict.told)
            }
            Subject::Replica(replica) => {
                self.replicas.get(replica).is_some_and(|replica| replica.told() != self.desired_of(replica).as_ref())
            }
            Subject::Conflict(replica) => self.replicas.get(replica).is_some_and(|replica| {
                let contest = replica.contest(&self.files);
                contest.is_some() && contest.as_ref() != replica.told_contest()
            }),
        }
    }

    /// The event of a subject, if there is anything to tell; when the file that it is about became what it is.
    pub(super) fn event(&self, subject: Subject) -> Option<Dispatch> {
        match subject {
            Subject::Synced => Some((News::Other(Box::new(HandoffEvent::Synced)), None, Flight::Synced)),
            // Says by itself whether there is a difference.
            Subject::Replica(replica) => self.replica_event(replica),
            _ if !self.is_different(subject) => None,
            Subject::Availability => {
                let event = match self.availability.error.clone() {
                    Some(error) => HandoffEvent::Unavailable { error },
                    None => HandoffEvent::Available,
                };
                Some((News::Other(Box::new(event)), None, Flight::Availability(self.availability.error.is_none())))
            }
            Subject::Invalid(id) => {
                let file = self.files.get(id)?;
                let (verdict, file) = (file.verdict.as_ref()?, self.path(&file.name));
                let error = verdict.error.clone().with_path(&file);
                Some((
                    News::Other(Box::new(HandoffEvent::Invalid { file, error })),
                    None,
                    Flight::Invalid(id, verdict.fault),
                ))
            }
            Subject::Conflict(id) => {
                let replica = self.replicas.get(id)?;
                let contest = replica.contest(&self.files)?;
                let event = HandoffEvent::Conflict {
                    pool_id: replica.key.0.pool_id().to_owned(),
                    replica_id: replica.key.0.replica_id().to_owned(),
                    winner: self.path(&contest.winner),
                    losers: contest.losers.iter().map(|loser| self.path(loser)).collect(),
                };
                Some((News::Other(Box::new(event)), None, Flight::Conflict(id, contest)))
            }
        }
    }

    fn replica_event(&self, id: ReplicaId) -> Option<Dispatch> {
        let replica = self.replicas.get(id)?;
        let desired = self.desired_of(replica);
        let changed = self.in_force_of(replica).and_then(|(_, version)| version.changed);
        let news = match (replica.told(), &desired) {
            (None, None) => return None,
            (Some(before), Some(now)) if before == now => return None,
            (None, Some(now)) => News::Ready { file: self.path(&now.file), handoff: now.handoff.clone() },
            (Some(before), Some(now)) => News::Updated {
                file: self.path(&now.file),
                handoff: now.handoff.clone(),
                previous: before.handoff.clone(),
            },
            (Some(before), None) => News::Removed {
                file: self.path(&before.file),
                handoff: before.handoff.clone(),
                reason: self.in_force_of(replica).map_or_else(|| replica.removal(), |_| RemovedReason::NotReady),
            },
        };
        Some((news, changed, Flight::Replica(id, desired)))
    }

    /// No file speaks of the replica, but one that is not believed yet may: it stays as it is until then.
    pub(super) fn is_between_files(&self, replica: &Replica) -> bool {
        self.announcements.is_none() && replica.claims().is_empty() && self.coming.contains_key(&replica.key)
    }

    /// What the host should hold of a replica: nothing where no file claims it, or the one in force says "not ready".
    fn desired_of(&self, replica: &Replica) -> Option<Told> {
        if self.is_between_files(replica) {
            return replica.told().cloned();
        }
        let (file, version) = self.in_force_of(replica)?;
        let told = || Told { file: file.clone(), handoff: version.handoff.clone() };
        version.handoff.is_ready().then(told)
    }

    /// The file in force of a replica, and its version.
    pub(super) fn in_force_of<'a>(&'a self, replica: &'a Replica) -> Option<(&'a FileName, &'a Version)> {
        if self.announcements.is_some() {
            return replica.announcement().map(|it| (&it.file, &it.version));
        }
        let file = self.files.get(replica.winner(&self.files)?)?;
        Some((&file.name, file.version.as_ref()?))
    }

    /// The host knows all that there is of the subject: `synced` need not wait for it, and nothing is remembered of a
    /// replica that is no more.
    pub(super) fn resolved(&mut self, subject: Subject) {
        match subject {
            Subject::Invalid(file) => {
                if let Some(file) = self.files.get_mut(file) {
                    self.sync.arrived(&mut file.is_awaited);
                }
            }
            Subject::Replica(id) => {
                self.taken(id);
                if let Some(replica) = self.replicas.get_mut(id) {
                    self.sync.arrived(&mut replica.is_awaited);
                }
                self.forget(id);
            }
            Subject::Conflict(id) => self.forget(id),
            Subject::Availability | Subject::Synced => {}
        }
    }

    fn forget(&mut self, id: ReplicaId) {
        if self.replicas.get(id).is_some_and(|replica| replica.is_forgotten())
            && self.outbox.ticket(Subject::Replica(id)).or_else(|| self.outbox.ticket(Subject::Conflict(id))).is_none()
            && let Some(mut replica) = self.replicas.remove(id)
        {
            self.sync.arrived(&mut replica.is_awaited);
        }
    }

    /// A file of the first listing is decided, or does not come to rest: what remains of it for `synced` is that its
    /// replica be taken.
    pub(super) fn decided_at_start(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(id).filter(|file| file.is_awaited) else { return };
        let waits = if file.is_undecided() {
            file.is_initial() || self.sync.restless_until().is_some()
        } else {
            file.verdict.as_ref().is_some_and(|it| !it.told)
        };
        if waits {
            return;
        }
        self.sync.arrived(&mut file.is_awaited);
        if let Some(replica) = file.replica
            && self.is_different(Subject::Replica(replica))
            && let Some(replica) = self.replicas.get_mut(replica)
        {
            self.sync.awaits(&mut replica.is_awaited);
        }
    }

    fn path(&self, name: &FileName) -> PathBuf {
        self.dir.join(&**name)
    }
}
