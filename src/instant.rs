//! [fs] Instant mode: the kernel's notification (inotify) that a scan would find something now.
//!
//! It wakes the scanning thread: what changed is found by the same scan as at every poll. So a notification that is lost or
//! late costs time, never truth.
//!
//! It says one thing else, which `stat` cannot say: a file was *moved* to its name, and nobody has opened it since. Such a
//! file is whole, and need not be looked at twice before it is believed. That nobody has written to it would not do: a
//! write is notified when it is done, and one that is under way may have been interrupted half-way. What begins after the
//! question shows in the stamp, where that tells any two changes apart, or once the clock has ticked. Who moves a
//! file and still writes to it is not found out that way.
//!
//! Watched is the inode that the round has open, asked for anew at each round: the kernel gives the same watch for the
//! same inode. So a directory that was replaced, recreated or mounted over is followed from the next round on. One that
//! is not there has no inode: that it appears is found by the polls.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::{Errno, read, write};
use rustix::time::{ClockId, clock_getres};

use crate::directory::{Directory, Stamps, ticks};
use crate::listing::{Moment, is_handoff_name};

/// Of more than these it is not remembered that they were moved; they are believed a moment later.
const MOST_MOVED: usize = 1024;
/// How long nothing is heard after notifications that were of no use, once there were many: a file beside the handoffs that
/// is written all the time, such as a log, must not keep a processor busy.
const REST: Duration = Duration::from_millis(1);
/// So many of no use are heard without a rest, and one more for each time of a rest that goes by: whoever renames a file
/// has made, opened, written and closed it just before, and should not have to wait for that.
const PATIENCE: u32 = 32;
/// After so many files were asked for, what was heard meanwhile is taken: each of them is opened, and the kernel's queue has
/// an end.
const MOST_UNHEARD: u32 = 1024;
/// Of more than these at once the rest is left for later: whoever makes them faster than they are heard must not keep the
/// thread from its scans.
const MOST_HEARD: u32 = 65_536;

/// The doorbell, and what is waited for together with it. Nothing is watched yet.
///
/// # Errors
/// EMFILE, ENFILE or ENOMEM.
pub(crate) fn open() -> Result<(Doorbell, Notices), Errno> {
    let doorbell = Doorbell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    Ok((doorbell, Notices::default()))
}

/// A bell that poll(2) hears.
#[derive(Debug)]
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    pub(crate) fn ring(&self) {
        // It fails only when it has been rung 2^64 - 1 times and not been heard.
        let _ = write(&self.0, &1u64.to_ne_bytes());
    }

    fn hush(&self) {
        // There may be nothing to hush.
        let _ = read(&self.0, &mut [0; 8]);
    }
}

/// The notifications for one directory.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    inotify: Option<OwnedFd>,
    watch: Option<i32>,
    stamps: Stamps,
    /// The handoffs that were moved to their names and not opened since; [`MOST_MOVED`] at most.
    moved: BTreeSet<OsString>,
    /// How many files were asked for since all was heard.
    unheard: u32,
    /// Something was heard, and not while it was waited for.
    matters: bool,
    useless: Useless,
}

/// How many notifications of no use were heard lately.
#[derive(Debug, Default)]
struct Useless {
    count: u32,
    /// Up to when time has been taken off the count.
    until: Option<Instant>,
}

impl Useless {
    /// Another one; gives the end of the rest that it asks for.
    fn rest(&mut self, now: Instant) -> Option<Instant> {
        let passed = self.until.map_or(Duration::MAX, |until| now.saturating_duration_since(until));
        let forgiven = u32::try_from(passed.as_nanos() / REST.as_nanos()).unwrap_or(u32::MAX);
        if forgiven > 0 {
            self.count = self.count.saturating_sub(forgiven);
            self.until = Some(now);
        }
        self.count = (self.count + 1).min(PATIENCE);
        (self.count == PATIENCE).then(|| now + REST)
    }
}

