//! What is not believed unseen, on real files and processes: who may have written a handoff, and whether its process runs.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use handoff_watcher::{
    ErrorKind, HandoffEvent, HandoffIter, HandoffWatcher, HandoffWatcherBuilder, HandoffWatcherConfig, NextError,
    RemovedReason, TrustPolicy,
};

/// For what must come. Far longer than it takes, for a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(20);
/// For what must not come.
const QUIET: Duration = Duration::from_millis(400);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        chmod(place.0.path(), 0o755);
        place
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    /// Renamed into its place, with that mode.
    fn write(&self, name: &str, mode: u32, text: &str) -> PathBuf {
        let (temporary, path) = (self.dir().join("tmp"), self.dir().join(name));
        fs::write(&temporary, text).unwrap();
        chmod(&temporary, mode);
        fs::rename(&temporary, &path).unwrap();
        path
    }

    fn builder(&self) -> HandoffWatcherBuilder {
        let config = HandoffWatcherConfig { runtime_dir: self.dir().into(), poll_interval_ms: 20 };
        HandoffWatcher::builder(config).settle_time(Duration::from_millis(50))
    }

    fn trusting(&self) -> HandoffIter {
        self.builder().trust(TrustPolicy::this_user()).iter().unwrap()
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn handoff(text: &str) -> String {
    format!(r#"{{"pool_id":"p","replica_id":"r0","url":"http://h/{text}"}}"#)
}

fn with_pid(pid: u32) -> String {
    format!(r#"{{"pool_id":"p","replica_id":"r0","url":"http://h/","pid":{pid}}}"#)
}

#[track_caller]
fn next(events: &HandoffIter, name: &str) -> HandoffEvent {
    let event = events.next_timeout(DEADLINE).unwrap_or_else(|error| panic!("{name} does not come: {error:?}"));
    assert_eq!(event.name(), name, "{event:?}");
    event
}

/// The error of the next event, which is of that name.
#[track_caller]
fn refusal(events: &HandoffIter, name: &str, kind: ErrorKind, part: &str) {
    let event = next(events, name);
    let error = event.error().unwrap();
    assert!(error.kind() == kind && error.to_string().contains(part), "{part:?} is not in {error:?}");
}

#[track_caller]
fn nothing(events: &HandoffIter) {
    let event = events.next_timeout(QUIET);
    assert!(matches!(event, Err(NextError::Timeout)), "{event:?}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_file_that_others_may_write_is_refused_until_they_may_not() {
    let place = Place::new();
    let path = place.write("a.json", 0o666, &handoff("1"));
    let events = place.trusting();
    refusal(&events, "invalid", ErrorKind::Untrusted, "a.json: writable by others (mode 0666): expected at most 0644");
    next(&events, "synced");
    chmod(&path, 0o664);
    refusal(&events, "invalid", ErrorKind::Untrusted, "mode 0664");
    chmod(&path, 0o600);
    assert_eq!(next(&events, "ready").payload().unwrap().url, "http://h/1");
    nothing(&events);
}

#[test]
fn what_becomes_untrusted_stays_in_force_as_it_was() {
    let place = Place::new();
    let path = place.write("a.json", 0o644, &handoff("1"));
    let events = place.trusting();
    next(&events, "ready");
    next(&events, "synced");
    chmod(&path, 0o646);
    refusal(&events, "invalid", ErrorKind::Untrusted, "mode 0646");
    fs::write(&path, handoff("2")).unwrap();
    place.write("b.json", 0o622, &handoff("3"));
    refusal(&events, "invalid", ErrorKind::Untrusted, "b.json: writable by others (mode 0622)");
    nothing(&events);
    assert_eq!(events.registry().get("p", "r0").unwrap().url, "http://h/1");
    // What it says is believed when it is nobody else's to write.
    chmod(&path, 0o644);
    assert_eq!(next(&events, "updated").payload().unwrap().url, "http://h/2");
}

#[test]
fn a_directory_that_others_may_write_says_nothing() {
    for mode in [0o777, 0o1777, 0o775] {
        let place = Place::new();
        let path = place.write("a.json", 0o644, &handoff("1"));
        let events = place.trusting();
        next(&events, "ready");
        next(&events, "synced");
        chmod(place.dir(), mode);
        let expected =
            format!("the directory is writable by others (mode {mode:04o}): expected at most {:04o}", mode & !0o022);
        refusal(&events, "unavailable", ErrorKind::Untrusted, &expected);
        fs::remove_file(&path).unwrap();
        place.write("b.json", 0o644, &handoff("2"));
        nothing(&events);
        assert_eq!(events.registry().get("p", "r0").unwrap().url, "http://h/1");
        assert_eq!(events.health().error.unwrap().kind(), ErrorKind::Untrusted);
        chmod(place.dir(), 0o755);
        let told = [(); 2].map(|()| events.next_timeout(DEADLINE).unwrap());
        assert!(told.iter().any(|event| event.name() == "available"), "{told:?}");
        assert!(told.iter().any(|event| event.name() == "updated"), "{told:?}");
        assert_eq!(events.registry().get("p", "r0").unwrap().url, "http://h/2");
    }
}

#[test]
fn of_a_link_the_opened_target_counts() {
    let (place, outside) = (Place::new(), Place::new());
    let target = outside.write("target", 0o666, &handoff("1"));
    symlink(&target, place.dir().join("a.json")).unwrap();
    let events = place.trusting();
    refusal(&events, "invalid", ErrorKind::Untrusted, "mode 0666");
    next(&events, "synced");
    chmod(&target, 0o644);
    next(&events, "ready");
    // The documented limit: the directories above the target are not looked at.
    chmod(outside.dir(), 0o777);
    nothing(&events);
    // Of the watched directory too, what a link leads to counts.
    let link = outside.dir().join("link");
    symlink(place.dir(), &link).unwrap();
    let config = HandoffWatcherConfig { runtime_dir: link, poll_interval_ms: 20 };
    let events = HandoffWatcher::builder(config).trust(TrustPolicy::this_user()).iter().unwrap();
    next(&events, "ready");
}

#[test]
fn owners_are_root_this_user_and_those_that_were_added() {
    if !is_root() {
        support::skip("no file changed its owner: only root can give files away");
        return;
    }
    let place = Place::new();
    let path = place.write("a.json", 0o600, &handoff("1"));
    chown(&path, Some(12345), None).unwrap();
    let events = place.trusting();
    refusal(&events, "invalid", ErrorKind::Untrusted, "owned by uid 12345: expected 0;");
    next(&events, "synced");
    chown(&path, Some(0), None).unwrap();
    next(&events, "ready");
    chown(place.dir(), Some(12345), None).unwrap();
    refusal(&events, "unavailable", ErrorKind::Untrusted, "the directory is owned by uid 12345: expected 0;");
    drop(events);
    chown(&path, Some(12345), None).unwrap();
    let events = place.builder().trust(TrustPolicy::this_user().and_uid(12345)).iter().unwrap();
    next(&events, "ready");
    next(&events, "synced");
}

#[test]
fn without_a_policy_everything_is_believed() {
    let place = Place::new();
    place.write("a.json", 0o666, &handoff("1"));
    chmod(place.dir(), 0o777);
    let events = place.builder().iter().unwrap();
    next(&events, "ready");
    next(&events, "synced");
}

/// An engine; killed when dropped.
struct Engine(Child);

impl Engine {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_engine_that_dies_is_removed_also_while_nobody_reaps_it() {
    let place = Place::new();
    let mut engine = Engine::start();
    let path = place.write("a.json", 0o644, &with_pid(engine.pid()));
    let interval = HandoffWatcherConfig { runtime_dir: place.dir().into(), poll_interval_ms: 1000 };
    let events = HandoffWatcher::builder(interval).check_processes(true).iter().unwrap();
    next(&events, "ready");
    next(&events, "synced");
    nothing(&events);
    engine.0.kill().unwrap();
    let (stat, killed) = (format!("/proc/{}/stat", engine.pid()), Instant::now());
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        assert!(killed.elapsed() < DEADLINE, "it does not die");
    }
    let scans = events.stats().scans;
    let removed = next(&events, "removed");
    // One that was under way, and the next: it is told within one interval.
    let scans = events.stats().scans - scans;
    assert!(matches!(removed, HandoffEvent::Removed { reason: RemovedReason::ProcessExited, .. }), "{removed:?}");
    assert!(scans <= 2, "told by the {scans}th scan");
    refusal(&events, "invalid", ErrorKind::Stale, "has exited: expected a running engine; remove the file");
    assert!(events.registry().is_empty());
    engine.0.wait().unwrap();
    nothing(&events);
    // It comes back.
    let engine = Engine::start();
    place.write("a.json", 0o644, &with_pid(engine.pid()));
    next(&events, "ready");
    fs::remove_file(path).unwrap();
    let removed = next(&events, "removed");
    assert!(matches!(removed, HandoffEvent::Removed { reason: RemovedReason::FileRemoved, .. }), "{removed:?}");
}

#[test]
fn leftovers_are_not_ready_and_say_why() {
    let engine = Engine::start();
    let mut dead = Engine::start();
    dead.0.kill().unwrap();
    dead.0.wait().unwrap();
    for (pid, age, part) in [
        (dead.pid(), 0, "does not run: expected a running engine"),
        (engine.pid(), 60, "s after this was written, so it is another one"),
        (engine.pid(), 100 * 365 * 86400, "written before this machine started"),
        (u32::MAX, 0, "process 4294967295 does not run"),
    ] {
        let place = Place::new();
        let path = place.write("a.json", 0o644, &with_pid(pid));
        let file = fs::File::options().write(true).open(&path).unwrap();
        let time = std::time::SystemTime::now() - Duration::from_secs(age.min(50 * 365 * 86400));
        // Both: a FUSE file system may take no notice of one alone.
        file.set_times(fs::FileTimes::new().set_accessed(time).set_modified(time)).unwrap();
        let events = place.builder().check_processes(true).iter().unwrap();
        refusal(&events, "invalid", ErrorKind::Stale, part);
        next(&events, "synced");
        assert!(events.registry().is_empty());
        drop(events);
        let events = place.builder().iter().unwrap();
        next(&events, "ready");
    }
}

#[test]
fn a_process_that_started_long_before_its_handoff_is_its_engine() {
    let place = Place::new();
    place.write("a.json", 0o644, &with_pid(std::process::id()));
    place.write("b.json", 0o644, &with_pid(1).replace("r0", "r1"));
    let events = place.builder().check_processes(true).iter().unwrap();
    next(&events, "ready");
    next(&events, "ready");
    next(&events, "synced");
    nothing(&events);
}
