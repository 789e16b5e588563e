//! [pure] One file: which version of it is in force, whether its stamp can be trusted, what is still undecided.
//!
//! In: what a listing saw under the name, what a read gave. Out: a [`Step`], which says what became of it; the
//! reconciler draws the consequences for replicas, events and timers.

use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::listing::{FileName, Moment, Seen, Stamp};
use crate::payload::{ContentHash, Handoff};

use super::document::{Document, Fault};
use super::leftover::{Identity, Leftover, process_of};
use super::table::ReplicaId;

/// How long a stamp must have stayed the same before "same stamp" means "same bytes": the coarsest clock of a file
/// system (vfat counts in 2 s).
pub(super) const RACY_WINDOW: Duration = Duration::from_secs(2);
/// The time between two looks at a file that is not decided yet.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a surprise must last before it is believed: a name that is gone (the second half of an unlink-and-create),
/// and bytes that were written in place just now (a writer caught between two writes). Well within the 100 ms that
/// promise 1 adds to the interval.
pub(super) const CONFIRM: Duration = Duration::from_millis(50);

/// The same number everywhere.
const ENOENT: i32 = 2;

/// The version of a file that is in force.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) handoff: Handoff,
    /// Decides between two files that claim one replica.
    pub(super) mtime: Moment,
    /// When the file became what it is, for the latency. `None` if it was there at the start.
    pub(super) changed: Option<Moment>,
    /// The process that it was found to be the handoff of.
    pub(super) process: Option<Box<Identity>>,
}

/// A verdict: this content is no handoff.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) fault: Fault,
    pub(super) error: Error,
    /// The host has taken it.
    pub(super) told: bool,
}

/// What is not decided yet.
#[derive(Clone, Debug)]
enum Undecided {
    /// The same unusable content since then: perhaps only half-written. `before`: what it said before, and was not believed yet.
    Suspect { fault: Fault, error: Error, since: Instant, before: Option<Handoff> },
    /// Other good bytes than those in force since then, written in place: perhaps half overwritten.
    Candidate { handoff: Handoff, since: Instant },
}

/// What became of a file by one look or read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing that matters to anyone.
    Nothing,
    /// Its bytes must be read now.
    Read,
    /// Look again at that time: by reading it, or by listing the directory where a read would tell nothing.
    ReadAt(Instant),
    ListAt(Instant),
    /// A new version is in force, of a stamp that was first seen then.
    Accepted {
        found: Instant,
    },
    /// It is no handoff, and it is time to say so.
    Rejected,
    /// It is gone.
    Gone,
}

/// How to look at a faulty file again.
enum Again {
    Read,
    List,
}

/// What is remembered of a file only until nothing about it is open.
#[derive(Clone, Debug)]
struct Open {
    /// When its stamp was first seen.
    stamp_since: Instant,
    /// When the last read of that stamp began.
    read_began: Option<Instant>,
    undecided: Option<Undecided>,
    /// The name is not in the listings, or leads nowhere, since then.
    missing_since: Option<Instant>,
    /// The last listing had the name all the same: whatever a read finds then, the file is not gone.
    is_listed: bool,
}

impl Open {
    fn new(now: Instant) -> Box<Self> {
        Box::new(Self { stamp_since: now, read_began: None, undecided: None, missing_since: None, is_listed: true })
    }
}

#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) name: FileName,
    stamp: Option<Stamp>,
    /// Nothing for nearly all files nearly all of the time: its stamp has settled, and it is what it was.
    open: Option<Box<Open>>,
    /// The bytes were read when that stamp had been there for longer than [`RACY_WINDOW`].
    settled: bool,
    /// Every stamp since the version in force was read had that version's inode.
    in_place: bool,
    /// The last try to read failed; the next listing tries again whatever the stamp says.
    unread: bool,
    /// Found by the very first listing, and not changed since.
    initial: bool,
    pub(super) version: Option<Version>,
    pub(super) verdict: Option<Box<Verdict>>,
    /// The last version that was found to be a leftover.
    pub(super) leftover: Option<Box<Leftover>>,
    /// The replica that the version in force claims.
    pub(super) replica: Option<ReplicaId>,
    /// Waits in the queue of reads.
    pub(super) read_queued: bool,
    /// `synced` waits for it.
    pub(super) is_awaited: bool,
}

/// What decides between two files that claim one replica: one that is there, then the newest mtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) is_there: bool,
    mtime: Moment,
}

