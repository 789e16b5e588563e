//! Files as messages, on real directories: producers that overwrite one fixed file, and files that go when they are taken.

#![allow(clippy::unwrap_used)]

mod common;
mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use handoff_watcher::{
    HandoffEvent, HandoffWatcherBuilder, HandoffWatcherConfig, Mode, StopHandle, TrustPolicy, WatcherHandle,
};
use parking_lot::Mutex;

use common::{DEADLINE, INTERVAL_MS, Place, builder, doc, lines, replace, until, write};
use support::bound_by_permissions;

fn announcements(dir: &Path, consume: bool) -> HandoffWatcherBuilder {
    builder(dir, INTERVAL_MS).settle_time(Duration::from_millis(100)).mode(Mode::Announcements { consume })
}

/// What it was told, in few words.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn start(&self, builder: HandoffWatcherBuilder) -> WatcherHandle {
        let heard = self.clone();
        let watcher = builder.on_event(move |event| {
            heard.0.lock().push(common::short(&event));
            Ok(())
        });
        watcher.try_spawn().unwrap()
    }

    fn has(&self, event: &str) {
        until(&format!("{event} in {:?}", self.0.lock()), || self.0.lock().iter().any(|heard| heard == event));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_replica_stays_ready_when_its_file_moves_on_or_goes() {
    let place = Place::new();
    let heard = Heard::default();
    let handle = heard.start(announcements(place.path(), false));
    let file = place.join("handoff.json");
    for (n, replica) in ["r0", "r1", "r2"].into_iter().enumerate() {
        // Renamed into place, and written in place.
        if n % 2 == 0 {
            replace(&file, doc(replica, "x"))
        } else {
            write(&file, doc(replica, "x"))
        }
        heard.has(&format!("ready {replica} x"));
    }
    fs::remove_file(&file).unwrap();
    let scans = handle.stats().scans;
    until("further polls", || handle.stats().scans > scans + 5 && handle.stats().files == 0);
    let ready: Vec<_> = handle.registry().list().into_iter().map(|payload| payload.replica_id).collect();
    assert_eq!(ready, ["r0", "r1", "r2"]);
    write(&file, doc("r1", "x").replace('}', r#","ready":false}"#));
    heard.has("removed r1 not_ready");
    let heard = heard.take();
    assert_eq!(heard.iter().filter(|event| event.starts_with("removed")).count(), 1, "{heard:?}");
    handle.stop();
}

/// A producer that waits until its message was taken, as those do that expect it to go, and overwrites one file.
#[test]
fn a_file_goes_when_the_host_has_taken_it_and_not_before() {
    let place = Place::new();
    let file = place.join("handoff.json");
    let tries = Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    let seen = file.clone();
    let watcher = announcements(place.path(), true).on_event(move |event| {
        if event.payload().is_some() {
            // Not yet taken, so it is there; and it is refused twice.
            assert!(seen.exists());
            if counted.fetch_add(1, Ordering::SeqCst) < 2 {
                return Err("not now".into());
            }
        }
        Ok(())
    });
    let handle = watcher.try_spawn().unwrap();
    for n in 0..5 {
        replace(&file, doc(&format!("r{n}"), "x"));
        until("it is taken", || !file.exists());
    }
    assert_eq!(tries.load(Ordering::SeqCst), 7);
    assert_eq!(handle.registry().len(), 5);
    handle.stop();
}

/// Producers that never wait: each message that had a name of its own, and the last one of each shared name, is told.
#[test]
fn no_message_is_deleted_that_was_not_taken() {
    const WRITERS: usize = 3;
    const MESSAGES: usize = 200;
    let place = Place::new();
    let taken = Arc::new(Mutex::new(BTreeSet::new()));
    let takes = taken.clone();
    let mut turn = 0u32;
    let turn = Mutex::new(move || {
        turn += 1;
        turn
    });
    let watcher = announcements(place.path(), true).on_event(move |event| {
        if (turn.lock())().is_multiple_of(7) {
            return Err("every seventh is refused at first".into());
        }
        if let HandoffEvent::Ready { payload, .. } | HandoffEvent::Updated { payload, .. } = event {
            takes.lock().insert(payload.replica_id);
        }
        Ok(())
    });
    let handle = watcher.try_spawn().unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let dir = place.path();
            scope.spawn(move || {
                let (temporary, shared) = (dir.join(format!("{writer}.tmp")), dir.join("shared.json"));
                for n in 0..MESSAGES {
                    fs::write(&temporary, doc(&format!("own-{writer}-{n}"), "x")).unwrap();
                    fs::rename(&temporary, dir.join(format!("own-{writer}-{n}.json"))).unwrap();
                    fs::write(&temporary, doc(&format!("shared-{writer}-{n}"), "x")).unwrap();
                    fs::rename(&temporary, &shared).unwrap();
                    if n % 20 == 0 {
                        thread::yield_now();
                    }
                }
                fs::write(&temporary, doc(&format!("last-{writer}"), "x")).unwrap();
                fs::rename(&temporary, dir.join(format!("last-{writer}.json"))).unwrap();
            });
        }
    });
    until("all was taken", || files(place.path()).is_empty());
    let taken = taken.lock();
    for writer in 0..WRITERS {
        assert!(taken.contains(&format!("last-{writer}")));
        for n in 0..MESSAGES {
            assert!(taken.contains(&format!("own-{writer}-{n}")), "own-{writer}-{n} was deleted and not told");
        }
    }
    handle.stop();
}

