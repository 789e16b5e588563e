//! Instant mode against real directories. The interval is an hour where only a notification may be the cause of an event.
#![allow(clippy::unwrap_used)]
#![cfg(all(feature = "inotify", target_os = "linux"))]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use handoff_watcher::{HandoffEvent, HandoffIter, HandoffWatcher, HandoffWatcherConfig, NextError, ScanMode};

const HOUR_MS: u64 = 3_600_000;
/// What takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Fixture {
    root: tempfile::TempDir,
    dir: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("engines");
        fs::create_dir(&dir).unwrap();
        Self { root, dir }
    }

    fn watch(&self, poll_interval_ms: u64) -> HandoffIter {
        let config = HandoffWatcherConfig { runtime_dir: self.dir.clone(), poll_interval_ms };
        HandoffWatcher::builder(config).instant(true).iter().unwrap()
    }

    fn publish(&self, replica: &str, port: u32) {
        publish(&self.dir, replica, port);
    }
}

/// As a producer does: a temporary file, renamed.
fn publish(dir: &Path, replica: &str, port: u32) {
    let temporary = dir.join(format!(".{replica}.tmp"));
    let text = format!(r#"{{"pool_id":"pool-0","replica_id":"{replica}","url":"http://localhost:{port}"}}"#);
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, dir.join(format!("{replica}.json"))).unwrap();
}

/// The next event of that name; all before it are dropped.
fn expect(events: &HandoffIter, name: &str) -> HandoffEvent {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match events.next_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) if event.name() == name => return event,
            Ok(_) => {}
            Err(error) => panic!("no {name:?}: {error}; {:?}", events.health()),
        }
    }
}

fn until(events: &HandoffIter, what: &str, is_met: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_met() {
        assert!(Instant::now() < deadline, "never {what}: {:?} {:?}", events.health(), events.stats());
        // What is waited for happens on another thread; an event may be on its way meanwhile.
        std::thread::yield_now();
    }
}

#[test]
fn every_change_is_told_without_a_poll() {
    let fixture = Fixture::new();
    fixture.publish("r0", 1);
    let events = fixture.watch(HOUR_MS);
    expect(&events, "synced");
    let health = events.health();
    assert_eq!((health.mode, health.mode_error), (ScanMode::Instant, None));
    fixture.publish("r1", 1);
    assert_eq!(expect(&events, "ready").replica_id(), Some("r1"));
    fixture.publish("r0", 2);
    assert_eq!(expect(&events, "updated").payload().unwrap().url, "http://localhost:2");
    // Not through a temporary file, and not by a rename.
    let text = r#"{"pool_id":"pool-0","replica_id":"r2","url":"http://localhost:1"}"#;
    fs::write(fixture.dir.join("r2.json"), text).unwrap();
    assert_eq!(expect(&events, "ready").replica_id(), Some("r2"));
    fs::rename(fixture.dir.join("r2.json"), fixture.dir.join("moved.json")).unwrap();
    assert!(expect(&events, "updated").file().unwrap().ends_with("moved.json"));
    fs::remove_file(fixture.dir.join("r0.json")).unwrap();
    assert_eq!(expect(&events, "removed").replica_id(), Some("r0"));
    fs::hard_link(fixture.dir.join("r1.json"), fixture.root.path().join("link")).unwrap();
    fs::remove_file(fixture.dir.join("r1.json")).unwrap();
    assert_eq!(expect(&events, "removed").replica_id(), Some("r1"));
    symlink(fixture.root.path().join("link"), fixture.dir.join("r1.json")).unwrap();
    assert_eq!(expect(&events, "ready").replica_id(), Some("r1"));
}

#[test]
fn rescan_and_stop_do_not_wait_for_a_notification() {
    let fixture = Fixture::new();
    let events = fixture.watch(HOUR_MS);
    expect(&events, "synced");
    let before = events.stats().scans;
    events.rescan().unwrap();
    assert!(events.stats().scans > before);
    let began = Instant::now();
    drop(events);
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}

#[test]
fn a_fifo_harms_nothing() {
    let fixture = Fixture::new();
    let fifo = fixture.dir.join("fifo.json");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let events = fixture.watch(HOUR_MS);
    assert_eq!(expect(&events, "invalid").file(), Some(&*fifo));
    fixture.publish("r0", 1);
    expect(&events, "ready");
    assert!(events.health().is_ok());
}