impl File {
    pub(super) fn new(name: FileName, now: Instant, initial: bool) -> Self {
        Self {
            name,
            stamp: None,
            open: Some(Open::new(now)),
            settled: false,
            in_place: false,
            unread: false,
            initial,
            version: None,
            verdict: None,
            leftover: None,
            replica: None,
            read_queued: false,
            is_awaited: initial,
        }
    }

    /// The process that has to run for the version in force to stay so.
    pub(super) fn process(&self) -> Option<u32> {
        process_of(&self.version.as_ref()?.handoff)
    }

    /// Whether the version in force no longer says that the replica of `before` is ready.
    pub(super) fn ends_claim_of(&self, before: Option<&Handoff>) -> bool {
        let Some((before, now)) = before.zip(self.version.as_ref().map(|version| &version.handoff)) else {
            return false;
        };
        !now.is_ready() || (before.pool_id(), before.replica_id()) != (now.pool_id(), now.replica_id())
    }

    pub(super) fn rank(&self) -> Option<Rank> {
        let missing_since = self.open.as_ref().and_then(|open| open.missing_since);
        self.version.as_ref().map(|version| Rank { is_there: missing_since.is_none(), mtime: version.mtime })
    }

    pub(super) fn is_undecided(&self) -> bool {
        let open = self.open.as_ref();
        // What leads nowhere stays so, and is known to.
        let is_open = open.is_some_and(|open| open.missing_since.is_some()) || self.unread;
        open.is_some_and(|open| open.undecided.is_some()) || self.read_queued || is_open && self.verdict.is_none()
    }

    /// What its content is, if it is one that was parsed before: the version in force, or what was refused last.
    pub(super) fn parsed(&self, hash: ContentHash) -> Option<Result<Handoff, Error>> {
        let version = self.version.as_ref().map(|version| &version.handoff);
        let refused = Fault::Content(hash);
        match (version, self.undecided(), &self.verdict) {
            (Some(handoff), ..) if handoff.hash() == hash => Some(Ok(handoff.clone())),
            (_, Some(Undecided::Suspect { fault, error, .. }), _) if *fault == refused => Some(Err(error.clone())),
            (_, _, Some(verdict)) if verdict.fault == refused => Some(Err(verdict.error.clone())),
            _ => None,
        }
    }

    /// It is what the very first listing found, or may still be.
    pub(super) fn is_initial(&self) -> bool {
        self.initial
    }

    /// The listings lead to it, and it has this stamp.
    pub(super) fn is_there_as(&self, stamp: Stamp) -> bool {
        self.stamp == Some(stamp) && self.open.as_ref().is_none_or(|open| open.missing_since.is_none())
    }

    /// What it says, or said before it was rewritten, and is not believed yet.
    pub(super) fn coming(&self) -> Option<&Handoff> {
        let open = self.open.as_ref().filter(|open| open.missing_since.is_none())?;
        match open.undecided.as_ref()? {
            Undecided::Suspect { before, .. } => before.as_ref(),
            Undecided::Candidate { handoff, .. } => Some(handoff),
        }
    }

    /// A complete listing has the name. `early`: it is one between two polls, and says only what shows.
    pub(super) fn seen(&mut self, now: Instant, seen: Seen, settle_time: Duration, early: bool) -> Step {
        match seen {
            Seen::File(stamp) => {
                let came_back = self.is_there();
                let changed = self.stamped(now, stamp);
                self.close();
                // Closed is only what has settled.
                let due = self.open.as_ref().is_some_and(|open| {
                    open.read_began.is_none_or(|began| now.duration_since(began) >= CONFIRM)
                        && (!self.settled && !early || open.undecided.is_some())
                });
                if changed || came_back || self.unread || due { Step::Read } else { Step::Nothing }
            }
            Seen::Other(kind) => {
                self.is_there();
                self.unstamped();
                let fault = Fault::Other(kind);
                self.faulty(now, fault, fault.file_type_error(), settle_time, Again::List)
            }
            Seen::Failed(errno) => {
                self.is_there();
                self.unstamped();
                self.faulty(now, Fault::Unreadable(errno), unreadable("stat", errno), settle_time, Again::List)
            }
            Seen::Vanished => {
                let since = self.missing(now, true);
                if now.duration_since(since) < CONFIRM {
                    return Step::ListAt(since + CONFIRM);
                }
                // Listed again, and again there is nothing. Only a listing removes: until then it cannot be read.
                self.unstamped();
                self.faulty(now, Fault::Unreadable(ENOENT), unreadable("stat", ENOENT), settle_time, Again::List)
            }
            Seen::Absent => {
                let since = self.missing(now, false);
                if now.duration_since(since) < CONFIRM {
                    return Step::ListAt(since + CONFIRM);
                }
                if self.version.is_some() {
                    // What the link led to is gone. The link itself comes again with the next listing, as a new file.
                    return Step::Gone;
                }
                self.unstamped();
                let fault = Fault::Dangling;
                self.faulty(now, fault, fault.file_type_error(), settle_time, Again::List)
            }
        }
    }