#[test]
fn what_an_earlier_host_was_about_to_delete_is_told() {
    let place = Place::new();
    write(place.join(".handoff-1-2-3.taken"), doc("r0", "x"));
    let heard = Heard::default();
    let handle = heard.start(announcements(place.path(), true));
    heard.has("ready r0 x");
    until("it is taken", || files(place.path()).is_empty());
    handle.stop();
}

/// The host took it, and stopped at once: the next one was told it again.
#[test]
fn regression_what_was_taken_before_a_stop_is_deleted() {
    let place = Place::new();
    for n in 0..20 {
        let path = place.join("a.json");
        write(&path, doc("r0", &format!("v{n}")));
        let events = announcements(place.path(), true).iter().unwrap();
        assert_eq!(events.next_timeout(DEADLINE).unwrap().name(), "ready");
        drop(events);
        assert_eq!(files(place.path()), [""; 0]);
    }
}

/// The callback was under way when the watcher was stopped, and took it.
#[test]
fn regression_what_a_callback_takes_during_a_stop_is_deleted() {
    for from_inside in [false, true] {
        let place = Place::new();
        write(place.join("a.json"), doc("r0", "x"));
        let (entered, enters) = mpsc::sync_channel(1);
        let stop = Arc::new(OnceLock::<StopHandle>::new());
        let stops = stop.clone();
        let watcher = announcements(place.path(), true).on_event(move |event| {
            if event.name() == "ready" {
                entered.send(()).unwrap();
                let stop = stops.wait();
                if from_inside {
                    stop.stop();
                }
                until("stopped", || stop.is_stopped());
                // Longer than the scanning thread needs to end.
                let since = Instant::now();
                until("a while", || since.elapsed() > Duration::from_millis(50));
            }
            Ok(())
        });
        let handle = watcher.try_spawn().unwrap();
        enters.recv_timeout(DEADLINE).unwrap();
        let _ = stop.set(handle.stop_handle());
        if from_inside {
            until("stopped", || handle.stop_handle().is_stopped());
        }
        handle.stop();
        assert_eq!(files(place.path()), [""; 0]);
    }
}

/// What an earlier host left is back under a name of its own, and older than what has come since.
#[test]
fn regression_what_is_back_is_not_told_after_what_is_newer() {
    let hidden = ".handoff-71-18c3f2a5b6d7e8f9-3.taken";
    let leave = |place: &Place| {
        write(place.join(hidden), doc("r0", "older"));
        let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(place.join(hidden)).unwrap().set_modified(an_hour_ago).unwrap();
        replace(place.join("a.json"), doc("r0", "newer"));
    };
    let newer_is_last = |handle: &WatcherHandle, heard: &Heard| {
        let scans = handle.stats().scans;
        until("further polls", || handle.stats().scans > scans + 5);
        let heard = heard.take();
        // The older one may come again first, while the newer one is not believed yet.
        let last = heard.iter().rfind(|event| event.contains(" r0 "));
        assert!(last.is_some_and(|last| last.ends_with("newer")), "{heard:?}");
    };
    let place = Place::new();
    leave(&place);
    let heard = Heard::default();
    let handle = heard.start(announcements(place.path(), true));
    until("both are taken", || files(place.path()).is_empty());
    newer_is_last(&handle, &heard);
    handle.stop();
    // Where it can only come back later.
    bound_by_permissions(|| {
        let place = Place::new();
        leave(&place);
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let heard = Heard::default();
        let handle = heard.start(announcements(place.path(), true));
        heard.has("synced");
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        until("both are taken", || files(place.path()).is_empty());
        newer_is_last(&handle, &heard);
        handle.stop();
    });
}

