//! [fs] From a name to the bytes of one version of a file.
//!
//! In: an open directory and a name that the scan saw as a regular file; by now it may be anything. Out: the bytes
//! together with the stamp that they belong to, or why there are none. Nothing here waits, whatever stands under the
//! name, and nothing larger than the limit is read.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::fstat;
use rustix::io::{Errno, read, retry_on_intr};

use crate::directory::{Directory, breach, is_exhaustion, kind, stamp};
use crate::error::Error;
use crate::listing::{OtherKind, Seen, Stamp};
use crate::trust::{Breach, TrustPolicy};

/// How often a file that changed while being read is read again at once. More would help no one: a writer that is still
/// writing will not be done microseconds later, and the next poll is near.
const RETRIES: u32 = 3;

/// The buffer that is kept. Handoffs are smaller by far; one that is not is no reason to hold its size for years.
const KEPT_BYTES: usize = 64 * 1024;

/// What came of reading a file.
#[derive(Debug)]
pub(crate) enum ReadOutcome<'a> {
    /// The whole content; the stamp was the same before and after reading, and its size is that of the content. That
    /// excludes a file that is being written, but for a change within one tick of the file system's clock: only a
    /// stamp that has settled proves that the content is of one piece.
    Bytes { stamp: Stamp, bytes: &'a [u8] },
    /// It changed while being read, several times in a row; or it is leased to a writer.
    Changing,
    /// It did not change, but its length is not what `stat` says, as in procfs: whether it is whole cannot be known.
    Contradictory { stamp: Stamp, length: usize },
    /// There is no such name, or it is a symbolic link that leads nowhere.
    Absent,
    /// It is not a regular file.
    Other(OtherKind),
    /// It is larger than the limit, and was not read.
    TooLarge { stamp: Stamp, size: u64 },
    /// Its owner or its mode breaks a rule of the policy. Nothing of its content is told.
    Untrusted { stamp: Stamp, breach: Breach, error: Error },
    /// This file cannot be opened or read: EACCES, EIO, ELOOP, ESTALE twice, …
    Failed(io::Error),
    /// The process or the machine ran out of descriptors or memory. That says nothing of this file.
    Exhausted(io::Error),
}

/// Reads one file after the other into one buffer.
#[derive(Debug)]
pub(crate) struct Reader {
    max_file_size: u64,
    follow_symlinks: bool,
    trust: Option<TrustPolicy>,
    buffer: Vec<u8>,
    #[cfg(test)]
    hook: tests::Hook,
}

/// One attempt, without the bytes: they are in the buffer.
enum Attempt {
    Read(Stamp),
    Changed,
    Contradictory(Stamp),
    Other(OtherKind),
    TooLarge(Stamp),
    Untrusted(Stamp, Breach, Error),
}

impl Reader {
    /// A reader of files of up to `max_file_size` bytes.
    pub(crate) fn new(max_file_size: u64, follow_symlinks: bool) -> Self {
        Self {
            max_file_size,
            follow_symlinks,
            trust: None,
            buffer: Vec::new(),
            #[cfg(test)]
            hook: tests::Hook::default(),
        }
    }

    /// Refuses what the policy does not trust.
    pub(crate) fn trusting(self, trust: Option<TrustPolicy>) -> Self {
        Self { trust, ..self }
    }

