//! [fs] From a directory to a complete listing of its handoff names and their stamps.
//!
//! In: the path, and the time. Out: a [`Listing`] of every handoff name, sorted, with what `stat` says of each; or an
//! error, and then no listing.
//!
//! A poll that finds nothing new makes one system call per file and three more. It may leave out the listing, but never
//! a `stat`: a file that is written in place does not change its directory.
//!
//! # When the listing is left out
//! A listing is relied upon until the stamp of the directory changes, if the stamp was *settled* when the listing began:
//! whatever changed later would have given the directory another one. That is known in one of two ways.
//!
//! The clock by which the file systems of this kernel stamp had ticked since: read before the directory was opened, it was
//! later than the time of change in the stamp S, which was seen after that and before the names were listed; and read once
//! more after S was seen it had not been set back. A name that changed
//! - before the clock was read may have left the stamp at S, but the listing shows it;
//! - after that has given the directory a time that differs from that in S. Had that been before S was seen, it would not
//!   have been S. So it is seen by the next `fstat`.
//!
//! Before it was *opened*, as on btrfs a directory shows, as long as it is open, only the names that it had by then. And
//! this is enough to rely on a listing, not to take it at its word where it does not show a name that was known: what left a
//! moment ago may be back.
//!
//! Or the stamp had been the same for longer than the coarsest clock of a file system ticks, which counts where the clock
//! was set back and the time in S lies ahead. Let it have been S at the time f, and S again at the time m, more than
//! [`SETTLE`] later, just before the names were listed. A name that changed
//! - before f + `SETTLE` may have left the stamp at S, but it changed before the listing, which shows it;
//! - after f + `SETTLE` has given the directory a time that differs from that in S. Had that been before m, S would not
//!   have been seen at m. So it is seen by the next `fstat`.
//!
//! Both hold where a change of a name and the new time of its directory become visible together, as they do behind the
//! directory's lock on the local file systems of Linux: see [`keeps_its_stamp`]. Elsewhere every poll lists.

mod names;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::directory::{Directory, stamp, ticks};
use crate::error::Error;
use crate::listing::{Entry, FileName, Listing, Moment, Seen, Stamp, is_handoff_name};
use crate::sync::{AtomicBool, Ordering};
use crate::trust::TrustPolicy;
use names::Names;

/// Longer than the clock of any file system stands still: 2 s on FAT, 1 s on ext3, a few milliseconds elsewhere.
const SETTLE: Duration = Duration::from_secs(2);

/// A listing is not relied upon for longer than this. By the argument above once would do for years; but a directory
/// that a defect of a kernel kept from changing its stamp would hide a file for as long.
const RELY: Duration = Duration::from_secs(60);

/// The buffer of one `getdents`: some 800 names of handoffs.
const BUFFER_BYTES: usize = 32 * 1024;

/// Lists and stats a directory, again and again: each scan is begun and finished.
///
/// What one scan promises:
/// - The listing is complete: it holds every handoff name that was in the directory for the whole time of the scan.
/// - A name that the directory did not show is left out only if there is no file under it either, or if the directory had
///   been left alone: one that changes while it is being listed may fail to show a file that is replaced just then.
/// - Names are sorted by their bytes and occur once; a name that stays keeps its `Arc`.
/// - What is said of a file was so at some time during the scan, not all of it at the same time.
/// - Nothing is allocated in a scan that finds the same names.
///
/// After an error the next scan starts afresh, with the same interned names.
#[derive(Debug)]
pub(crate) struct Scanner {
    path: PathBuf,
    follow_symlinks: bool,
    trust: Option<TrustPolicy>,
    names: Names,
    watched: Option<Watched>,
    buffer: Vec<u8>,
    listings: u64,
    /// A scan that is under way ends when this becomes true.
    stop: Arc<AtomicBool>,
    /// [`keeps_its_stamp`]; tests decide for themselves.
    trusts: fn(&Directory, &Stamp) -> bool,
    /// [`ticks`]; tests have a clock of their own.
    ticks: fn() -> Moment,
    /// What that was before the directory was opened.
    opened: Moment,
}