    /// A complete listing does not have the name. A read then confirms what the listing said, unless that is certain.
    pub(super) fn unlisted(&mut self, now: Instant, certain: bool) -> Step {
        let since = self.missing(now, false);
        match (now.duration_since(since) < CONFIRM, certain) {
            (true, _) => Step::ListAt(since + CONFIRM),
            (false, true) => Step::Gone,
            (false, false) => Step::Read,
        }
    }

    /// A read that ran from `began` to `now` gave this.
    pub(super) fn read(&mut self, began: Instant, now: Instant, document: Document, settle_time: Duration) -> Step {
        match document {
            Document::Content { stamp, recent, moved, hash, handoff, process } => {
                let whole = !self.found(began, now, stamp) && moved;
                match handoff {
                    Ok(handoff) => match self.is_leftover(hash, stamp.mtime, &handoff, process) {
                        Some(error) => self.faulty(now, Fault::Stale(hash), error, settle_time, Again::Read),
                        // What came after the start is recent whatever the wall clock says.
                        None => self.good(now, stamp, !whole && (recent || !self.initial), handoff),
                    },
                    Err(error) => self.faulty(now, Fault::Content(hash), error, settle_time, Again::Read),
                }
            }
            Document::Faulty { stamp, fault, error } => {
                match stamp {
                    // Nothing is known of its content but that it changed.
                    Some(stamp) if self.found(began, now, stamp) && fault == Fault::Contradictory => self.decided(),
                    Some(_) => {}
                    None => self.unstamped(),
                }
                let again = if matches!(fault, Fault::Other(_)) { Again::List } else { Again::Read };
                self.faulty(now, fault, error, settle_time, again)
            }
            Document::Changing => {
                self.unread = true;
                self.initial = false;
                Step::ReadAt(now + CONFIRM)
            }
            Document::Absent if self.is_gone(now) => Step::Gone,
            // Only a listing makes it missing: it shows, of the same moment, what has come in its place. One that goes on
            // to show what cannot be opened contradicts itself.
            Document::Absent => {
                let fault = Fault::Unreadable(ENOENT);
                let again = matches!(self.undecided(), Some(Undecided::Suspect { fault: same, .. }) if *same == fault);
                // An absence is no content: it gets the time that it takes to confirm one, at least.
                let settle_time = settle_time.max(2 * CONFIRM);
                match self.faulty(now, fault, unreadable("open", ENOENT), settle_time, Again::List) {
                    Step::ListAt(_) if !again => Step::ListAt(now + CONFIRM),
                    step => step,
                }
            }
        }
    }

    /// When to read it again although nothing is undecided: its stamp cannot be trusted yet. Ever more rarely, and for
    /// what was there at the start only with the regular polls: reading a whole directory over and over helps nobody.
    pub(super) fn racy_look(&self, now: Instant) -> Option<Instant> {
        let age = now.duration_since(self.open.as_ref()?.stamp_since);
        (!self.settled && !self.initial && self.stamp.is_some() && age <= RACY_WINDOW)
            .then(|| now + age.max(LOOK_AGAIN))
    }

    /// The read that was due could not be made; the next listing asks for it again.
    pub(super) fn postpone(&mut self) {
        self.unread = true;
        self.read_queued = false;
    }

    /// A listing has it; says whether it was missing.
    fn is_there(&mut self) -> bool {
        self.open.as_mut().is_some_and(|open| open.missing_since.take().is_some())
    }

    /// Since when a listing does not lead to it.
    fn missing(&mut self, now: Instant, is_listed: bool) -> Instant {
        let open = self.open(now);
        open.is_listed = is_listed;
        *open.missing_since.get_or_insert(now)
    }

    /// Whether the listings have missed it for long enough.
    fn is_gone(&self, now: Instant) -> bool {
        let open = self.open.as_ref().filter(|open| !open.is_listed);
        open.and_then(|open| open.missing_since).is_some_and(|since| now.duration_since(since) >= CONFIRM)
    }

    fn undecided(&self) -> Option<&Undecided> {
        self.open.as_ref()?.undecided.as_ref()
    }

    fn decided(&mut self) {
        if let Some(open) = &mut self.open {
            open.undecided = None;
        }
        self.close();
    }

