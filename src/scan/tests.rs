//! The scanner against a real file system, under a clock of the tests' own.

mod stamps;

use super::*;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use crate::error::ErrorKind;
use crate::listing::{Moment, OtherKind};
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
        scanner.ticks = || Moment::FIRST;
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
        let directory = self.scanner.open()?;
        let begun = self.scanner.begin(&directory, self.now)?;
        self.scanner.finish(&directory, &begun, &mut self.listing)?;
        Ok(directory)
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

    /// Whether the next scan may leave out the listing.
    fn relies(&self) -> bool {
        self.scanner.watched.as_ref().is_some_and(|watched| watched.relied_on.is_some())
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
        assert!(entries.iter().zip(&before).all(|(entry, name)| entry.name.is_shared_with(name)));
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
fn what_comes_is_seen_before_the_rest() {
    let mut fixture = Fixture::new();
    let arrivals = |fixture: &mut Fixture| {
        fixture.now += Duration::from_secs(1);
        let directory = fixture.scanner.open().unwrap();
        let begun = fixture.scanner.begin(&directory, fixture.now).unwrap();
        fixture.scanner.finish(&directory, &begun, &mut fixture.listing).unwrap();
        begun.arrivals.iter().map(|it| (it.name.to_str().unwrap().to_owned(), it.seen)).collect::<Vec<_>>()
    };
    fs::write(fixture.path("b.json"), "1").unwrap();
    assert_eq!(arrivals(&mut fixture), [], "what is listed first comes as a whole");
    fs::write(fixture.path("c.json"), "22").unwrap();
    fs::write(fixture.path("a.json"), "333").unwrap();
    let came = arrivals(&mut fixture);
    assert_eq!(
        came.iter().map(|(name, seen)| (name.as_str(), size(*seen))).collect::<Vec<_>>(),
        [("a.json", 3), ("c.json", 2)]
    );
    for _ in 0..8 {
        assert_eq!(arrivals(&mut fixture), [], "once");
    }
    fixture.change(|| fs::rename(fixture.path("a.json"), fixture.path("d.json")).unwrap());
    assert_eq!(arrivals(&mut fixture)[0].0, "d.json");
    // A listing that breaks off does not make the names of the next one come twice, nor not at all.
    fixture.change(|| fs::write(fixture.path("e.json"), "").unwrap());
    fixture.scanner.names.start();
    fixture.scanner.names.push(b"e.json");
    assert_eq!(arrivals(&mut fixture), [("e.json".into(), fixture.listing.entries[3].seen)]);
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
            let directory = scanner.open().unwrap();
            let begun = scanner.begin(&directory, Instant::now()).unwrap();
            scanner.finish(&directory, &begun, &mut listing).unwrap();
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
    assert!(fixture.listing.entries[0].name.is_shared_with(&name));
}

#[test]
#[cfg(target_os = "linux")]
fn a_directory_that_is_deleted_while_open_is_an_error() {
    let mut fixture = Fixture::new();
    let directory = Directory::open(&fixture.dir).unwrap();
    fs::remove_dir(&fixture.dir).unwrap();
    let error = fixture.scanner.list(&directory).unwrap_err();
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
