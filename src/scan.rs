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
//! known, by an earlier scan, to have been the same for longer than the coarsest clock of a file system ticks. Why that
//! is enough: let the stamp have been S at the time f, and S again at the time m, more than [`SETTLE`] later, just
//! before the names were listed. A name that changed
//! - before f + `SETTLE` may have left the stamp at S, but it changed before the listing, which shows it;
//! - after f + `SETTLE` has given the directory a time that differs from that in S. Had that been before m, S would not
//!   have been seen at m. So it is seen by the next `fstat`.
//!
//! This holds where a change of a name and the new time of its directory become visible together, as they do behind the
//! directory's lock on the local file systems of Linux: see [`keeps_its_stamp`]. Elsewhere every poll lists.

mod names;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::directory::{Directory, stamp};
use crate::error::Error;
use crate::listing::{Entry, Listing, Seen, Stamp, is_handoff_name};
use names::Names;

/// Longer than the clock of any file system stands still: 2 s on FAT, 1 s on ext3, a few milliseconds elsewhere.
const SETTLE: Duration = Duration::from_secs(2);

/// A listing is not relied upon for longer than this. By the argument above once would do for years; but a directory
/// that a defect of a kernel kept from changing its stamp would hide a file for as long.
const RELY: Duration = Duration::from_secs(60);

/// The buffer of one `getdents`: some 800 names of handoffs.
const BUFFER_BYTES: usize = 32 * 1024;

/// Lists and stats a directory, again and again.
///
/// What one call promises:
/// - The listing is complete: it holds every handoff name that was in the directory for the whole time of the call.
/// - A name that the directory did not show is left out only if there is no file under it either; a directory that
///   changes while it is being listed may fail to show a file that is replaced just then.
/// - Names are sorted by their bytes and occur once; a name that stays keeps its `Arc`.
/// - What is said of a file was so at some time during the call, not all of it at the same time.
/// - Nothing is allocated in a call that finds no new name.
///
/// After an error the next call starts afresh, with the same interned names.
#[derive(Debug)]
pub(crate) struct Scanner {
    path: PathBuf,
    follow_symlinks: bool,
    names: Names,
    watched: Option<Watched>,
    /// When the listing began that can stand for the next one.
    relied_on: Option<Instant>,
    buffer: Vec<u8>,
    listings: u64,
    /// [`keeps_its_stamp`]; tests decide for themselves.
    trusts: fn(&Directory, &Stamp) -> bool,
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
}

impl Scanner {
    /// A scanner that has seen nothing. The path is resolved anew in each call of [`scan`](Self::scan).
    pub(crate) fn new(path: PathBuf, follow_symlinks: bool) -> Self {
        Self {
            path,
            follow_symlinks,
            names: Names::default(),
            watched: None,
            relied_on: None,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            listings: 0,
            trusts: keeps_its_stamp,
        }
    }

    /// Opens the directory, lists it where that is necessary, and stats every handoff name. `now` is the time at which
    /// the call is made, of a clock that does not go backwards.
    ///
    /// `listing` is filled in place. It may be any listing; that of the last call is filled without an allocation.
    /// The directory that is returned is the one that was listed; the files are to be read from it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the directory cannot be opened or not be listed to its end, or when
    /// the process ran out of memory or descriptors; `listing` then holds nothing that may be used. A single file that
    /// cannot be looked at is no error, but [`Seen::Failed`].
    pub(crate) fn scan(&mut self, now: Instant, listing: &mut Listing) -> Result<Directory, Error> {
        // Whatever fails below: the next scan lists.
        let relied_on = self.relied_on.take();
        let directory = Directory::open(&self.path)?;
        let quiet = self.observe(&directory, now)?;
        if let Some(began) = relied_on
            && quiet
            && now.saturating_duration_since(began) < RELY
            && !self.look(&directory, listing)?
        {
            self.relied_on = relied_on;
            return Ok(directory);
        }
        self.list(&directory, now, quiet, listing)?;
        Ok(directory)
    }

    /// How often the directory was listed since the start, rather than only its known files looked at.
    #[allow(dead_code)]
    pub(crate) fn listings(&self) -> u64 {
        self.listings
    }