/// The directory as it was last seen.
#[derive(Debug)]
struct Watched {
    /// Its stamp and number of links.
    stamp: (Stamp, u64),
    /// A time at which a scan had already seen this stamp: the start of the scan after that. The start of that scan
    /// itself would not do: opening the directory may have taken seconds.
    since: Option<Instant>,
    trusted: Option<bool>,
    /// When the listing began that can stand for the next one, for as long as the stamp is this one.
    relied_on: Option<Instant>,
}

/// For how long the directory has been left alone, as far as its stamp tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Quiet {
    Unknown,
    /// For a tick of the clock: its stamp has settled.
    Settled,
    /// For longer than [`SETTLE`].
    Lasting,
}

/// A scan that has begun: the names are known, and not yet what is under them.
#[derive(Debug)]
pub(crate) struct Begun {
    now: Instant,
    quiet: Quiet,
    /// When the listing began that stands for one of this scan.
    relied_on: Option<Instant>,
    /// What came since the last listing.
    pub(crate) arrivals: Vec<Entry>,
}

impl Scanner {
    /// A scanner that has seen nothing. The path is resolved anew in each call of [`open`](Self::open).
    pub(crate) fn new(path: PathBuf, follow_symlinks: bool) -> Self {
        Self {
            path,
            follow_symlinks,
            trust: None,
            names: Names::default(),
            watched: None,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            listings: 0,
            stop: Arc::default(),
            trusts: keeps_its_stamp,
            ticks,
            opened: Moment::FIRST,
        }
    }

    /// Refuses a directory that the policy does not trust.
    pub(crate) fn trusting(self, trust: Option<TrustPolicy>) -> Self {
        Self { trust, ..self }
    }