    /// Something is open about it.
    fn open(&mut self, now: Instant) -> &mut Open {
        self.open.get_or_insert_with(|| Open::new(now))
    }

    /// Forgets what is remembered of an open file, if it is none any more.
    fn close(&mut self) {
        if self.settled && self.open.as_ref().is_some_and(|it| it.undecided.is_none() && it.missing_since.is_none()) {
            self.open = None;
        }
    }

    fn good(&mut self, now: Instant, stamp: Stamp, recent: bool, handoff: Handoff) -> Step {
        let (mtime, hash) = (stamp.mtime, handoff.hash());
        if let Some(version) = &mut self.version
            && version.handoff.hash() == hash
        {
            version.mtime = mtime;
            self.decide();
            return Step::Nothing;
        }
        // A rename, as of a file that was finished elsewhere, leaves the ctime behind the mtime; a write makes them one.
        // The first version of an inode, too, may be overwritten already when it is first read.
        let written = recent && mtime == stamp.ctime;
        if written || self.version.is_some() && self.in_place {
            let open = self.open(now);
            // Whoever has written since then, the same bytes or others and these again, may still be at it.
            let since = match &open.undecided {
                Some(Undecided::Candidate { handoff, since }) if handoff.hash() == hash => open.stamp_since.max(*since),
                _ => now,
            };
            if now.duration_since(since) < CONFIRM {
                open.undecided = Some(Undecided::Candidate { handoff, since });
                return Step::ReadAt(since + CONFIRM);
            }
        }
        let changed = (!self.initial).then_some(stamp.ctime);
        let found = self.open.as_ref().map_or(now, |open| open.stamp_since);
        self.version = Some(Version { handoff, mtime, changed, process: None });
        self.decide();
        Step::Accepted { found }
    }

    /// The content is that of the version in force, and nothing else is open.
    fn decide(&mut self) {
        self.decided();
        self.verdict = None;
        self.leftover = None;
        self.in_place = true;
    }

    fn faulty(&mut self, now: Instant, fault: Fault, error: Error, settle_time: Duration, again: Again) -> Step {
        self.unread = matches!(fault, Fault::Unreadable(_) | Fault::Contradictory);
        if self.verdict.as_ref().is_some_and(|verdict| verdict.fault == fault) {
            self.decided();
            return Step::Nothing;
        }
        let since = match self.undecided() {
            Some(Undecided::Suspect { fault: same, since, .. }) if *same == fault => *since,
            _ => now,
        };
        if now.duration_since(since) < settle_time {
            // A suspect that turns into another one is being written: what was there at the start is no more.
            if matches!(self.undecided(), Some(Undecided::Suspect { fault: other, .. }) if *other != fault) {
                self.initial = false;
            }
            let before = self.coming().cloned();
            self.open(now).undecided = Some(Undecided::Suspect { fault, error, since, before });
            // A read is cheap, and sees the rest of the bytes arrive; a listing only has to confirm.
            let end = since + settle_time;
            return match again {
                Again::Read => Step::ReadAt(end.min(now + LOOK_AGAIN)),
                Again::List => Step::ListAt(end),
            };
        }
        self.decided();
        self.verdict = Some(Box::new(Verdict { fault, error, told: false }));
        Step::Rejected
    }

    /// Returns whether the stamp is another one than before.
    fn found(&mut self, began: Instant, now: Instant, stamp: Stamp) -> bool {
        let changed = self.stamped(now, stamp);
        self.unread = false;
        if let Some(open) = &mut self.open {
            open.missing_since = None;
            open.read_began = Some(began);
            self.settled |= began.saturating_duration_since(open.stamp_since) > RACY_WINDOW;
        }
        changed
    }

    /// Returns whether the stamp is another one than before.
    fn stamped(&mut self, now: Instant, stamp: Stamp) -> bool {
        let before = self.stamp.replace(stamp);
        if before == Some(stamp) {
            return false;
        }
        let inode = |stamp: Stamp| (stamp.device, stamp.inode);
        self.in_place &= before.is_some_and(|before| inode(before) == inode(stamp));
        self.initial &= before.is_none();
        self.open(now).stamp_since = now;
        self.settled = false;
        true
    }

    fn unstamped(&mut self) {
        self.stamp = None;
        self.settled = false;
        self.in_place = false;
    }
}

fn unreadable(what: &str, errno: i32) -> Error {
    Error::new(ErrorKind::Io, format!("cannot {what} the file: {}", std::io::Error::from_raw_os_error(errno)))
}
