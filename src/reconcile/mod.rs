//! [pure] The core: what the directory says, what the host was told, and what is to be done about the difference.
//!
//! A state machine without a clock, disk, thread or channel. Listings, documents and acknowledgements come in together
//! with the time; it is then asked what to read ([`poll_read`](Reconciler::poll_read)), what to tell
//! ([`poll_event`](Reconciler::poll_event)), what to take back ([`poll_revoke`](Reconciler::poll_revoke)) and when to
//! come again ([`poll_timeout`](Reconciler::poll_timeout)). One mutation, then drain.
//!
//! - [`document`]: what a read of a file gave.
//! - [`file`]: one file, its versions, and what is undecided of it.
//! - [`follow`]: what follows from a step of a file.
//! - [`replica`]: who claims a replica, and what the host was told of it.
//! - [`announcement`]: what replicas are where files are messages.
//! - [`schedule`]: when to look at what.
//! - [`leftover`]: handoffs whose process is none of theirs any more.
//! - [`events`]: the difference between what is and what was told, as events.
//! - [`table`]: all files and replicas, and their ids.
//! - [`outbox`]: what the host has still to be told.

mod announcement;
mod document;
mod events;
mod file;
mod follow;
mod leftover;
mod outbox;
mod replica;
mod schedule;
mod table;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::error::Error;
use crate::listing::{Entry, FileName, Listing, Moment, Seen};
use crate::payload::{ContentHash, Handoff};
use crate::replica::ReplicaKey;

use announcement::Announcements;
pub(crate) use announcement::Taken;
pub(crate) use document::{Document, Fault};
use events::Flight;
pub(crate) use events::News;
use file::{File, Step};
use follow::Before;
use leftover::Followed;
pub(crate) use leftover::process_of;
pub(crate) use outbox::Ticket;
use outbox::{Outbox, Subject};
use schedule::Schedule;
pub(crate) use table::FileId;
use table::{Files, Replicas};

/// What is ready to go, and what is needed to follow it.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) ticket: Ticket,
    pub(crate) news: News,
    /// When the file became what the event says, by the wall clock.
    pub(crate) changed: Option<Moment>,
}

/// A replica whose handoff in force is another one now; `None` where nothing speaks of it any more.
#[derive(Clone, Debug)]
pub(crate) struct RegistryChange {
    pub(crate) replica: ReplicaKey,
    pub(crate) handoff: Option<Handoff>,
}

/// The figures of the core, for the stats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) files: usize,
    pub(crate) invalid_files: usize,
    pub(crate) undecided_files: usize,
    pub(crate) backlog: usize,
    pub(crate) available: bool,
}

/// A document of a file that has to wait for the listing that is under way.
#[derive(Debug)]
struct Waiting {
    began: Instant,
    read: Instant,
    id: FileId,
    document: Document,
}

/// A file that was there at the start is to be decided before `synced` is told, also if it changes meanwhile; but one that
/// never comes to rest is not waited for longer than this, beyond the settle time.
const RESTLESS: Duration = Duration::from_secs(2);

/// How far the promise of `synced` has come.
#[derive(Debug)]
enum Sync {
    /// There was no complete listing yet.
    Unlisted,
    /// So many files and replicas that were there at the start have not been taken yet; each knows whether it is one.
    /// Until the given time also files count that have changed since.
    Outstanding { count: usize, restless_until: Option<Instant> },
    /// All was taken.
    Reached,
}

impl Sync {
    fn restless_until(&self) -> Option<Instant> {
        match self {
            Self::Outstanding { count: 1.., restless_until } => *restless_until,
            _ => None,
        }
    }

    fn awaits(&mut self, is_awaited: &mut bool) {
        if let Self::Outstanding { count, .. } = self
            && !std::mem::replace(is_awaited, true)
        {
            *count += 1;
        }
    }

    fn arrived(&mut self, is_awaited: &mut bool) {
        if std::mem::take(is_awaited)
            && let Self::Outstanding { count, .. } = self
        {
            *count -= 1;
        }
    }
}

/// The directory as such.
#[derive(Debug)]
struct Availability {
    error: Option<Error>,
    told_available: bool,
}