    /// Breaks off a scan, however large the directory is, when this becomes true.
    pub(crate) fn until(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// Opens the directory for a scan. The files that the scan finds are to be read from it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when it cannot be opened,
    /// [`ErrorKind::Untrusted`](crate::ErrorKind::Untrusted) when the policy does not trust it.
    pub(crate) fn open(&mut self) -> Result<Directory, Error> {
        self.opened = (self.ticks)();
        Directory::open_trusted(&self.path, self.trust.as_ref()).inspect_err(|_| self.rely_on(None))
    }

    /// Begins a scan: lists the directory where that is necessary. `now` is a time before the directory was opened, of a
    /// clock that does not go backwards.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the directory cannot be listed to its end, or when the process ran
    /// out of memory or descriptors. [`ErrorKind::Stopped`](crate::ErrorKind::Stopped) when it was broken off.
    pub(crate) fn begin(&mut self, directory: &Directory, now: Instant) -> Result<Begun, Error> {
        let quiet = self.observe(directory, now).inspect_err(|_| self.rely_on(None))?;
        // Whatever fails from here on: the next scan lists.
        let is_settled = quiet >= Quiet::Settled;
        let relied_on = self.relied_on().filter(|began| is_settled && now.saturating_duration_since(*began) < RELY);
        if relied_on.is_none() {
            self.list(directory)?;
        }
        let arrivals = self.arrivals(directory)?;
        Ok(Begun { now, quiet, relied_on, arrivals })
    }

    /// Ends a scan: stats every handoff name. To be called with the directory with which it was begun.
    ///
    /// `listing` is filled in place. It may be any listing; that of the last scan is filled without an allocation.
    ///
    /// # Errors
    /// As [`begin`](Self::begin); `listing` then holds nothing that may be used. A single file that cannot be looked at is
    /// no error, but [`Seen::Failed`].
    pub(crate) fn finish(&mut self, directory: &Directory, begun: &Begun, listing: &mut Listing) -> Result<(), Error> {
        let vanished = self.look(directory, listing)?;
        if begun.relied_on.is_some() {
            if !vanished {
                listing.certain = begun.quiet == Quiet::Lasting;
                self.rely_on(begun.relied_on);
                return Ok(());
            }
            self.list(directory)?;
            self.look(directory, listing)?;
        }
        // What changed meanwhile may have been missed, and there need not be another stamp to come that shows it.
        let is_as_it_was = Some(self.stamp(directory)?) == self.watched.as_ref().map(|watched| watched.stamp);
        let quiet = begun.quiet == Quiet::Lasting && is_as_it_was;
        listing.certain = quiet && self.trusts_stamp(directory);
        if self.names.has_unlisted() {
            // A file that is replaced during the listing may be missed: a file system may put its new entry at a place
            // that the listing has passed, such as that of the temporary file. So a known name that was not shown goes
            // only if there is nothing under it. But where upper and lower case are the same, a renamed file is found
            // under its old name too: a directory that was quiet all the time is taken at its word.
            let mut known = self.names.known().iter();
            listing.entries.retain(|_| known.next().is_some_and(|known| known.stays(quiet)));
            self.names.forget(quiet);
        }
        // A name that is still in doubt is decided by the next listings.
        let is_settled = begun.quiet >= Quiet::Settled && is_as_it_was && !self.names.has_unlisted();
        if is_settled && self.trusts_stamp(directory) {
            self.rely_on(Some(begun.now));
        }
        Ok(())
    }

    /// How often the directory was listed since the start, rather than only its known files looked at.
    #[allow(dead_code)]
    pub(crate) fn listings(&self) -> u64 {
        self.listings
    }

    /// Looks at the directory itself.
    fn observe(&mut self, directory: &Directory, now: Instant) -> Result<Quiet, Error> {
        let stamp = self.stamp(directory)?;
        match &mut self.watched {
            Some(watched) if watched.stamp == stamp => {
                let since = *watched.since.get_or_insert(now);
                if now.saturating_duration_since(since) > SETTLE {
                    return Ok(Quiet::Lasting);
                }
            }
            _ => self.watched = Some(Watched { stamp, since: None, trusted: None, relied_on: None }),
        }
        let has_settled = stamp.0.ctime < self.opened && self.opened <= (self.ticks)() && self.trusts_stamp(directory);
        Ok(if has_settled { Quiet::Settled } else { Quiet::Unknown })
    }

    /// The stamp of the directory, and its number of links.
    fn stamp(&self, directory: &Directory) -> Result<(Stamp, u64), Error> {
        let stat = directory.stat().map_err(|errno| Error::io("look at the directory", &self.path, errno.into()))?;
        #[allow(clippy::unnecessary_cast)] // Its type differs between systems.
        Ok((stamp(&stat), stat.st_nlink as u64))
    }

    fn list(&mut self, directory: &Directory) -> Result<(), Error> {
        self.listings += 1;
        self.names.start();
        read_names(directory, &mut self.buffer, &mut self.names, &self.stop)
            .map_err(|errno| Error::io("list the directory", &self.path, errno.into()))?;
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::stopped());
        }
        self.names.finish();
        Ok(())
    }

    /// Looks at the names that came with the last listing.
    fn arrivals(&mut self, directory: &Directory) -> Result<Vec<Entry>, Error> {
        let mut arrivals = Vec::new();
        for name in self.names.take_arrivals() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::stopped());
            }
            let seen = look_at(directory, &name, self.follow_symlinks, &self.path)?;
            arrivals.push(Entry { name, seen });
        }
        Ok(arrivals)
    }

    fn rely_on(&mut self, began: Option<Instant>) {
        if let Some(watched) = &mut self.watched {
            watched.relied_on = began;
        }
    }

    /// Takes it: the next scan lists, unless it is put back.
    fn relied_on(&mut self) -> Option<Instant> {
        self.watched.as_mut().and_then(|watched| watched.relied_on.take())
    }

    /// Whether no name changes in this directory without its stamp showing it.
    fn trusts_stamp(&mut self, directory: &Directory) -> bool {
        let trusts = self.trusts;
        self.watched.as_mut().is_some_and(|watched| {
            let stamp = &watched.stamp.0;
            *watched.trusted.get_or_insert_with(|| trusts(directory, stamp))
        })
    }

    /// Looks at every known name; says whether one leads nowhere that did lead somewhere.
    fn look(&mut self, directory: &Directory, listing: &mut Listing) -> Result<bool, Error> {
        let entries = &mut listing.entries;
        entries.truncate(self.names.known().len());
        entries.reserve_exact(self.names.known().len() - entries.len());
        let mut vanished = false;
        for (index, known) in self.names.known_mut().iter_mut().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::stopped());
            }
            let seen = look_at(directory, &known.name, self.follow_symlinks, &self.path)?;
            let absent = matches!(seen, Seen::Absent | Seen::Vanished);
            vanished |= absent && !known.absent;
            known.absent = absent;
            match entries.get_mut(index) {
                Some(entry) => {
                    if !entry.name.is_shared_with(&known.name) {
                        entry.name = known.name.clone();
                    }
                    entry.seen = seen;
                }
                None => entries.push(Entry { name: known.name.clone(), seen }),
            }
        }
        names::fit(entries);
        Ok(vanished)
    }
}