impl Notices {
    /// Watches this directory, and no longer another; forgets what was notified so far.
    ///
    /// # Errors
    /// EMFILE or ENFILE where there are too many instances or descriptors, ENOSPC where there are too many watches.
    pub(crate) fn listen_to(&mut self, directory: &Directory) -> Result<(), Errno> {
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        };
        let inotify = self.inotify.insert(inotify);
        self.watch = {
            // A file that is being created shows when it is closed, a link at once.
            let flags = WatchFlags::CREATE
                | WatchFlags::OPEN
                | WatchFlags::MODIFY
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVE
                | WatchFlags::DELETE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            // By its path it might be another one by now.
            let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
            let watch = inotify::add_watch(&*inotify, path, flags)?;
            if self.watch != Some(watch) {
                self.stamps = directory.stamps();
                self.moved.clear();
                if let Some(before) = self.watch {
                    // It may be gone already, with its directory.
                    let _ = inotify::remove_watch(&*inotify, before);
                }
            }
            Some(watch)
        };
        // The scan that follows sees what it is about.
        self.hear();
        self.matters = false;
        Ok(())
    }

    /// To be asked before a file is opened: whether it was moved to its name, and has not been opened since. If so, every
    /// write that begins from now on gives it another stamp, if the one it has now has a ctime before this.
    pub(crate) fn moved(&mut self, name: &OsStr) -> Option<Moment> {
        self.unheard += 1;
        if self.unheard > MOST_UNHEARD {
            self.hear();
        }
        if !self.moved.contains(name) {
            return None;
        }
        let now = match self.stamps {
            Stamps::TellApart => Moment::LAST,
            Stamps::Tick => ticks(),
            Stamps::Unknown => return None,
        };
        self.hear();
        self.moved.remove(name).then_some(now)
    }

    /// How long after a notification to look, so that a write which begins then shows.
    pub(crate) fn patience(&self) -> Duration {
        if self.stamps == Stamps::Tick { tick() } else { Duration::ZERO }
    }

    /// Waits for the bell, the time, or a notification; true if that was it.
    pub(crate) fn wait(&mut self, doorbell: &Doorbell, deadline: Instant, listens: bool) -> bool {
        if listens {
            // Of what was read just now, too: it is not worth a rest.
            self.hear();
            if std::mem::take(&mut self.matters) {
                return true;
            }
        }
        let mut rests_until: Option<Instant> = None;
        loop {
            let mut descriptors = [PollFd::new(&doorbell.0, PollFlags::IN), PollFd::new(&doorbell.0, PollFlags::IN)];
            let mut count = 1;
            let now = Instant::now();
            let rests = rests_until.filter(|until| *until > now);
            if let Some(inotify) = &self.inotify
                && listens
                && rests.is_none()
            {
                descriptors[1] = PollFd::new(inotify, PollFlags::IN);
                count = 2;
            }
            let left = rests.map_or(deadline, |until| until.min(deadline)).saturating_duration_since(now);
            let timeout = Timespec::try_from(left).ok();
            let woken = poll(&mut descriptors[..count], timeout.as_ref());
            let [bell, notice] = descriptors.map(|descriptor| !descriptor.revents().is_empty());
            match woken {
                Err(Errno::INTR) => continue,
                // Nothing is known to lead here but a lack of memory: wait without the kernel's help.
                Err(_) => {
                    std::thread::sleep(left.min(Duration::from_millis(10)));
                    return false;
                }
                Ok(0) if rests.is_some_and(|until| until < deadline) => continue,
                Ok(0) => return false,
                Ok(_) => {}
            }
            if bell {
                doorbell.hush();
                return false;
            }
            if notice {
                self.hear();
                if std::mem::take(&mut self.matters) {
                    return true;
                }
                rests_until = self.useless.rest(Instant::now());
            }
        }
    }

    /// Takes all notifications that wait.
    fn hear(&mut self) {
        self.unheard = 0;
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify, &mut buffer);
        for _ in 0..MOST_HEARD {
            let Ok(event) = reader.next() else { return };
            let kind = event.events();
            if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.matters = true;
                self.moved.clear();
            }
            if Some(event.wd()) != self.watch {
                continue;
            }
            // Neither says that something is whole. A file that was opened to be written is closed, or the polls find it.
            let matters = !kind.intersects(ReadFlags::OPEN | ReadFlags::MODIFY);
            // Without a name it is about the directory: it was opened, moved or removed, or is no longer watched.
            let Some(name) = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes())) else {
                self.matters |= matters;
                continue;
            };
            if !is_handoff_name(name) {
                continue;
            }
            self.matters |= matters;
            if kind != ReadFlags::MOVED_TO {
                self.moved.remove(name);
            } else if self.moved.len() < MOST_MOVED {
                self.moved.insert(name.to_owned());
            }
        }
        self.moved.clear();
        self.matters = true;
    }
}