#[derive(Debug)]
pub(crate) struct Reconciler {
    dir: PathBuf,
    settle_time: Duration,
    schedule: Schedule,
    files: Files,
    replicas: Replicas,
    reads: VecDeque<FileId>,
    check_processes: bool,
    processes: VecDeque<Followed>,
    /// Where files are messages.
    announcements: Option<Announcements>,
    /// A complete listing came, and its reads are not all done yet.
    round_open: bool,
    /// A read between two listings ended a claim: what has come in its place is to be seen before that is told.
    relist: bool,
    /// A listing is under way, and what came with it is read first.
    arriving: bool,
    /// What was read first and has to wait for the listing.
    waiting: Vec<Waiting>,
    /// The files that said since the last listing that they are what another one claims, too.
    rivals: BTreeSet<FileId>,
    availability: Availability,
    sync: Sync,
    outbox: Outbox,
    flights: BTreeMap<Ticket, Flight>,
    revocations: VecDeque<Ticket>,
    registry_changes: Vec<ReplicaKey>,
    invalid_files: usize,
    undecided_files: usize,
    /// Of which replicas how many files may speak, once they are believed.
    coming: HashMap<ReplicaKey, usize>,
}

impl Reconciler {
    pub(crate) fn new(now: Instant, settings: &Settings) -> Self {
        Self {
            dir: settings.runtime_dir.clone(),
            settle_time: settings.settle_time,
            schedule: Schedule::new(now, settings.poll_interval),
            files: Files::default(),
            replicas: Replicas::default(),
            reads: VecDeque::new(),
            check_processes: settings.check_processes,
            processes: VecDeque::new(),
            announcements: Announcements::new(settings.mode),
            round_open: false,
            relist: false,
            arriving: false,
            waiting: Vec::new(),
            rivals: BTreeSet::new(),
            availability: Availability { error: None, told_available: true },
            sync: Sync::Unlisted,
            outbox: Outbox::new(settings.retry_backoff),
            flights: BTreeMap::new(),
            revocations: VecDeque::new(),
            registry_changes: Vec::new(),
            invalid_files: 0,
            undecided_files: 0,
            coming: HashMap::new(),
        }
    }

    // ---- what came in ----

    /// Names that no listing had before, of one that is under way. A replica of which nothing was known yet need not wait for
    /// the rest: a look at all files takes long where there are many. What the others say by now is told after that, as if
    /// they had been written after it. Says whether there is anything to be read before the rest.
    pub(crate) fn handle_arrivals(&mut self, now: Instant, arrivals: &[Entry]) -> bool {
        // One message may be older than another that is not seen yet. And what is unavailable comes back as a whole.
        let is_steady = self.availability.error.is_none() && !matches!(self.sync, Sync::Unlisted);
        if self.announcements.is_some() || !is_steady {
            return false;
        }
        // Whatever else there is waits for the listing.
        let arrivals: Vec<&Entry> = arrivals.iter().filter(|it| matches!(it.seen, Seen::File(_))).collect();
        self.arriving = true;
        let mut steps = Vec::with_capacity(arrivals.len());
        let settle_time = self.settle_time;
        let created = self.files.add(&arrivals, |entry| {
            let mut file = File::new(entry.name.clone(), now, false);
            steps.push((Before::of(&file), file.seen(now, entry.seen, settle_time, true)));
            file
        });
        for (id, (before, step)) in created.into_iter().zip(steps) {
            self.follow(id, before, step);
        }
        !self.reads.is_empty()
    }

    /// A complete listing, taken from `began` to `now`.
    pub(crate) fn handle_listing(&mut self, began: Instant, now: Instant, listing: &Listing) {
        let early = self.schedule.scanned(began);
        self.round_open = true;
        self.relist = false;
        self.arriving = false;
        self.rivals.clear();
        let ended = self.announcements.as_mut().map(|it| it.listed(now, self.schedule.interval()));
        ended.unwrap_or_default().into_iter().for_each(|replica| self.forget_ended(now, replica));
        let initial = matches!(self.sync, Sync::Unlisted);
        if initial {
            let restless_until = Some(now + self.settle_time + RESTLESS);
            self.sync = Sync::Outstanding { count: listing.entries.len(), restless_until };
            // Nearly always a file each. What grows by itself has twice the room that it needs.
            self.replicas.reserve(listing.entries.len());
        }

        // In a poll that finds nothing changed, nothing is allocated here.
        let mut steps: Vec<(FileId, Before, Step)> = Vec::new();
        let mut news = Vec::new();
        let settle_time = self.settle_time;
        let created = self.files.walk(
            &listing.entries,
            |id, file, entry| {
                let before = Before::of(file);
                let step = match entry {
                    Some(entry) => file.seen(now, entry.seen, settle_time, early),
                    None => file.unlisted(now, listing.certain),
                };
                if step != Step::Nothing || before.rank != file.rank() || before.undecided != file.is_undecided() {
                    steps.push((id, before, step));
                }
            },
            |entry| {
                let mut file = File::new(entry.name.clone(), now, initial);
                news.push((Before::of(&file), file.seen(now, entry.seen, settle_time, early)));
                file
            },
        );
        steps.extend(created.into_iter().zip(news).map(|(id, (before, step))| (id, before, step)));
        for (id, before, step) in steps {
            self.follow(id, before, step);
        }
        for waiting in std::mem::take(&mut self.waiting) {
            self.follow_waiting(waiting);
        }
        // A notification says nothing of processes.
        if !early {
            self.queue_processes();
        }
    }