fn look_at(directory: &Directory, name: &FileName, follow_symlinks: bool, path: &Path) -> Result<Seen, Error> {
    let seen = directory.look_at(name, follow_symlinks);
    seen.map_err(|errno| Error::io("look at the file", &path.join(&**name), errno.into()))
}

fn read_names(directory: &Directory, buffer: &mut Vec<u8>, names: &mut Names, stop: &AtomicBool) -> Result<(), Errno> {
    use std::os::unix::ffi::OsStrExt;
    directory.each_name(buffer, |name| {
        if is_handoff_name(OsStr::from_bytes(name)) {
            names.push(name);
        }
        // What is missing does not matter then: the caller looks at no name.
        !stop.load(Ordering::Relaxed)
    })
}

/// Whether no name can change in this directory without its stamp showing it.
///
/// Sure of that are the file systems that keep their directories in this kernel alone, and set the time of a directory
/// behind the same lock that its readers take. Not so:
/// - NFS, SMB, 9p, FUSE, virtiofs: the names change elsewhere, and the stamp comes from a cache.
/// - overlayfs: its stamp is that of a layer. Nothing says on which file system that layer is (it may be one of the
///   above), and a name that comes or goes in a lower layer does not change it.
/// - FAT and whatever else is not listed: unknown, or known to be careless.
/// - Times in whole seconds (ext2, ext3): there a clock that is set back can make the same time once more. In
///   nanoseconds it hardly ever hits the same one, and then a name is missed for no longer than [`RELY`].
/// - Encrypted directories: their names change, with no time set, when the key is added or removed.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn keeps_its_stamp(directory: &Directory, stamp: &Stamp) -> bool {
    use crate::directory::magic::{BTRFS, EXT, F2FS, RAMFS, TMPFS, XFS};
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    use rustix::io::retry_on_intr;

    let local = || directory.magic().is_some_and(|magic| [EXT, XFS, BTRFS, F2FS, TMPFS, RAMFS].contains(&magic));
    // A kernel or sandbox that cannot say is not trusted.
    let plain = || match retry_on_intr(|| statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())) {
        Ok(stat) => !stat.stx_attributes.contains(StatxAttributes::ENCRYPTED),
        Err(_) => false,
    };
    stamp.ctime.is_fine() && local() && plain()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn keeps_its_stamp(_: &Directory, _: &Stamp) -> bool {
    false
}

#[cfg(test)]
mod tests;
