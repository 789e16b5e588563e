//! [pure] What the host has still to be told: which subjects differ, which are on their way, which failed and wait.
//!
//! A subject stands here at most once, whatever happens to it. There is no event in here: an event is computed when there
//! is room for it on the way to the host, from what is true then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::events::Flight;
use super::table::{FileId, ReplicaId};

/// What an event can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Availability,
    Synced,
    Invalid(FileId),
    Replica(ReplicaId),
    Conflict(ReplicaId),
}

/// Names an event on its way to the host; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(NonZeroU64);

/// So many that were not refused before may come before one that was.
const NEWS_IN_A_ROW: u32 = 8;

#[derive(Clone, Debug)]
struct Retry {
    failures: u32,
    /// `None` while the next try is under way.
    at: Option<Instant>,
    refused: Flight,
}

#[derive(Debug)]
pub(super) struct Outbox {
    backoff: (Duration, Duration),
    news: Queue,
    /// What was refused, and is to be tried again now; or has become news meanwhile.
    retries_due: Queue,
    /// How many came from `news` since one came from `retries_due`.
    in_a_row: u32,
    retries: BTreeMap<Subject, Retry>,
    retry_at: BTreeSet<(Instant, Subject)>,
    /// What is on its way to the host: one event of a subject at most.
    tickets: BTreeMap<Subject, Ticket>,
    next_ticket: Ticket,
}

impl Outbox {
    pub(super) fn new(backoff: (Duration, Duration)) -> Self {
        Self {
            backoff,
            news: Queue::default(),
            retries_due: Queue::default(),
            in_a_row: 0,
            retries: BTreeMap::new(),
            retry_at: BTreeSet::new(),
            tickets: BTreeMap::new(),
            next_ticket: Ticket(NonZeroU64::MIN),
        }
    }

    /// The subject has something new to say: at once, whatever it failed with before.
    pub(super) fn changed(&mut self, subject: Subject) {
        self.forgive(subject);
        self.again(subject);
    }

    /// The subject is to be looked at again, with what it is waiting for unchanged.
    pub(super) fn again(&mut self, subject: Subject) {
        self.news.push(subject);
    }

    /// What waited for its next try, until now, is due.
    pub(super) fn promote(&mut self, now: Instant) {
        while self.retry_at.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, subject)) = self.retry_at.pop_first() else { return };
            if let Some(retry) = self.retries.get_mut(&subject) {
                retry.at = None;
            }
            self.retries_due.push(subject);
        }
    }

    /// The next subject to make an event of. What was refused comes after what was not, and only where `idle`, as what is new
    /// comes behind all that is on its way: a host that takes its time to refuse must not keep itself from it. But one of
    /// each nine is tried again whatever else there is.
    pub(super) fn pop(&mut self, idle: bool) -> Option<Subject> {
        loop {
            let has_waited = self.in_a_row >= NEWS_IN_A_ROW;
            if has_waited || idle && self.news.is_empty() {
                self.in_a_row = 0;
                if let Some(subject) = self.retries_due.pop() {
                    let is_awaited = self.retries.get(&subject).is_some_and(|retry| retry.at.is_none());
                    if is_awaited && self.ticket(subject).is_none() {
                        return Some(subject);
                    }
                    continue;
                }
            }
            let subject = self.news.pop()?;
            // One that waits for its next try is not to be offered before.
            if self.retries.get(&subject).is_none_or(|retry| retry.at.is_none()) {
                self.in_a_row += 1;
                return Some(subject);
            }
        }
    }

    /// An event of the subject is on its way to the host.
    pub(super) fn depart(&mut self, subject: Subject) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket = Ticket(ticket.0.saturating_add(1));
        self.tickets.insert(subject, ticket);
        ticket
    }

    /// It arrived, or was taken back.
    pub(super) fn arrive(&mut self, subject: Subject) {
        self.tickets.remove(&subject);
    }

    /// The event of the subject that is on its way.
    pub(super) fn ticket(&self, subject: Subject) -> Option<Ticket> {
        self.tickets.get(&subject).copied()
    }

    /// The host refused it: the next try waits, twice as long each time.
    pub(super) fn failed(&mut self, now: Instant, refused: Flight) {
        let subject = refused.subject();
        let (least, most) = self.backoff;
        let failures = self.retries.get(&subject).map_or(0, |retry| retry.failures);
        self.forgive(subject);
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        let at = now + least.saturating_mul(factor).min(most);
        self.retries.insert(subject, Retry { failures: failures.saturating_add(1).min(31), at: Some(at), refused });
        self.retry_at.insert((at, subject));
    }

    /// What the host refused of the subject.
    pub(super) fn refused(&self, subject: Subject) -> Option<&Flight> {
        self.retries.get(&subject).map(|retry| &retry.refused)
    }

    /// Forgets that it ever failed.
    pub(super) fn forgive(&mut self, subject: Subject) {
        if let Some(Retry { at: Some(at), .. }) = self.retries.remove(&subject) {
            self.retry_at.remove(&(at, subject));
        }
    }

    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retry_at.first().map(|(at, _)| *at)
    }

    /// How many subjects wait, are on their way, or will be tried again.
    pub(super) fn backlog(&self) -> usize {
        self.news.len() + self.retries_due.len() + self.tickets.len() + self.retry_at.len()
    }
}

/// Subjects in the order in which they came, each of them once.
#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<Subject>,
    members: BTreeSet<Subject>,
}

impl Queue {
    fn push(&mut self, subject: Subject) {
        if self.members.insert(subject) {
            self.order.push_back(subject);
        }
    }

    fn pop(&mut self) -> Option<Subject> {
        let subject = self.order.pop_front();
        match &subject {
            Some(subject) => drop(self.members.remove(subject)),
            None => self.order.shrink_to(64),
        }
        subject
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn len(&self) -> usize {
        self.order.len()
    }
}