    /// Looks at the directory itself; says whether its stamp has settled.
    fn observe(&mut self, directory: &Directory, now: Instant) -> Result<bool, Error> {
        let stat = directory.stat().map_err(|errno| Error::io("look at the directory", &self.path, errno.into()))?;
        #[allow(clippy::unnecessary_cast)] // Its type differs between systems.
        let stamp = (stamp(&stat), stat.st_nlink as u64);
        match &mut self.watched {
            Some(watched) if watched.stamp == stamp => {
                let since = *watched.since.get_or_insert(now);
                Ok(now.saturating_duration_since(since) > SETTLE)
            }
            _ => {
                self.watched = Some(Watched { stamp, since: None, trusted: None });
                Ok(false)
            }
        }
    }

    /// Lists the directory and looks at every name. `quiet`: its stamp, taken before, has settled.
    fn list(&mut self, directory: &Directory, now: Instant, quiet: bool, listing: &mut Listing) -> Result<(), Error> {
        self.listings += 1;
        self.names.start();
        read_names(directory, &mut self.buffer, &mut self.names)
            .map_err(|errno| Error::io("list the directory", &self.path, errno.into()))?;
        self.names.finish();
        self.look(directory, listing)?;
        if self.names.has_unlisted() {
            // A file that is replaced during the listing may be missed: a file system may put its new entry at a place
            // that the listing has passed, such as that of the temporary file. So a known name that was not shown goes
            // only if there is nothing under it. But where upper and lower case are the same, a renamed file is found
            // under its old name too: a directory that was quiet, and still is, is taken at its word.
            let quiet = quiet && self.observe(directory, now)?;
            let mut known = self.names.known().iter();
            listing.entries.retain(|_| known.next().is_some_and(|known| known.stays(quiet)));
            self.names.forget(quiet);
        }
        if quiet && let Some(Watched { stamp: (stamp, _), trusted, .. }) = &mut self.watched {
            let trusts = self.trusts;
            if *trusted.get_or_insert_with(|| trusts(directory, stamp)) {
                self.relied_on = Some(now);
            }
        }
        Ok(())
    }