    /// Reads the file under a name of the directory. For a file that is left alone that is five system calls: open,
    /// fstat, read, fstat, close.
    ///
    /// Never waits for another process: a FIFO, a terminal, a leased file are not waited for. (A network file system
    /// whose server is gone may still block; no system call can avoid that.) A device is opened only if it took the
    /// place of a regular file since the scan.
    pub(crate) fn read(&mut self, directory: &Directory, name: &OsStr) -> ReadOutcome<'_> {
        let mut retries = RETRIES;
        let mut stale = false;
        loop {
            match self.attempt(directory, name) {
                Ok(Attempt::Read(stamp)) => return ReadOutcome::Bytes { stamp, bytes: &self.buffer },
                Ok(Attempt::Changed | Attempt::Contradictory(_)) if retries > 0 => retries -= 1,
                Ok(Attempt::Contradictory(stamp)) => {
                    return ReadOutcome::Contradictory { stamp, length: self.buffer.len() };
                }
                // EAGAIN: a writer holds a lease. It has been told to give it up.
                Ok(Attempt::Changed) | Err(Errno::AGAIN) => return ReadOutcome::Changing,
                Ok(Attempt::Other(kind)) => return ReadOutcome::Other(kind),
                Ok(Attempt::TooLarge(stamp)) => return ReadOutcome::TooLarge { stamp, size: stamp.size },
                Ok(Attempt::Untrusted(stamp, breach, error)) => {
                    return ReadOutcome::Untrusted { stamp, breach, error };
                }
                Err(Errno::NOENT) => return ReadOutcome::Absent,
                // The file was replaced on the server of a network file system: open what is there now, but once.
                Err(Errno::STALE) if !stale => stale = true,
                Err(errno) if is_exhaustion(errno) => return ReadOutcome::Exhausted(errno.into()),
                Err(errno) => return ReadOutcome::Failed(errno.into()),
            }
        }
    }

    /// Gives back a buffer that a large file has left, for use before a pause.
    pub(crate) fn trim(&mut self) {
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
    }

    fn attempt(&mut self, directory: &Directory, name: &OsStr) -> Result<Attempt, Errno> {
        let file = match directory.open_file(name, self.follow_symlinks) {
            Ok(file) => file,
            Err(errno) if errno == Errno::NOENT || is_exhaustion(errno) => return Err(errno),
            // A socket cannot be opened, nor a symbolic link that is not followed; each system has its own number for
            // that. So ask what it is, and only for a regular file is the number the answer.
            Err(errno) => {
                return match directory.look_at(name, self.follow_symlinks)? {
                    Seen::Other(kind) => Ok(Attempt::Other(kind)),
                    Seen::Absent | Seen::Vanished => Err(Errno::NOENT),
                    Seen::File(_) | Seen::Failed(_) => Err(errno),
                };
            }
        };
        let stat = retry_on_intr(|| fstat(&file))?;
        if let Some(kind) = kind(&stat) {
            return Ok(Attempt::Other(kind));
        }
        let before = stamp(&stat);
        if let Some((breach, error)) = breach(&stat, self.trust.as_ref(), "") {
            return Ok(Attempt::Untrusted(before, breach, error));
        }
        if before.size > self.max_file_size {
            return Ok(Attempt::TooLarge(before));
        }
        self.fill(&file, before.size)?;
        #[cfg(test)]
        self.hook.call();
        let stat = retry_on_intr(|| fstat(&file))?;
        let after = stamp(&stat);
        // Once more: a chmod within the tick of the last one leaves the same stamp.
        if let Some((breach, error)) = breach(&stat, self.trust.as_ref(), "") {
            return Ok(Attempt::Untrusted(after, breach, error));
        }
        // Where the size is that of the bytes there is nothing behind them. So a read that came back with all of them
        // need not be followed by one that says "end of file".
        Ok(match (before == after, self.buffer.len() as u64 == after.size) {
            (true, true) => Attempt::Read(after),
            (true, false) => Attempt::Contradictory(after),
            (false, _) => Attempt::Changed,
        })
    }

    /// Reads until `size` bytes are there, or more than that, or the end of the file.
    fn fill(&mut self, file: &OwnedFd, size: u64) -> Result<(), Errno> {
        let size = usize::try_from(size).map_err(|_| Errno::NOMEM)?;
        self.buffer.clear();
        if self.buffer.capacity() / 4 > size {
            self.trim();
        }
        // Room for one byte more shows a file that has grown, and an empty one that is not.
        self.buffer.try_reserve_exact(size.saturating_add(1)).map_err(|_| Errno::NOMEM)?;
        loop {
            let count = retry_on_intr(|| read(file, spare_capacity(&mut self.buffer)))?;
            if count == 0 || self.buffer.len() >= size {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::bound_by_permissions;
    use std::fmt;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::{Duration, Instant};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    /// Called after each read, before the stamp is taken again.
    #[derive(Default)]
    pub(super) struct Hook(Option<Box<dyn FnMut() + Send>>);

    impl Hook {
        pub(super) fn call(&mut self) {
            if let Some(hook) = &mut self.0 {
                hook();
            }
        }
    }

    impl fmt::Debug for Hook {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Hook")
        }
    }

    struct Fixture {
        dir: tempfile::TempDir,
        reader: Reader,
    }

    impl Fixture {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), reader: Reader::new(1000, true) }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn hook(&mut self, hook: impl FnMut() + Send + 'static) {
            self.reader.hook = Hook(Some(Box::new(hook)));
        }

        fn read(&mut self, name: &str) -> ReadOutcome<'_> {
            read_from(&mut self.reader, self.dir.path(), name)
        }
    }

    fn read_from<'a>(reader: &'a mut Reader, dir: &Path, name: &str) -> ReadOutcome<'a> {
        reader.read(&Directory::open(dir).unwrap(), OsStr::new(name))
    }

    fn expect_bytes(outcome: ReadOutcome<'_>, expected: &[u8]) {
        let ReadOutcome::Bytes { stamp, bytes } = outcome else { panic!("{outcome:?}") };
        assert_eq!((bytes, stamp.size), (expected, expected.len() as u64));
    }

    #[test]
    fn reads_whole_files_up_to_the_limit() {
        let mut fixture = Fixture::new();
        for size in [0, 1, 2, 999, 1000, 500, 0] {
            let content: Vec<u8> = (0..size).map(|i| i as u8).collect();
            fs::write(fixture.path("a.json"), &content).unwrap();
            expect_bytes(fixture.read("a.json"), &content);
        }
        fs::write(fixture.path("a.json"), [0; 1001]).unwrap();
        let outcome = fixture.read("a.json");
        assert!(matches!(outcome, ReadOutcome::TooLarge { size: 1001, stamp } if stamp.size == 1001), "{outcome:?}");
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let mut fixture = Fixture::new();
        File::create(fixture.path("a.json")).unwrap().set_len(10 << 30).unwrap();
        let outcome = fixture.read("a.json");
        assert!(matches!(outcome, ReadOutcome::TooLarge { size: 10_737_418_240, .. }), "{outcome:?}");
        assert_eq!(fixture.reader.buffer.capacity(), 0);
    }

    #[test]
    fn gives_back_the_buffer_of_a_large_file() {
        let mut fixture = Fixture::new();
        fixture.reader = Reader::new(1 << 20, true);
        fs::write(fixture.path("large.json"), vec![b'x'; 1 << 20]).unwrap();
        fs::write(fixture.path("small.json"), "x").unwrap();
        expect_bytes(fixture.read("large.json"), &vec![b'x'; 1 << 20]);
        expect_bytes(fixture.read("small.json"), b"x");
        assert!(fixture.reader.buffer.capacity() <= KEPT_BYTES);
        expect_bytes(fixture.read("large.json"), &vec![b'x'; 1 << 20]);
        fixture.reader.trim();
        assert!(fixture.reader.buffer.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn refuses_what_is_no_regular_file_without_blocking() {
        let mut fixture = Fixture::new();
        fs::create_dir(fixture.path("dir.json")).unwrap();
        mknodat(CWD, fixture.path("fifo.json"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _listener = UnixListener::bind(fixture.path("socket.json")).unwrap();
        symlink("/dev/zero", fixture.path("device.json")).unwrap();
        symlink("fifo.json", fixture.path("link.json")).unwrap();
        for (name, expected) in [
            ("dir.json", OtherKind::Directory),
            ("fifo.json", OtherKind::Fifo),
            ("socket.json", OtherKind::Socket),
            ("device.json", OtherKind::Device),
            ("link.json", OtherKind::Fifo),
        ] {
            let outcome = fixture.read(name);
            assert!(matches!(outcome, ReadOutcome::Other(kind) if kind == expected), "{name}: {outcome:?}");
        }
    }

    #[test]
    fn follows_links_only_when_told_to() {
        let mut fixture = Fixture::new();
        fs::write(fixture.path("target"), "x").unwrap();
        symlink("target", fixture.path("a.json")).unwrap();
        symlink("nowhere", fixture.path("dangling.json")).unwrap();
        symlink("loop.json", fixture.path("loop.json")).unwrap();
        expect_bytes(fixture.read("a.json"), b"x");
        assert!(matches!(fixture.read("dangling.json"), ReadOutcome::Absent));
        assert!(matches!(fixture.read("missing.json"), ReadOutcome::Absent));
        let outcome = fixture.read("loop.json");
        let looping = Some(Errno::LOOP.raw_os_error());
        assert!(matches!(&outcome, ReadOutcome::Failed(error) if error.raw_os_error() == looping), "{outcome:?}");
        fixture.reader = Reader::new(1000, false);
        for name in ["a.json", "dangling.json", "loop.json"] {
            let outcome = fixture.read(name);
            assert!(matches!(outcome, ReadOutcome::Other(OtherKind::Symlink)), "{name}: {outcome:?}");
        }
    }

    #[test]
    fn a_file_without_permission_has_failed() {
        bound_by_permissions(|| {
            let mut fixture = Fixture::new();
            fs::write(fixture.path("a.json"), "x").unwrap();
            rustix::fs::chmod(fixture.path("a.json"), Mode::empty()).unwrap();
            let outcome = fixture.read("a.json");
            let denied = io::ErrorKind::PermissionDenied;
            assert!(matches!(&outcome, ReadOutcome::Failed(error) if error.kind() == denied), "{outcome:?}");
        });
    }

    /// A file that is replaced would be read anew, and found to be good: what was read is what is judged.
    #[test]
    fn a_file_that_others_may_write_by_the_time_that_it_was_read_is_not_trusted() {
        for is_replaced in [false, true] {
            let mut fixture = Fixture::new();
            fixture.reader = Reader::new(1000, true).trusting(Some(TrustPolicy::this_user()));
            let (path, good) = (fixture.path("a.json"), fixture.path("good"));
            for path in [&path, &good] {
                fs::write(path, "x").unwrap();
                rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).unwrap();
            }
            expect_bytes(fixture.read("a.json"), b"x");
            let mut is_first = true;
            fixture.hook(move || {
                if std::mem::take(&mut is_first) {
                    rustix::fs::chmod(&path, Mode::RUSR | Mode::WUSR | Mode::WOTH).unwrap();
                    if is_replaced {
                        fs::rename(&good, &path).unwrap();
                    }
                }
            });
            let outcome = fixture.read("a.json");
            let expected = Breach::Writable(0o602);
            assert!(matches!(&outcome, ReadOutcome::Untrusted { breach, .. } if *breach == expected), "{outcome:?}");
        }
    }

    #[test]
    fn a_file_that_changes_once_is_read_again() {
        let mut fixture = Fixture::new();
        let path = fixture.path("a.json");
        fs::write(&path, "old").unwrap();
        let mut content = Some("newer");
        fixture.hook(move || {
            if let Some(content) = content.take() {
                fs::write(&path, content).unwrap();
            }
        });
        expect_bytes(fixture.read("a.json"), b"newer");
    }

    #[test]
    fn a_change_that_keeps_the_size_is_noticed() {
        let mut fixture = Fixture::new();
        let path = fixture.path("a.json");
        fs::write(&path, "old").unwrap();
        let mut content = Some("new");
        fixture.hook(move || {
            if let Some(content) = content.take() {
                fs::write(&path, content).unwrap();
                // The clock of the file system may not have ticked.
                File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            }
        });
        expect_bytes(fixture.read("a.json"), b"new");
    }

    #[test]
    fn a_file_that_is_replaced_while_being_read_is_read_anew() {
        let mut fixture = Fixture::new();
        let (path, temporary) = (fixture.path("a.json"), fixture.path("tmp"));
        fs::write(&path, "old").unwrap();
        fs::write(&temporary, "brand new").unwrap();
        // The old file is unlinked and made longer: the open descriptor must not be read to its end.
        let mut old = Some(File::options().append(true).open(&path).unwrap());
        fixture.hook(move || {
            if let Some(mut old) = old.take() {
                fs::rename(&temporary, &path).unwrap();
                io::Write::write_all(&mut old, b"er").unwrap();
            }
        });
        expect_bytes(fixture.read("a.json"), b"brand new");
    }

    #[test]
    fn a_file_that_never_rests_is_changing_after_a_few_attempts() {
        let mut fixture = Fixture::new();
        let path = fixture.path("a.json");
        fs::write(&path, "x").unwrap();
        let attempts = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = attempts.clone();
        fixture.hook(move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut file = File::options().append(true).open(&path).unwrap();
            io::Write::write_all(&mut file, b"x").unwrap();
        });
        assert!(matches!(fixture.read("a.json"), ReadOutcome::Changing));
        assert_eq!(attempts.load(std::sync::atomic::Ordering::Relaxed), 1 + RETRIES);
    }

    #[test]
    fn a_file_that_grows_without_end_is_not_followed() {
        let mut fixture = Fixture::new();
        let path = fixture.path("a.json");
        fs::write(&path, "x").unwrap();
        let deadline = Instant::now() + Duration::from_millis(200);
        let writer = std::thread::spawn(move || {
            while Instant::now() < deadline {
                let mut file = File::options().append(true).open(&path).unwrap();
                io::Write::write_all(&mut file, b"xxxxxxxx").unwrap();
                if file.metadata().unwrap().len() > 900 {
                    file.set_len(0).unwrap();
                }
            }
        });
        while Instant::now() < deadline {
            match fixture.read("a.json") {
                ReadOutcome::Bytes { bytes, stamp } => assert_eq!(bytes.len() as u64, stamp.size),
                ReadOutcome::Changing => {}
                other => panic!("{other:?}"),
            }
            assert!(fixture.reader.buffer.capacity() < 2000);
        }
        writer.join().unwrap();
    }

    #[test]
    fn a_fifo_swapped_in_does_not_block() {
        let mut fixture = Fixture::new();
        let path = fixture.path("a.json");
        fs::write(&path, "x").unwrap();
        let directory = Directory::open(fixture.dir.path()).unwrap();
        assert!(matches!(directory.look_at(OsStr::new("a.json"), true), Ok(Seen::File(_))));
        mknodat(CWD, fixture.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::rename(fixture.path("fifo"), &path).unwrap();
        let outcome = fixture.reader.read(&directory, OsStr::new("a.json"));
        assert!(matches!(outcome, ReadOutcome::Other(OtherKind::Fifo)), "{outcome:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_of_procfs_is_never_mistaken_for_an_empty_one() {
        let mut reader = Reader::new(1000, true);
        assert!(matches!(read_from(&mut reader, Path::new("/proc/self"), "status"), ReadOutcome::Contradictory { .. }));
    }

    #[test]
    fn a_process_without_descriptors_says_so() {
        const MARK: &str = "HANDOFF_WATCHER_TEST_NO_DESCRIPTORS";
        if std::env::var_os(MARK).is_none() {
            // The limit holds for the whole process, so it is set in one that runs this test alone.
            let mut child = Command::new(std::env::current_exe().unwrap());
            let name = "read::tests::a_process_without_descriptors_says_so";
            let output = child.args(["--exact", name]).env(MARK, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let mut fixture = Fixture::new();
        fs::write(fixture.path("a.json"), "x").unwrap();
        let directory = Directory::open(fixture.dir.path()).unwrap();
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
        let outcome = fixture.reader.read(&directory, OsStr::new("a.json"));
        let opened = Directory::open(fixture.dir.path());
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(
            matches!(&outcome, ReadOutcome::Exhausted(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error())),
            "{outcome:?}"
        );
        let errno = opened.unwrap_err().io_error().and_then(io::Error::raw_os_error);
        assert_eq!(errno, Some(Errno::MFILE.raw_os_error()));
        expect_bytes(fixture.read("a.json"), b"x");
    }
}
