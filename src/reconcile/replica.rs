//! [pure] One replica: which files claim it, and what the host was told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::announcement::Announcement;
use super::file::{ContentHash, File};
use super::outbox::Ticket;
use crate::event::RemovedReason;
use crate::listing::FileName;
use crate::payload::Handoff;

/// What the host holds, or should hold, of a replica.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) file: FileName,
    pub(super) hash: ContentHash,
    pub(super) handoff: Arc<Handoff>,
}

/// The same version of the same file.
impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.file == other.file
    }
}

/// More than one file claims the replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contest {
    pub(super) winner: FileName,
    /// Sorted.
    pub(super) losers: Vec<FileName>,
}

#[derive(Debug, Default)]
pub(super) struct Replica {
    /// Sorted by name; nearly always one.
    pub(super) claims: Box<[FileName]>,
    told: Option<Told>,
    /// Why the claim ended of the file that the host was told of; else, of the first one that ended since.
    pub(super) removal: Option<RemovedReason>,
    /// What was announced of it last; only where files are messages.
    pub(super) announcement: Option<Box<Announcement>>,
    pub(super) ticket: Option<Ticket>,
    pub(super) told_contest: Option<Box<Contest>>,
    pub(super) contest_ticket: Option<Ticket>,
}

impl Replica {
    pub(super) fn claim(&mut self, name: &FileName) {
        if let Err(place) = self.claims.binary_search(name) {
            let mut claims = std::mem::take(&mut self.claims).into_vec();
            claims.insert(place, name.clone());
            self.claims = claims.into_boxed_slice();
        }
    }

    /// A file that has gone missing while another claims the replica has lost it: it does not get it back when the other
    /// one ends its claim, only by being there again.
    pub(super) fn drop_missing(&mut self, files: &BTreeMap<FileName, Box<File>>) {
        if self.claims.len() > 1 && self.claims.iter().any(|name| is_there(files, name)) {
            self.claims = self.claims.iter().filter(|name| is_there(files, name)).cloned().collect();
        }
    }

    pub(super) fn withdraw(&mut self, name: &FileName, reason: RemovedReason) {
        self.claims = self.claims.iter().filter(|claim| *claim != name).cloned().collect();
        if self.removal.is_none() || self.told.as_ref().is_some_and(|told| told.file == *name) {
            self.removal = Some(reason);
        }
    }

    pub(super) fn told(&self) -> Option<&Told> {
        self.told.as_ref()
    }

    pub(super) fn tell(&mut self, told: Option<Told>) {
        self.told = told;
        self.removal = None;
    }

    /// The file in force: that of the highest rank, then the greater name.
    pub(super) fn winner(&self, files: &BTreeMap<FileName, Box<File>>) -> Option<&FileName> {
        if let [only] = &*self.claims {
            return Some(only);
        }
        self.claims.iter().max_by_key(|name| (files.get(*name).and_then(|file| file.rank()), *name))
    }

    /// `None` unless two files that are there claim it.
    pub(super) fn contest(&self, files: &BTreeMap<FileName, Box<File>>) -> Option<Contest> {
        if self.claims.len() < 2 {
            return None;
        }
        let winner = self.winner(files)?;
        let losers = self.claims.iter().filter(|name| *name != winner && is_there(files, name));
        let losers: Vec<_> = losers.cloned().collect();
        (!losers.is_empty()).then(|| Contest { winner: winner.clone(), losers })
    }

    /// Why the host should no longer hold it, where nothing is in force.
    pub(super) fn removal(&self) -> RemovedReason {
        self.removal.unwrap_or(RemovedReason::FileRemoved)
    }

    /// Nothing is left to remember.
    pub(super) fn is_forgotten(&self) -> bool {
        self.claims.is_empty()
            && self.announcement.is_none()
            && self.told.is_none()
            && self.ticket.is_none()
            && self.contest_ticket.is_none()
    }
}

fn is_there(files: &BTreeMap<FileName, Box<File>>, name: &FileName) -> bool {
    files.get(name).and_then(|file| file.rank()).is_some_and(|rank| rank.is_there)
}
