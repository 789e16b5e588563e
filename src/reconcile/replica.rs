//! [pure] One replica: which files claim it, and what the host was told of it.

use super::announcement::Announcement;
use super::table::{FileId, Files};
use crate::event::RemovedReason;
use crate::listing::FileName;
use crate::payload::Handoff;
use crate::replica::ReplicaKey;

/// What the host holds, or should hold, of a replica.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) file: FileName,
    pub(super) handoff: Handoff,
}

/// The same version of the same file.
impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.handoff.hash() == other.handoff.hash() && self.file == other.file
    }
}

/// More than one file claims the replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contest {
    pub(super) winner: FileName,
    /// Sorted.
    pub(super) losers: Vec<FileName>,
}

/// The files that claim a replica, sorted by name.
#[derive(Clone, Debug, Default)]
enum Claims {
    #[default]
    None,
    /// Nearly always.
    One(FileId),
    #[allow(clippy::box_collection)] // A word less in each replica.
    Several(Box<Vec<FileId>>),
}

impl Claims {
    fn of(claims: Vec<FileId>) -> Self {
        match *claims {
            [] => Self::None,
            [only] => Self::One(only),
            _ => Self::Several(Box::new(claims)),
        }
    }

    fn as_slice(&self) -> &[FileId] {
        match self {
            Self::None => &[],
            Self::One(only) => std::slice::from_ref(only),
            Self::Several(claims) => claims,
        }
    }
}

#[derive(Debug)]
pub(super) struct Replica {
    /// What the handoffs call it.
    pub(super) key: ReplicaKey,
    claims: Claims,
    told: Option<Told>,
    /// What only few have.
    rare: Option<Box<Rare>>,
    /// Why the claim ended of the file that the host was told of; else, of the first one that ended since.
    pub(super) removal: Option<RemovedReason>,
    /// `synced` waits for it.
    pub(super) is_awaited: bool,
}

#[derive(Debug, Default)]
struct Rare {
    /// What was announced of it last; only where files are messages.
    announcement: Option<Announcement>,
    /// The contest that the host knows of.
    told_contest: Option<Contest>,
}

impl Replica {
    pub(super) fn new(key: ReplicaKey) -> Self {
        Self { key, claims: Claims::None, told: None, rare: None, removal: None, is_awaited: false }
    }

    /// The files that claim it, sorted by name.
    pub(super) fn claims(&self) -> &[FileId] {
        self.claims.as_slice()
    }

    pub(super) fn claim(&mut self, file: FileId, files: &Files) {
        let claims = self.claims();
        if claims.contains(&file) {
            return;
        }
        let name = |id: FileId| files.get(id).map(|file| &file.name);
        let place = claims.partition_point(|claim| name(*claim) < name(file));
        let mut claims = claims.to_vec();
        claims.insert(place, file);
        self.claims = Claims::of(claims);
    }

    /// A file that has gone missing while another claims the replica has lost it: it does not get it back when the other
    /// one ends its claim, only by being there again.
    pub(super) fn drop_missing(&mut self, files: &Files) {
        if self.claims().len() > 1 && self.claims().iter().any(|file| is_there(files, *file)) {
            self.claims = Claims::of(self.claims().iter().copied().filter(|file| is_there(files, *file)).collect());
        }
    }

    /// The file of that name claims it no longer. No reason where that in itself takes nothing back.
    pub(super) fn withdraw(&mut self, file: FileId, name: &FileName, reason: Option<RemovedReason>) {
        self.claims = Claims::of(self.claims().iter().copied().filter(|claim| *claim != file).collect());
        if reason.is_some() && (self.removal.is_none() || self.told.as_ref().is_some_and(|told| told.file == *name)) {
            self.removal = reason;
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
    pub(super) fn winner(&self, files: &Files) -> Option<FileId> {
        match self.claims() {
            [] => None,
            [only] => Some(*only),
            claims => claims.iter().copied().max_by_key(|id| files.get(*id).map(|file| (file.rank(), &file.name))),
        }
    }

    /// `None` unless two files that are there claim it.
    pub(super) fn contest(&self, files: &Files) -> Option<Contest> {
        if self.claims().len() < 2 {
            return None;
        }
        let winner = self.winner(files)?;
        let losers = self.claims().iter().filter(|file| **file != winner && is_there(files, **file));
        let losers: Vec<_> = losers.filter_map(|file| Some(files.get(*file)?.name.clone())).collect();
        (!losers.is_empty()).then_some(())?;
        Some(Contest { winner: files.get(winner)?.name.clone(), losers })
    }

    /// The contest that the host knows of.
    pub(super) fn told_contest(&self) -> Option<&Contest> {
        self.rare.as_ref()?.told_contest.as_ref()
    }

    pub(super) fn tell_contest(&mut self, contest: Option<Contest>) {
        if contest.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().told_contest = contest;
        }
    }

    /// What was announced of it last.
    pub(super) fn announcement(&self) -> Option<&Announcement> {
        self.rare.as_ref()?.announcement.as_ref()
    }

    pub(super) fn announcement_mut(&mut self) -> Option<&mut Announcement> {
        self.rare.as_mut()?.announcement.as_mut()
    }

    pub(super) fn set_announcement(&mut self, announcement: Option<Announcement>) {
        if announcement.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().announcement = announcement;
        }
    }

    /// Why the host should no longer hold it, where nothing is in force.
    pub(super) fn removal(&self) -> RemovedReason {
        self.removal.unwrap_or(RemovedReason::FileRemoved)
    }

    /// Nothing is left to remember.
    pub(super) fn is_forgotten(&self) -> bool {
        self.claims().is_empty() && self.announcement().is_none() && self.told.is_none()
    }
}

fn is_there(files: &Files, file: FileId) -> bool {
    files.get(file).and_then(|file| file.rank()).is_some_and(|rank| rank.is_there)
}