    /// Looks at every known name; says whether one leads nowhere that did lead somewhere.
    fn look(&mut self, directory: &Directory, listing: &mut Listing) -> Result<bool, Error> {
        let entries = &mut listing.entries;
        entries.truncate(self.names.known().len());
        let mut vanished = false;
        for (index, known) in self.names.known_mut().iter_mut().enumerate() {
            let seen = directory
                .look_at(&known.name, self.follow_symlinks)
                .map_err(|errno| Error::io("look at the file", &self.path.join(&*known.name), errno.into()))?;
            let absent = seen == Seen::Absent;
            vanished |= absent && !known.absent;
            known.absent = absent;
            match entries.get_mut(index) {
                Some(entry) => {
                    if !std::sync::Arc::ptr_eq(&entry.name, &known.name) {
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

#[cfg(any(target_os = "linux", target_os = "android"))]
fn read_names(directory: &Directory, buffer: &mut Vec<u8>, names: &mut Names) -> Result<(), Errno> {
    let mut entries = rustix::fs::RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => push(names, entry.file_name().to_bytes()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn read_names(directory: &Directory, _: &mut Vec<u8>, names: &mut Names) -> Result<(), Errno> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        push(names, entry?.file_name().to_bytes());
    }
    Ok(())
}

fn push(names: &mut Names, name: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    if is_handoff_name(OsStr::from_bytes(name)) {
        names.push(name);
    }
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
///   nanoseconds it does not hit the same one.
/// - Encrypted directories: their names change, with no time set, when the key is added or removed.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn keeps_its_stamp(directory: &Directory, stamp: &Stamp) -> bool {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, fstatfs, statx};
    use rustix::io::retry_on_intr;
    const EXT: u32 = 0xEF53;
    const XFS: u32 = 0x5846_5342;
    const BTRFS: u32 = 0x9123_683E;
    const F2FS: u32 = 0xF2F5_2010;
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58F6;

    let local = || match retry_on_intr(|| fstatfs(directory)) {
        Ok(stat) => matches!(stat.f_type as u32, EXT | XFS | BTRFS | F2FS | TMPFS | RAMFS),
        Err(_) => false,
    };
    // A kernel or sandbox that cannot say is not trusted.
    let plain = || match retry_on_intr(|| statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())) {
        Ok(stat) => !stat.stx_attributes.contains(StatxAttributes::ENCRYPTED),
        Err(_) => false,
    };
    stamp.ctime_nanos != 0 && local() && plain()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn keeps_its_stamp(_: &Directory, _: &Stamp) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::fs::{self, File};
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::error::ErrorKind;
    use crate::listing::OtherKind;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    /// A directory and a scanner of it, under a clock of its own.
    struct Fixture {
        root: tempfile::TempDir,
        dir: PathBuf,
        scanner: Scanner,
        listing: Listing,
        now: Instant,
    }

    impl Fixture {
        /// The rules for leaving out a listing are tested on whatever file system the tests run.
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path().join("engines");
            fs::create_dir(&dir).unwrap();
            let mut scanner = Scanner::new(dir.clone(), true);
            scanner.trusts = |_, _| true;
            Self { root, dir, scanner, listing: Listing::default(), now: Instant::now() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.join(name)
        }

        /// Scans a second later; says what was seen.
        fn scan(&mut self) -> Vec<(String, Seen)> {
            self.try_scan().unwrap();
            let name = |entry: &Entry| entry.name.to_str().unwrap().to_owned();
            self.listing.entries.iter().map(|entry| (name(entry), entry.seen)).collect()
        }

        fn try_scan(&mut self) -> Result<Directory, Error> {
            self.now += Duration::from_secs(1);
            self.scanner.scan(self.now, &mut self.listing)
        }

        fn names(&mut self) -> Vec<String> {
            self.scan().into_iter().map(|(name, _)| name).collect()
        }

        /// Scans until the listing is left out.
        fn settle(&mut self) {
            for _ in 0..10 {
                if !self.lists() {
                    return;
                }
            }
            panic!("never settled");
        }

        /// Scans; says whether the directory was listed for that.
        fn lists(&mut self) -> bool {
            let before = self.scanner.listings();
            self.try_scan().unwrap();
            self.scanner.listings() > before
        }

        /// Makes a change that the stamp of the directory shows. The clock of these tests has run ahead of that of the
        /// file system, which may not even have ticked.
        fn change(&self, change: impl FnOnce()) {
            let stamp = || fs::metadata(&self.dir).map(|meta| (meta.mtime_nsec(), meta.ctime_nsec())).unwrap();
            let before = stamp();
            change();
            while stamp() == before {
                File::create(self.path("tick")).unwrap();
                fs::remove_file(self.path("tick")).unwrap();
            }
        }
    }

    fn size(seen: Seen) -> u64 {
        let Seen::File(stamp) = seen else { panic!("{seen:?}") };
        stamp.size
    }

    #[test]
    fn sees_every_kind_of_entry() {
        let mut fixture = Fixture::new();
        let path = |name: &str| fixture.dir.join(name);
        fs::write(path("file.json"), "1234").unwrap();
        fs::create_dir(path("dir.json")).unwrap();
        mknodat(CWD, path("fifo.json"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _listener = UnixListener::bind(path("socket.json")).unwrap();
        symlink("/dev/null", path("device.json")).unwrap();
        symlink("nowhere", path("dangling.json")).unwrap();
        symlink("loop.json", path("loop.json")).unwrap();
        symlink("file.json", path("link.json")).unwrap();
        for other in ["a.json.bak", ".a.json.swp", ".json", "a.json~", ".hidden.json", "a.JSON"] {
            File::create(path(other)).unwrap();
        }

        let seen = fixture.scan();
        let Seen::File(file) = seen[4].1 else { panic!("{seen:?}") };
        assert_eq!(file.size, 4);
        let looping = Seen::Failed(Errno::LOOP.raw_os_error());
        let expect = |follow: bool| {
            let link = |seen| if follow { seen } else { Seen::Other(OtherKind::Symlink) };
            [
                ("dangling.json", link(Seen::Absent)),
                ("device.json", link(Seen::Other(OtherKind::Device))),
                ("dir.json", Seen::Other(OtherKind::Directory)),
                ("fifo.json", Seen::Other(OtherKind::Fifo)),
                ("file.json", Seen::File(file)),
                ("link.json", link(Seen::File(file))),
                ("loop.json", link(looping)),
                ("socket.json", Seen::Other(OtherKind::Socket)),
            ]
            .map(|(name, seen)| (name.to_owned(), seen))
        };
        assert_eq!(seen, expect(true));
        fixture.scanner = Scanner::new(fixture.dir.clone(), false);
        assert_eq!(fixture.scan(), expect(false));
    }

    #[test]
    fn takes_every_name_that_the_system_takes() {
        let mut fixture = Fixture::new();
        let name = |bytes: &[u8]| OsString::from_vec([bytes, b".json"].concat());
        let mut names =
            vec![name(b"a\nb"), name(b"\xff\xfe"), name(&[b'x'; 250]), name(" \u{1F600}".as_bytes()), name(b"-")];
        names.retain(|name| File::create(fixture.dir.join(name)).is_ok()); // Not every file system takes all of them.
        names.sort_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
        fixture.try_scan().unwrap();
        let entries = &fixture.listing.entries;
        assert_eq!(entries.iter().map(|entry| entry.name.to_os_string()).collect::<Vec<_>>(), names);
        assert!(entries.iter().all(|entry| matches!(entry.seen, Seen::File(_))));
    }

    #[test]
    fn a_listing_of_many_buffers_is_complete_sorted_and_interned() {
        let mut fixture = Fixture::new();
        let expected: Vec<String> = (0..3000).map(|i| format!("pool-{i:05}-r0.json")).collect();
        expected.iter().rev().for_each(|name| drop(File::create(fixture.path(name)).unwrap()));
        assert_eq!(fixture.names(), expected);
        let before: Vec<_> = fixture.listing.entries.iter().map(|entry| entry.name.clone()).collect();
        let (address, capacity) = (fixture.listing.entries.as_ptr(), fixture.listing.entries.capacity());
        for _ in 0..6 {
            fixture.try_scan().unwrap();
            let entries = &fixture.listing.entries;
            assert_eq!(entries.len(), before.len());
            assert!(entries.iter().zip(&before).all(|(entry, name)| Arc::ptr_eq(&entry.name, name)));
            assert_eq!((entries.as_ptr(), entries.capacity()), (address, capacity));
        }
        assert!(fixture.scanner.listings() < 6);
    }

    #[test]
    fn any_listing_is_filled_even_when_the_directory_is_not_listed() {
        let mut fixture = Fixture::new();
        File::create(fixture.path("a.json")).unwrap();
        File::create(fixture.path("b.json")).unwrap();
        fixture.settle();
        fixture.listing = Listing::default();
        assert!(!fixture.lists());
        assert_eq!(fixture.listing.entries.len(), 2);
        fixture.listing.entries.rotate_left(1);
        fixture.listing.entries.push(fixture.listing.entries[0].clone());
        assert_eq!(fixture.names(), ["a.json", "b.json"]);
    }

    #[test]
    fn a_directory_is_listed_until_its_stamp_has_settled() {
        let mut fixture = Fixture::new();
        File::create(fixture.path("a.json")).unwrap();
        // Seen at 1 s; known to be unchanged since before 2 s; at 4 s that is not yet longer than 2 s.
        let listed: Vec<bool> = (0..7).map(|_| fixture.lists()).collect();
        assert_eq!(listed, [true, true, true, true, true, false, false]);
        fixture.change(|| drop(File::create(fixture.path("b.json")).unwrap()));
        let listed: Vec<bool> = (0..6).map(|_| fixture.lists()).collect();
        assert_eq!(listed, [true, true, true, true, true, false]);
    }

    #[test]
    fn the_clock_decides_and_not_the_number_of_scans() {
        let mut fixture = Fixture::new();
        for _ in 0..100 {
            fixture.now -= Duration::from_millis(980);
            assert!(fixture.lists());
        }
    }

    #[test]
    fn a_directory_that_is_not_trusted_is_always_listed() {
        let mut fixture = Fixture::new();
        fixture.scanner.trusts = |_, _| false;
        assert!((0..100).all(|_| fixture.lists()));
    }

    #[test]
    fn a_listing_is_not_relied_upon_for_ever() {
        let mut fixture = Fixture::new();
        fixture.settle();
        let listed = (0..600).filter(|_| fixture.lists()).count();
        assert!((9..=10).contains(&listed), "{listed}");
    }

    #[test]
    fn whole_seconds_and_encryption_are_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let stamp = stamp(&directory.stat().unwrap());
        assert!(!keeps_its_stamp(&directory, &Stamp { ctime_nanos: 0, ..stamp }));
        if let Ok(proc) = Directory::open(Path::new("/proc/self")) {
            assert!(!keeps_its_stamp(&proc, &stamp));
        }
    }

    #[test]
    fn a_name_that_comes_after_settling_is_seen() {
        let mut fixture = Fixture::new();
        File::create(fixture.path("b.json")).unwrap();
        fixture.settle();
        fixture.change(|| drop(File::create(fixture.path("a.json")).unwrap()));
        assert_eq!(fixture.names(), ["a.json", "b.json"]);
        fixture.settle();
        fixture.change(|| fs::rename(fixture.path("a.json"), fixture.path("c.json")).unwrap());
        assert_eq!(fixture.names(), ["b.json", "c.json"]);
    }

    #[test]
    fn a_file_that_is_rewritten_in_place_is_seen_without_a_listing() {
        let mut fixture = Fixture::new();
        fs::write(fixture.path("a.json"), "1").unwrap();
        fixture.settle();
        fs::write(fixture.path("a.json"), "22").unwrap();
        let listings = fixture.scanner.listings();
        assert_eq!(size(fixture.scan()[0].1), 2);
        assert_eq!(fixture.scanner.listings(), listings);
    }

    #[test]
    fn a_file_that_is_replaced_is_seen_even_by_stat_alone() {
        let mut fixture = Fixture::new();
        fs::write(fixture.path("a.json"), "1").unwrap();
        fixture.settle();
        let before = fixture.scan()[0].1;
        fs::write(fixture.root.path().join("new"), "2").unwrap();
        fs::rename(fixture.root.path().join("new"), fixture.path("a.json")).unwrap();
        let mut seen = fixture.listing.clone();
        // Only the look, as if the stamp of the directory had not changed.
        let directory = Directory::open(&fixture.dir).unwrap();
        assert!(!fixture.scanner.look(&directory, &mut seen).unwrap());
        assert_ne!(seen.entries[0].seen, before);
    }

    #[test]
    fn a_file_that_leads_nowhere_all_at_once_has_the_directory_listed_once() {
        let mut fixture = Fixture::new();
        let target = fixture.root.path().join("target");
        fs::write(&target, "1").unwrap();
        symlink(&target, fixture.path("a.json")).unwrap();
        fixture.settle();
        fs::remove_file(&target).unwrap();
        assert!(fixture.lists());
        assert_eq!(fixture.listing.entries[0].seen, Seen::Absent);
        assert!(!fixture.lists());
        assert_eq!(fixture.listing.entries[0].seen, Seen::Absent);
        fs::write(&target, "22").unwrap();
        assert_eq!(size(fixture.scan()[0].1), 2);
    }

    #[test]
    fn a_removed_file_is_gone_at_once_and_not_listed_as_absent() {
        let mut fixture = Fixture::new();
        File::create(fixture.path("a.json")).unwrap();
        File::create(fixture.path("b.json")).unwrap();
        fixture.settle();
        fs::remove_file(fixture.path("a.json")).unwrap();
        assert_eq!(fixture.names(), ["b.json"]);
        fs::remove_file(fixture.path("b.json")).unwrap();
        assert!(fixture.names().is_empty());
    }

    #[test]
    fn a_known_name_that_is_not_shown_stays_while_there_is_a_file_and_no_quiet() {
        let mut fixture = Fixture::new();
        File::create(fixture.path("a.json")).unwrap();
        File::create(fixture.path("b.json")).unwrap();
        assert_eq!(fixture.names().len(), 2);
        // A file that can be found, but that no listing shows: `x/../a.json` is one under any rule of case.
        fs::create_dir(fixture.path("x")).unwrap();
        fixture.scanner.names.start();
        ["a.json", "b.json", "x/../a.json"].iter().for_each(|name| fixture.scanner.names.push(name.as_bytes()));
        fixture.scanner.names.finish();
        for _ in 0..4 {
            assert_eq!(fixture.names(), ["a.json", "b.json", "x/../a.json"]);
        }
        fixture.settle();
        assert_eq!(fixture.names(), ["a.json", "b.json"]);
    }

    #[test]
    fn a_listing_is_not_taken_at_its_word_when_the_directory_changed_meanwhile() {
        let mut fixture = Fixture::new();
        File::create(fixture.path("a.json")).unwrap();
        fs::create_dir(fixture.path("x")).unwrap();
        fixture.settle();
        fixture.scanner.names.start();
        ["a.json", "x/../a.json"].iter().for_each(|name| fixture.scanner.names.push(name.as_bytes()));
        fixture.scanner.names.finish();
        fixture.change(|| drop(File::create(fixture.path("b.json")).unwrap()));
        let directory = Directory::open(&fixture.dir).unwrap();
        let (now, scanner) = (fixture.now, &mut fixture.scanner);
        scanner.relied_on = None;
        scanner.list(&directory, now, true, &mut fixture.listing).unwrap();
        assert_eq!(fixture.listing.entries.len(), 3);
        assert!(fixture.lists());
    }

    #[test]
    fn files_that_are_replaced_all_the_time_are_never_missing() {
        for root in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
            let Ok(dir) = tempfile::tempdir_in(root) else { continue };
            let path = dir.path().to_owned();
            let names: Vec<String> = (0..20).map(|i| format!("{i:02}.json")).collect();
            names.iter().for_each(|name| drop(File::create(path.join(name)).unwrap()));
            let stop = Arc::new(AtomicBool::new(false));
            let writer = std::thread::spawn({
                let (path, names, stop) = (path.clone(), names.clone(), stop.clone());
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        for name in &names {
                            File::create(path.join("tmp")).unwrap();
                            fs::rename(path.join("tmp"), path.join(name)).unwrap();
                        }
                    }
                }
            });
            let (mut scanner, mut listing) = (Scanner::new(path, true), Listing::default());
            let deadline = Instant::now() + Duration::from_millis(200);
            while Instant::now() < deadline {
                scanner.scan(Instant::now(), &mut listing).unwrap();
                let shown = listing.entries.iter().map(|entry| &*entry.name);
                assert!(shown.eq(names.iter().map(OsStr::new)), "{:?}", listing.entries);
                assert!(listing.entries.iter().all(|entry| matches!(entry.seen, Seen::File(_))));
            }
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap();
        }
    }

    #[test]
    fn a_link_to_a_directory_is_followed_when_it_flips() {
        let mut fixture = Fixture::new();
        for version in ["v1", "v2"] {
            fs::create_dir(fixture.root.path().join(version)).unwrap();
            File::create(fixture.root.path().join(version).join(format!("{version}.json"))).unwrap();
        }
        fs::remove_dir(&fixture.dir).unwrap();
        symlink("v1", &fixture.dir).unwrap();
        assert_eq!(fixture.names(), ["v1.json"]);
        fixture.settle();
        symlink("v2", fixture.root.path().join("next")).unwrap();
        fs::rename(fixture.root.path().join("next"), &fixture.dir).unwrap();
        assert_eq!(fixture.names(), ["v2.json"]);
    }

    #[test]
    fn a_directory_that_cannot_be_listed_is_an_error_and_comes_back() {
        let mut fixture = Fixture::new();
        File::create(fixture.path("a.json")).unwrap();
        fixture.settle();
        let name = fixture.listing.entries[0].name.clone();
        let away = fixture.root.path().join("away");
        fs::rename(&fixture.dir, &away).unwrap();
        let error = fixture.try_scan().unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(fixture.dir.as_path())));
        File::create(&fixture.dir).unwrap();
        let error = fixture.try_scan().unwrap_err();
        assert_eq!(error.io_error().unwrap().raw_os_error(), Some(Errno::NOTDIR.raw_os_error()));
        fs::remove_file(&fixture.dir).unwrap();
        fs::rename(&away, &fixture.dir).unwrap();
        assert!(fixture.lists());
        assert!(Arc::ptr_eq(&fixture.listing.entries[0].name, &name));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_directory_that_is_deleted_while_open_is_an_error() {
        let mut fixture = Fixture::new();
        let directory = Directory::open(&fixture.dir).unwrap();
        fs::remove_dir(&fixture.dir).unwrap();
        let error = fixture.scanner.list(&directory, fixture.now, false, &mut fixture.listing).unwrap_err();
        assert!(error.to_string().contains("cannot list the directory: "), "{error}");
        assert_eq!(error.io_error().unwrap().raw_os_error(), Some(Errno::NOENT.raw_os_error()));
    }

    #[test]
    fn the_directory_that_is_returned_is_the_one_that_was_listed() {
        let mut fixture = Fixture::new();
        fs::write(fixture.path("a.json"), "1").unwrap();
        let directory = fixture.try_scan().unwrap();
        fs::rename(&fixture.dir, fixture.root.path().join("away")).unwrap();
        fs::create_dir(&fixture.dir).unwrap();
        assert!(matches!(directory.look_at(OsStr::new("a.json"), true), Ok(Seen::File(_))));
    }
}