    /// The directory could not be listed completely: that says nothing of any file.
    pub(crate) fn handle_scan_error(&mut self, began: Instant, error: Error) {
        self.schedule.scanned(began);
        self.schedule.failed(began);
        self.unavailable(error);
    }

    /// Something may have changed: the next listing is due at that time.
    pub(crate) fn handle_notice(&mut self, at: Instant) {
        self.schedule.notice(at);
    }

    /// All that followed from the scan that began then is done: what was to be read, looked at and told. `processor`: how
    /// much of the processor's time that took; only asked of a scan between two polls.
    pub(crate) fn handle_round_end(&mut self, began: Instant, now: Instant, processor: Duration) {
        self.schedule.round_ended(began, now, processor);
    }

    /// The host asks for the next listing: it is to see everything that a poll would.
    pub(crate) fn handle_rescan(&mut self) {
        self.schedule.poll_next();
    }

    /// A read that ran from `began` to `now`.
    pub(crate) fn handle_document(&mut self, began: Instant, now: Instant, id: FileId, document: Document) {
        if self.arriving && !self.can_go_first(&document) {
            return self.waiting.push(Waiting { began, read: now, id, document });
        }
        let Some(file) = self.files.get_mut(id) else { return };
        let before = Before::of(file);
        let handoff = file.version.as_ref().map(|version| version.handoff.clone());
        file.read_queued = false;
        let step = file.read(began, now, document, self.settle_time);
        let accepted = matches!(step, Step::Accepted { .. });
        let ends_claim = self.announcements.is_none() && accepted && file.ends_claim_of(handoff.as_ref());
        if ends_claim && !self.round_open {
            self.relist = true;
            self.schedule.scan_by(now);
        }
        self.follow(id, before, step);
        let Some(file) = self.files.get(id) else { return };
        if !file.is_undecided() {
            match file.racy_look(now) {
                Some(at) => self.schedule.read_at(id, at),
                None => self.schedule.forget(id),
            }
        }
    }

    /// The process ran out of something needed for reading: that says nothing of the file, nor of those still to read.
    pub(crate) fn handle_exhausted(&mut self, file: FileId, error: Error) {
        self.postpone(file);
        self.unavailable(error);
    }

    /// The host took the event, or refused it.
    pub(crate) fn handle_ack(&mut self, now: Instant, ticket: Ticket, taken: bool) {
        let Some(flight) = self.land(ticket) else { return };
        let subject = flight.subject();
        if !taken {
            // New content since then resets the backoff: it deserves a try of its own.
            if self.is_current(&flight) {
                self.outbox.failed(now, flight);
            } else {
                self.outbox.changed(subject);
            }
            return;
        }
        self.outbox.forgive(subject);
        match flight {
            Flight::Availability(available) => self.availability.told_available = available,
            Flight::Synced => {}
            Flight::Invalid(file, fault) => {
                if let Some(verdict) = self.files.get_mut(file).and_then(|file| file.verdict.as_mut()) {
                    verdict.told |= verdict.fault == fault;
                }
            }
            Flight::Replica(replica, told) => {
                if let Some(replica) = self.replicas.get_mut(replica) {
                    replica.tell(told);
                }
            }
            Flight::Conflict(replica, contest) => {
                if let Some(replica) = self.replicas.get_mut(replica) {
                    // The same one is news again, once it was over.
                    let is_over = replica.contest(&self.files).is_none();
                    replica.tell_contest((!is_over).then_some(contest));
                }
            }
        }
        if self.is_different(subject) {
            self.outbox.again(subject);
        } else {
            self.resolved(subject);
        }
    }