/// As when a file system is mounted over an empty directory after the start.
#[test]
fn regression_what_an_earlier_host_left_is_told_of_each_directory_that_comes() {
    let place = Place::new();
    let (dir, other) = (place.dir("engines"), place.dir("other"));
    write(other.join(".handoff-1-2-3.taken"), doc("r0", "x"));
    let heard = Heard::default();
    let handle = heard.start(announcements(&dir, true));
    heard.has("synced");
    fs::rename(&dir, place.join("away")).unwrap();
    fs::rename(&other, &dir).unwrap();
    heard.has("ready r0 x");
    until("it is taken", || files(&dir).is_empty());
    handle.stop();
}

/// The link was deleted, and what came behind it was never told.
#[test]
fn regression_a_link_stays_and_what_comes_behind_it_is_told() {
    lines::keep();
    let place = Place::new();
    let (dir, target) = (place.dir("engines"), place.join("current"));
    write(&target, doc("r0", "v1"));
    symlink(&target, dir.join("a.json")).unwrap();
    let heard = Heard::default();
    let handle = heard.start(announcements(&dir, true));
    heard.has("ready r0 v1");
    for n in 2..5 {
        replace(&target, doc("r0", &format!("v{n}")));
        heard.has(&format!("updated r0 v{n}"));
    }
    let scans = handle.stats().scans;
    until("further polls", || handle.stats().scans > scans + 5);
    assert_eq!(files(&dir), ["a.json"]);
    let lines = lines::with(dir.to_str().unwrap());
    assert_eq!(lines.iter().filter(|line| line.contains("a symbolic link stays")).count(), 1, "{lines:#?}");
    // A file in its place goes.
    replace(dir.join("a.json"), doc("r0", "v4"));
    until("it is taken", || files(&dir).is_empty());
    handle.stop();
}

#[test]
fn where_nothing_may_be_deleted_the_log_says_so_once_and_it_is_tried_again() {
    lines::keep();
    bound_by_permissions(|| {
        let place = Place::new();
        write(place.join("a.json"), doc("r0", "x"));
        write(place.join("b.json"), doc("r1", "x"));
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let heard = Heard::default();
        let handle = heard.start(announcements(place.path(), true));
        heard.has("ready r0 x");
        heard.has("ready r1 x");
        let scans = handle.stats().scans;
        until("further polls", || handle.stats().scans > scans + 5);
        assert_eq!(files(place.path()), ["a.json", "b.json"]);
        let lines = lines::with(place.path().to_str().unwrap());
        assert_eq!(lines.iter().filter(|line| line.contains("cannot delete the handoff")).count(), 1, "{lines:#?}");
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        until("they are taken", || files(place.path()).is_empty());
        assert_eq!(heard.take().iter().filter(|event| event.starts_with("ready")).count(), 2);
        handle.stop();
    });
}

/// Whoever may write there by then may have put something else in its place.
#[test]
fn in_a_directory_that_is_not_trusted_any_more_nothing_is_deleted() {
    let place = Place::new();
    let (dir, file) = (place.path().to_owned(), place.join("a.json"));
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    write(&file, doc("r0", "x"));
    chmod(&file, 0o644);
    let heard = Heard::default();
    let hears = heard.clone();
    let builder = announcements(place.path(), true).trust(TrustPolicy::this_user());
    let watcher = builder.on_event(move |event| {
        if event.name() == "ready" {
            // It was listed and read, and is taken away when this has returned.
            chmod(&dir, 0o757);
        }
        hears.0.lock().push(common::short(&event));
        Ok(())
    });
    let handle = watcher.try_spawn().unwrap();
    heard.has("unavailable");
    let failed = handle.stats().scan_errors;
    until("further polls", || handle.stats().scan_errors > failed + 3);
    assert_eq!(files(place.path()), ["a.json"]);
    chmod(place.path(), 0o755);
    until("it is taken", || files(place.path()).is_empty());
    heard.has("available");
    assert_eq!(heard.take().iter().filter(|event| event.starts_with("ready")).count(), 1);
    handle.stop();
}

#[test]
fn the_state_is_never_deleted() {
    let place = Place::new();
    write(place.join("a.json"), doc("r0", "x"));
    write(place.join(".handoff-1-2-3.taken"), doc("r1", "x"));
    let heard = Heard::default();
    let config = HandoffWatcherConfig { runtime_dir: place.path().into(), poll_interval_ms: INTERVAL_MS };
    let handle = heard.start(handoff_watcher::HandoffWatcher::builder(config));
    heard.has("synced");
    let scans = handle.stats().scans;
    until("further polls", || handle.stats().scans > scans + 3);
    assert_eq!(files(place.path()), [".handoff-1-2-3.taken", "a.json"]);
    handle.stop();
}