#[test]
fn a_directory_that_comes_and_goes_is_followed() {
    let fixture = Fixture::new();
    fs::remove_dir(&fixture.dir).unwrap();
    let events = fixture.watch(20);
    expect(&events, "unavailable");
    until(&events, "polling", || events.health().mode_error.is_some());
    assert_eq!(events.health().mode, ScanMode::Polling);
    for port in [1, 2, 3] {
        fs::create_dir(&fixture.dir).unwrap();
        expect(&events, "available");
        until(&events, "instant", || events.health().mode == ScanMode::Instant);
        fixture.publish("r0", port);
        expect(&events, "ready");
        fs::remove_dir_all(&fixture.dir).unwrap();
        expect(&events, "unavailable");
        // Nothing was removed as far as anyone can tell; in the new directory there is no such file any more.
        fs::create_dir(&fixture.dir).unwrap();
        expect(&events, "removed");
        fs::remove_dir(&fixture.dir).unwrap();
        expect(&events, "unavailable");
    }
}

#[test]
fn a_link_that_is_flipped_is_followed_from_the_next_poll_on() {
    let fixture = Fixture::new();
    let (data, next) = (fixture.root.path().join("data"), fixture.root.path().join("next"));
    for dir in [&data, &next] {
        fs::create_dir(dir).unwrap();
    }
    fs::remove_dir(&fixture.dir).unwrap();
    symlink(&data, &fixture.dir).unwrap();
    let events = fixture.watch(HOUR_MS);
    expect(&events, "synced");
    publish(&data, "r0", 1);
    expect(&events, "ready");
    symlink(&next, fixture.root.path().join("flip")).unwrap();
    fs::rename(fixture.root.path().join("flip"), &fixture.dir).unwrap();
    events.rescan().unwrap();
    expect(&events, "removed");
    publish(&next, "r1", 1);
    assert_eq!(expect(&events, "ready").replica_id(), Some("r1"));
    // The old one is not listened to any more.
    publish(&data, "r2", 1);
    assert_eq!(events.next_timeout(Duration::from_millis(50)), Err(NextError::Timeout));
}

/// Within a tick of the file system's clock `stat` cannot tell a rename from a write; the kernel's notification can.
#[test]
fn what_was_renamed_within_a_tick_is_told_at_once() {
    let fixture = Fixture::new();
    let events = fixture.watch(HOUR_MS);
    expect(&events, "synced");
    let temporary = fixture.dir.join(".tmp");
    let mut path = fixture.dir.join("a.json");
    let mut n = 0;
    let mut fastest = |rename: bool, another: bool| {
        let tells = (0..25).map(|_| {
            n += 1;
            let text = format!(r#"{{"pool_id":"p","replica_id":"r0","url":"http://h/{n:04}"}}"#);
            fs::write(if rename { &temporary } else { &path }, text).unwrap();
            if another {
                fs::remove_file(&path).unwrap();
                path = fixture.dir.join(format!("{n}.json"));
            }
            if rename {
                fs::rename(&temporary, &path).unwrap();
            }
            let written = Instant::now();
            expect(&events, if n == 1 { "ready" } else { "updated" });
            written.elapsed()
        });
        tells.min().unwrap()
    };
    let (renamed, in_place, to_another) = (fastest(true, false), fastest(false, false), fastest(true, true));
    assert!(renamed < in_place / 2, "renamed {renamed:?}, written in place {in_place:?}");
    assert!(to_another < in_place / 2, "renamed to another name {to_another:?}, written in place {in_place:?}");
}

#[test]
fn a_storm_costs_a_scan_in_five_milliseconds_at_most() {
    let fixture = Fixture::new();
    let events = fixture.watch(HOUR_MS);
    expect(&events, "synced");
    let before = events.stats().scans;
    let began = Instant::now();
    for port in 1..=3000 {
        fixture.publish("r0", port);
    }
    let most = began.elapsed().as_millis() as u64 / 5 + 2;
    let scans = events.stats().scans - before;
    assert!((1..=most).contains(&scans), "{scans} scans, {most} at most");
    until(&events, "told the last", || {
        let _ = events.try_next();
        events.registry().get("pool-0", "r0").is_some_and(|it| it.url == "http://localhost:3000")
    });
}

#[test]
fn without_being_asked_for_it_is_polling() {
    let fixture = Fixture::new();
    let config = HandoffWatcherConfig { runtime_dir: fixture.dir.clone(), poll_interval_ms: HOUR_MS };
    let events = HandoffWatcher::iter(config).unwrap();
    expect(&events, "synced");
    let health = events.health();
    assert_eq!((health.mode, health.mode_error), (ScanMode::Polling, None));
    assert_eq!(serde_json::to_value(events.health()).unwrap()["mode"], "polling");
}