    /// The event was taken back before the host took it.
    pub(crate) fn handle_revoked(&mut self, ticket: Ticket) {
        if let Some(flight) = self.land(ticket) {
            self.outbox.changed(flight.subject());
        }
    }

    /// Time went by. To be called in each turn, whether or not there is room for an event: what came due must not be asked
    /// for again and again.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.outbox.promote(now);
        if let Sync::Outstanding { restless_until, .. } = &mut self.sync
            && restless_until.take_if(|until| *until <= now).is_some()
        {
            let awaited = self.files.iter().filter(|(_, file)| file.is_awaited);
            let awaited: Vec<_> = awaited.map(|(id, _)| id).collect();
            awaited.into_iter().for_each(|id| self.decided_at_start(id));
        }
    }

    // ---- what is to be done ----

    pub(crate) fn is_scan_due(&self, now: Instant) -> bool {
        self.schedule.is_scan_due(now)
    }

    /// Whether a scan that begins now is none that the interval asks for.
    pub(crate) fn is_between_polls(&self, now: Instant) -> bool {
        self.schedule.is_between_polls(now)
    }

    /// The next file to read.
    pub(crate) fn poll_read(&mut self, now: Instant) -> Option<(FileId, FileName)> {
        while let Some(id) = self.reads.pop_front().or_else(|| self.pop_scheduled_read(now)) {
            if let Some(file) = self.files.get(id) {
                return Some((id, file.name.clone()));
            }
        }
        self.reads.shrink_to(64);
        if std::mem::take(&mut self.round_open) && self.availability.error.take().is_some() {
            self.differs(Subject::Availability);
        }
        None
    }

    fn pop_scheduled_read(&mut self, now: Instant) -> Option<FileId> {
        if self.arriving { None } else { self.schedule.pop_read(now) }
    }

    /// The next registry entry that is another one now.
    pub(crate) fn poll_registry(&mut self) -> Option<RegistryChange> {
        if self.arriving && self.relist {
            return None;
        }
        while let Some(replica) = self.registry_changes.pop() {
            let known = self.replicas.find(&replica).and_then(|id| self.replicas.get(id));
            if known.is_none_or(|known| !self.is_between_files(known)) {
                let in_force = known.and_then(|known| self.in_force_of(known));
                let handoff = in_force.map(|(_, version)| version.handoff.clone());
                return Some(RegistryChange { replica, handoff });
            }
        }
        self.registry_changes.shrink_to(64);
        None
    }

    /// The ticket of an event that is out of date, and should be taken back if the host has not taken it yet.
    pub(crate) fn poll_revoke(&mut self) -> Option<Ticket> {
        self.revocations.pop_front()
    }

    /// The next event, computed now. Nothing is told while a listing's reads are under way: a file that moved to another
    /// name is one update then, not a removal and an arrival.
    /// `idle`: nothing else is on its way that the host has not begun with.
    pub(crate) fn poll_event(&mut self, idle: bool) -> Option<Parcel> {
        if !self.reads.is_empty() || self.round_open || self.relist {
            return None;
        }
        if matches!(self.sync, Sync::Outstanding { count: 0, .. }) {
            self.sync = Sync::Reached;
            self.outbox.again(Subject::Synced);
        }
        while let Some(subject) = self.outbox.pop(idle) {
            let Some((news, changed, flight)) = self.event(subject) else {
                self.outbox.forgive(subject);
                self.resolved(subject);
                continue;
            };
            let ticket = self.outbox.depart(subject);
            self.flights.insert(ticket, flight);
            return Some(Parcel { ticket, news, changed });
        }
        None
    }

    /// When to come again, if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let others = [self.outbox.next_retry(), self.sync.restless_until()];
        others.into_iter().flatten().fold(self.schedule.next(), Instant::min)
    }

    /// What a content of a file is, if it need not be parsed again.
    pub(crate) fn parsed(&self, file: FileId, hash: ContentHash) -> Option<Result<Handoff, Error>> {
        self.files.get(file)?.parsed(hash)
    }

    /// Why the directory is unavailable, if it is.
    pub(crate) fn unavailable_error(&self) -> Option<&Error> {
        self.availability.error.as_ref()
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            files: self.files.len(),
            invalid_files: self.invalid_files,
            undecided_files: self.undecided_files,
            backlog: self.outbox.backlog(),
            available: self.availability.error.is_none(),
        }
    }
}