/// The time between two ticks, and a little.
fn tick() -> Duration {
    let resolution = clock_getres(ClockId::RealtimeCoarse);
    Duration::try_from(resolution).unwrap_or_default() + Duration::from_micros(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    use crate::listing::Seen;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// Far away: nothing here waits for it.
    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn only_what_can_be_a_handoff_matters() {
        let dir = tempfile::tempdir().unwrap();
        let (doorbell, mut notices) = open().unwrap();
        notices.listen_to(&Directory::open(dir.path()).unwrap()).unwrap();
        for name in [".a.json.tmp", "a.json.bak", "a.txt"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        assert!(!notices.wait(&doorbell, Instant::now(), true));
        fs::rename(dir.path().join(".a.json.tmp"), dir.path().join("a.json")).unwrap();
        assert!(!notices.wait(&doorbell, Instant::now(), false));
        assert!(notices.wait(&doorbell, later(), true));
        assert!(!notices.wait(&doorbell, Instant::now(), true));
        fs::remove_file(dir.path().join("a.json")).unwrap();
        assert!(notices.wait(&doorbell, later(), true));
    }

    #[test]
    fn a_file_that_was_moved_and_not_opened_since_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (doorbell, mut notices) = open().unwrap();
        notices.listen_to(&Directory::open(dir.path()).unwrap()).unwrap();
        let (temporary, path, name) = (dir.path().join("tmp"), dir.path().join("a.json"), OsStr::new("a.json"));
        let put = || {
            fs::write(&temporary, "x").unwrap();
            fs::rename(&temporary, &path).unwrap();
        };
        fs::write(&path, "x").unwrap();
        assert!(notices.wait(&doorbell, later(), true) && notices.moved(name).is_none());
        put();
        assert!(notices.wait(&doorbell, later(), true) && notices.moved(name).is_some());
        assert!(notices.moved(name).is_none(), "said once");
        // Written to after the move, before and after it was heard of.
        put();
        fs::write(&path, "y").unwrap();
        assert!(notices.wait(&doorbell, later(), true) && notices.moved(name).is_none());
        put();
        assert!(notices.wait(&doorbell, later(), true));
        let file = fs::File::options().append(true).open(&path).unwrap();
        assert!(notices.moved(name).is_none(), "a write may be under way");
        std::io::Write::write_all(&mut &file, b"y").unwrap();
        // Opening and writing wake nobody, and other files do not either.
        assert!(!notices.wait(&doorbell, Instant::now() + Duration::from_millis(5), true));
        drop(file);
        assert!(notices.wait(&doorbell, later(), true));
        // What is heard while it is not waited for is not lost.
        put();
        assert!(notices.wait(&doorbell, later(), true));
        fs::write(dir.path().join("b.json"), "x").unwrap();
        assert!(notices.moved(name).is_some());
        assert!(notices.wait(&doorbell, later(), true));
    }

    /// The kernel notifies a write when it is done: while it is under way nothing tells of it but that the file was opened.
    #[test]
    fn regression_a_write_that_is_under_way_is_thought_of() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let (temporary, path, name) = (dir.path().join("tmp"), dir.path().join("a.json"), OsStr::new("a.json"));
        let (_, mut notices) = open().unwrap();
        assert_ne!(directory.stamps(), Stamps::Unknown, "of the directory of temporary files");
        for stamps in [Stamps::TellApart, Stamps::Tick] {
            notices.listen_to(&directory).unwrap();
            notices.stamps = stamps;
            fs::write(&temporary, "x").unwrap();
            fs::rename(&temporary, &path).unwrap();
            notices.hear();
            let Seen::File(stamp) = directory.look_at(name, true).unwrap() else { panic!("a file") };
            while stamps == Stamps::Tick && ticks() <= stamp.ctime {
                std::thread::sleep(notices.patience());
            }
            // This is where the question is asked; what begins after it shows.
            let before = notices.moved(name).unwrap();
            assert!(stamp.ctime < before && directory.has_alone(name, stamp));
            if stamps == Stamps::TellApart && directory.stamps() != stamps {
                continue;
            }
            fs::OpenOptions::new().append(true).open(&path).unwrap().set_len(1).unwrap();
            assert!(!directory.has_alone(name, stamp), "{stamps:?}");
        }
        fs::hard_link(&path, dir.path().join("second")).unwrap();
        std::os::unix::fs::symlink(&path, dir.path().join("link.json")).unwrap();
        for name in ["a.json", "link.json"] {
            let Seen::File(stamp) = directory.look_at(OsStr::new(name), true).unwrap() else { panic!("a file") };
            assert!(!directory.has_alone(OsStr::new(name), stamp), "{name} can be opened elsewhere");
        }
    }

    #[test]
    fn only_many_notifications_of_no_use_ask_for_a_rest() {
        let (mut useless, mut now) = (Useless::default(), later());
        // A producer that publishes five hundred times a second.
        for _ in 0..10_000 {
            now += Duration::from_millis(2);
            assert_eq!(useless.rest(now), None);
            assert_eq!(useless.rest(now + REST / 2), None);
        }
        // A log that is written all the time: nearly all of it is rest.
        let (begin, mut heard) = (now, 0);
        while now < begin + Duration::from_secs(1) {
            heard += 1;
            now = useless.rest(now).unwrap_or(now + Duration::from_micros(5));
        }
        assert!((990..=1010 + PATIENCE).contains(&heard), "{heard} in a second");
        now += Duration::from_secs(1);
        assert_eq!(useless.rest(now), None);
    }

    /// Its own reading must neither wake it nor fill the kernel's queue.
    #[test]
    fn what_is_read_wakes_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let names = ["a.json", "b.json"].map(|name| dir.path().join(name));
        names.iter().for_each(|path| fs::write(path, "x").unwrap());
        let (doorbell, mut notices) = open().unwrap();
        notices.listen_to(&directory).unwrap();
        for turn in 0..limit.trim().parse::<usize>().unwrap().min(50_000) + 10 {
            assert!(notices.moved(OsStr::new("a.json")).is_none());
            drop(fs::File::open(&names[turn % 2]).unwrap());
        }
        drop(Directory::open(dir.path()).unwrap());
        assert!(!notices.wait(&doorbell, Instant::now(), true));
    }

    #[test]
    fn the_bell_ends_the_wait() {
        let dir = tempfile::tempdir().unwrap();
        let (doorbell, mut notices) = open().unwrap();
        doorbell.ring();
        doorbell.ring();
        assert!(!notices.wait(&doorbell, later(), true));
        notices.listen_to(&Directory::open(dir.path()).unwrap()).unwrap();
        doorbell.ring();
        assert!(!notices.wait(&doorbell, later(), true));
    }

    #[test]
    fn the_directory_that_was_named_last_is_the_one_that_is_heard() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (doorbell, mut notices) = open().unwrap();
        for dir in [&first, &second, &second] {
            notices.listen_to(&Directory::open(dir.path()).unwrap()).unwrap();
        }
        fs::write(first.path().join("a.json"), "x").unwrap();
        assert!(!notices.wait(&doorbell, Instant::now(), true));
        fs::write(second.path().join("a.json"), "x").unwrap();
        assert!(notices.wait(&doorbell, later(), true));
        // What was notified before is of no interest once it is listened to anew.
        fs::write(second.path().join("a.json"), "x").unwrap();
        notices.listen_to(&Directory::open(second.path()).unwrap()).unwrap();
        assert!(!notices.wait(&doorbell, Instant::now(), true));
        fs::remove_dir_all(second.path()).unwrap();
        assert!(notices.wait(&doorbell, later(), true));
    }

    #[test]
    fn a_storm_that_overflows_the_queue_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (doorbell, mut notices) = open().unwrap();
        notices.listen_to(&Directory::open(dir.path()).unwrap()).unwrap();
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        // Each a creation and a closing; none of a handoff.
        for i in 0..limit.trim().parse::<u32>().unwrap().min(100_000) / 2 + 1 {
            fs::write(dir.path().join(i.to_string()), "").unwrap();
        }
        assert!(notices.wait(&doorbell, later(), true));
    }

    #[test]
    fn without_descriptors_it_says_so_and_succeeds_later() {
        const MARK: &str = "HANDOFF_WATCHER_TEST_NO_INOTIFY";
        if std::env::var_os(MARK).is_none() {
            // The limit holds for the whole process, so it is set in one that runs this test alone.
            let mut child = Command::new(std::env::current_exe().unwrap());
            let name = "instant::tests::without_descriptors_it_says_so_and_succeeds_later";
            let output = child.args(["--exact", name]).env(MARK, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let (doorbell, mut notices) = open().unwrap();
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
        let refused = notices.listen_to(&directory);
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!(refused, Err(Errno::MFILE));
        assert!(!notices.wait(&doorbell, Instant::now(), true));
        assert_eq!(notices.listen_to(&directory), Ok(()));
    }
}
