//! The ten traps that others fell into, each against a real directory; and the promise that needs load.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use common::{DEADLINE, INTERVAL_MS, Place, Spinners, Watched, builder, doc, lines, replace, until, write};
use handoff_watcher::{ErrorKind, HandoffEvent, WatcherHandle};

const NOTHING: [&str; 0] = [];

// ---- 1: an error is not "empty" ----

#[test]
fn trap_1_a_directory_that_cannot_be_listed_removes_nothing() {
    let place = Place::new();
    let dir = place.dir("engines");
    write(dir.join("a.json"), doc("r0", "v1"));
    let watched = Watched::start(&dir);
    watched.hears("synced");
    fs::rename(&dir, place.join("away")).unwrap();
    assert_eq!(watched.hears("unavailable"), ["unavailable"]);
    assert_eq!(watched.handle().rescan().unwrap_err().kind(), ErrorKind::Io);
    assert!(!watched.handle().health().available);
    write(&dir, "a file in its place");
    watched.handle().rescan().unwrap_err();
    assert_eq!(watched.host.lock().heard, NOTHING, "another reason is no news");
    fs::remove_file(&dir).unwrap();
    fs::rename(place.join("away"), &dir).unwrap();
    assert_eq!(watched.hears("available"), ["available"]);
    assert_eq!(watched.polls(5), NOTHING);
    assert_eq!(watched.handle().registry().len(), 1);
}

// ---- 2: half-written is not bad, empty is not nothing ----

#[test]
fn trap_2_a_torn_write_is_neither_bad_nor_a_removal() {
    let place = Place::new();
    let path = place.join("a.json");
    write(&path, doc("r0", "v1"));
    let watched = Watched::with(builder(place.path(), INTERVAL_MS).settle_time(Duration::from_secs(3600)));
    watched.hears("synced");
    let text = doc("r0", "v2");
    for end in [0, 1, 20, text.len() - 1] {
        write(&path, &text[..end]);
        assert_eq!(watched.polls(3), NOTHING, "{end} bytes of {}", text.len());
    }
    write(&path, &text);
    assert_eq!(watched.hears("updated r0 v2"), ["updated r0 v2"]);
}

#[test]
fn trap_2_an_empty_file_is_invalid_after_its_time_and_what_it_said_stays() {
    let place = Place::new();
    write(place.join("a.json"), doc("r0", "v1"));
    let watched = Watched::start(place.path());
    watched.hears("synced");
    write(place.join("a.json"), "");
    assert_eq!(watched.hears("invalid a.json"), ["invalid a.json"]);
    assert_eq!(watched.polls(5), NOTHING);
    watched.holds(&["r0=v1"]);
}

// ---- 3: changes that mtime does not show ----

#[test]
fn trap_3_the_same_size_and_a_restored_mtime() {
    let place = Place::new();
    let path = place.join("a.json");
    write(&path, doc("r0", "v1"));
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let watched = Watched::start(place.path());
    for text in ["v2", "v3", "v4"] {
        write(&path, doc("r0", text));
        File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        watched.holds(&[&format!("r0={text}")]);
    }
}

#[test]
fn trap_3_an_older_file_is_moved_over_it() {
    let place = Place::new();
    let (path, old) = (place.join("a.json"), place.join("old"));
    write(&old, doc("r0", "v0"));
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
    File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    write(&path, doc("r0", "v1"));
    let watched = Watched::start(place.path());
    watched.hears("synced");
    fs::rename(&old, &path).unwrap();
    assert_eq!(watched.hears("updated r0 v0"), ["updated r0 v0"]);
}

#[test]
fn trap_3_many_versions_in_one_tick_end_with_the_last() {
    let place = Place::new();
    let path = place.join("a.json");
    let watched = Watched::start(place.path());
    for round in 0..20 {
        for version in 0..20 {
            write(&path, doc("r0", &format!("{round:02}-{version:02}")));
        }
        watched.holds(&[&format!("r0={round:02}-19")]);
    }
}

#[test]
fn trap_3_a_touch_and_the_same_bytes_are_no_news() {
    let place = Place::new();
    let path = place.join("a.json");
    write(&path, doc("r0", "v1"));
    let watched = Watched::start(place.path());
    watched.hears("synced");
    File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert_eq!(watched.polls(5), NOTHING);
    write(&path, doc("r0", "v1"));
    assert_eq!(watched.polls(5), NOTHING);
    replace(&path, doc("r0", "v1"));
    assert_eq!(watched.polls(5), NOTHING);
}

// ---- 4: a directory that comes, goes, and is another one ----

#[test]
fn trap_4_the_directory_is_not_there_yet() {
    let place = Place::new();
    let dir = place.join("deep/engines");
    let watched = Watched::with(builder(&dir, INTERVAL_MS));
    watched.hears("unavailable");
    fs::create_dir_all(&dir).unwrap();
    write(dir.join("a.json"), doc("r0", "v1"));
    watched.holds(&["r0=v1"]);
    until("synced", || watched.host.lock().synced);
    assert_eq!(watched.host.lock().heard.iter().filter(|event| *event == "available").count(), 1);
}

#[test]
fn trap_4_the_directory_is_removed_and_made_again() {
    let place = Place::new();
    let dir = place.dir("engines");
    write(dir.join("a.json"), doc("r0", "v1"));
    let watched = Watched::start(&dir);
    watched.hears("synced");
    fs::remove_dir_all(&dir).unwrap();
    // The poll may fall between the file and its directory: then it is a removal.
    let heard = watched.hears("unavailable");
    fs::create_dir(&dir).unwrap();
    write(dir.join("a.json"), doc("r0", "v2"));
    let told = if heard.contains(&"removed r0 file_removed".to_owned()) { "ready r0 v2" } else { "updated r0 v2" };
    watched.hears(told);
    watched.holds(&["r0=v2"]);
}

/// `a.json -> ..data/a.json`, `..data -> ..1`, as Kubernetes mounts a ConfigMap.
#[test]
fn trap_4_kubernetes_flips_its_data() {
    let place = Place::new();
    let version = |n: u32, files: &[(&str, &str)]| {
        let dir = place.dir(&format!("..{n}"));
        for (name, text) in files {
            write(dir.join(name), text);
        }
        symlink(format!("..{n}"), place.join("..data_tmp")).unwrap();
        fs::rename(place.join("..data_tmp"), place.join("..data")).unwrap();
    };
    version(1, &[("a.json", &doc("r0", "v1")), ("b.json", &doc("r1", "v1"))]);
    symlink("..data/a.json", place.join("a.json")).unwrap();
    symlink("..data/b.json", place.join("b.json")).unwrap();
    let watched = Watched::start(place.path());
    watched.hears("synced");
    for n in 2..10 {
        let text = format!("v{n}");
        version(n, &[("a.json", &doc("r0", &text)), ("b.json", &doc("r1", "v1"))]);
        fs::remove_dir_all(place.join(format!("..{}", n - 1))).unwrap();
        let update = format!("updated r0 {text}");
        assert_eq!(watched.hears(&update), [update]);
    }
    version(10, &[("a.json", &doc("r0", "v9"))]);
    assert_eq!(watched.hears("removed r1 file_removed"), ["removed r1 file_removed"]);
}

#[test]
fn trap_4_the_directory_is_a_link_that_flips() {
    let place = Place::new();
    let dir = place.join("engines");
    for n in 0..10 {
        let target = place.dir(&format!("target-{n}"));
        write(target.join("a.json"), doc("r0", &format!("v{n}")));
    }
    symlink("target-0", &dir).unwrap();
    let watched = Watched::start(&dir);
    watched.hears("synced");
    for n in 1..10 {
        symlink(format!("target-{n}"), place.join("next")).unwrap();
        fs::rename(place.join("next"), &dir).unwrap();
        let update = format!("updated r0 v{n}");
        assert_eq!(watched.hears(&update), [update]);
    }
}

// ---- 5: asked again ----

#[test]
fn regression_trap_5_what_was_refused_or_panicked_on_is_asked_again() {
    let place = Place::new();
    write(place.join("a.json"), doc("r0", "v1"));
    let (tries, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counts, takes) = (tries.clone(), taken.clone());
    let backoff = Duration::from_millis(1);
    let watcher = builder(place.path(), INTERVAL_MS).retry_backoff(backoff, backoff).on_payload(move |_| match counts
        .fetch_add(1, Ordering::SeqCst)
    {
        0 => Err("not now".into()),
        1 => std::panic::panic_any(Explosive),
        2 => Err(Box::new(Unspeakable)),
        _ => {
            takes.store(true, Ordering::SeqCst);
            Ok(())
        }
    });
    let handle = watcher.spawn();
    until("taken", || taken.load(Ordering::SeqCst));
    until("counted", || handle.stats().events.ready == 1);
    assert_eq!((tries.load(Ordering::SeqCst), handle.stats().retries), (4, 3));
    handle.stop();
}

/// `stop` says that nothing is told any more: a host that breaks off because of it did not fail.
#[test]
fn regression_what_a_host_breaks_off_after_a_stop_is_not_said_to_be_tried_again() {
    lines::keep();
    let place = Place::new();
    let (entered, enters) = mpsc::sync_channel(0);
    let (release, released) = mpsc::sync_channel::<()>(0);
    let released = Mutex::new(released);
    let watcher = builder(place.path(), INTERVAL_MS).on_event(move |_| {
        entered.send(()).unwrap();
        // Until its other end is dropped.
        released.lock().unwrap().recv().map_err(|_| "the one who waits for it is gone".into())
    });
    let handle = watcher.spawn();
    enters.recv_timeout(DEADLINE).unwrap();
    handle.stop_handle().stop();
    drop(release);
    handle.stop();
    assert_eq!(
        lines::with("the one who waits for it is gone"),
        ["synced: the callback failed: \"the one who waits for it is gone\"; the watcher was stopped meanwhile"]
    );
}

/// A panic that panics when it is cleared away.
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("even now");
    }
}

/// An error that panics when it is to be logged.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("it cannot be said");
    }
}

impl std::error::Error for Unspeakable {}

// ---- 6: a slow host ----

#[test]
fn trap_6_a_host_that_hangs_does_not_stop_the_scanning() {
    let place = Place::new();
    let (release, hang) = mpsc::channel::<()>();
    let (hang, host) = (Mutex::new(hang), Arc::new(common::Shared::default()));
    let hears = host.clone();
    let watcher = builder(place.path(), INTERVAL_MS).channel_capacity(1).on_event(move |event| {
        // Until the sender is dropped.
        let _ = hang.lock().unwrap().recv();
        hears.hear(&event);
        Ok(())
    });
    let handle = watcher.spawn();
    for version in 0..20 {
        for replica in ["r0", "r1", "r2"] {
            replace(place.join(format!("{replica}.json")), doc(replica, &format!("v{version}")));
        }
        handle.rescan().unwrap();
    }
    until("the registry follows", || handle.registry().len() == 3);
    assert!(handle.stats().scans >= 20 && handle.health().is_ok());
    assert!(handle.stats().backlog <= 4, "{:?}", handle.stats());
    drop(release);
    until("all is told", || host.lock().holds() == ["r0=v19", "r1=v19", "r2=v19"]);
    assert!(host.lock().events <= 8, "{:?}", host.lock().heard);
    host.lock().assert_innocent();
    handle.stop();
}

// ---- 7: dead, or blocked, and nobody knows ----

#[test]
fn trap_7_nothing_that_is_no_file_blocks() {
    let place = Place::new();
    write(place.join("z.json"), doc("r0", "v1"));
    rustix::fs::mknodat(rustix::fs::CWD, place.join("a.json"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let watched = Watched::start(place.path());
    let mut heard = watched.host.lock().heard.clone();
    heard.sort();
    assert_eq!(heard, ["invalid a.json", "ready r0 v1", "synced"]);
    fs::remove_file(place.join("a.json")).unwrap();
    write(place.join("a.json"), doc("r1", "v1"));
    watched.holds(&["r0=v1", "r1=v1"]);
}

#[test]
fn trap_7_a_stopped_watcher_is_not_called_alive() {
    let place = Place::new();
    let handle = builder(place.path(), INTERVAL_MS).on_event(|_| Ok(())).spawn();
    assert!(handle.health().running);
    let stop = handle.stop_handle();
    stop.stop();
    until("not running", || !handle.health().running);
    assert!(stop.is_stopped() && !handle.health().is_ok());
    assert_eq!(handle.rescan().unwrap_err().kind(), ErrorKind::Stopped);
}

// ---- 8: leftovers; off by default, so they are handoffs like others ----

#[test]
fn trap_8_a_leftover_is_told_as_it_is() {
    let place = Place::new();
    write(place.join("a.json"), r#"{"pool_id":"pool","replica_id":"r0","url":"http://127.0.0.1/v1","pid":4294967295}"#);
    Watched::start(place.path()).holds(&["r0=v1"]);
}

// ---- 9: backups and copies ----

#[test]
fn trap_9_backups_are_no_handoffs_and_copies_are_named() {
    let place = Place::new();
    let names =
        ["a.json.bak", ".a.json.swp", "a.json~", ".json", ".a.json", "a.json.tmp", "#a.json#", "a.JSON", "json"];
    for name in names {
        write(place.join(name), doc("r1", "backup"));
    }
    write(place.join("a.json"), doc("r0", "v1"));
    let watched = Watched::start(place.path());
    watched.holds(&["r0=v1"]);
    assert_eq!(watched.handle().stats().files, 1);
    watched.hears("synced");
    write(place.join("b.json"), doc("r0", "v1"));
    watched.hears("conflict b.json a.json");
    fs::remove_file(place.join("b.json")).unwrap();
    until("a.json again", || watched.host.lock().held.values().all(|(_, file)| file.ends_with("a.json")));
    assert!(!watched.host.lock().heard.iter().any(|event| event.starts_with("removed")));
}

// ---- 10: stop ----

#[test]
fn trap_10_stop_from_inside_a_callback() {
    let place = Place::new();
    for n in 0..10 {
        write(place.join(format!("{n}.json")), doc(&format!("r{n}"), "v1"));
    }
    let slot: Arc<Mutex<Option<WatcherHandle>>> = Arc::default();
    let (inside, calls) = (slot.clone(), Arc::new(AtomicUsize::new(0)));
    let (counts, (done, stopped)) = (calls.clone(), mpsc::channel());
    let watcher = builder(place.path(), INTERVAL_MS).on_event(move |_| {
        counts.fetch_add(1, Ordering::SeqCst);
        // The lock is held until the handle is there.
        if let Some(handle) = inside.lock().unwrap().take() {
            handle.stop();
            let _ = done.send(());
        }
        Err("refused: it would come again".into())
    });
    {
        let mut slot = slot.lock().unwrap();
        *slot = Some(watcher.spawn());
    }
    stopped.recv_timeout(DEADLINE).expect("stop returns");
    // The sender is the callback's: it goes with the delivery thread.
    assert_eq!(stopped.recv_timeout(DEADLINE), Err(mpsc::RecvTimeoutError::Disconnected), "the thread has ended");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn trap_10_nothing_calls_back_after_stop() {
    let place = Place::new();
    for n in 0..50 {
        write(place.join(format!("{n}.json")), doc(&format!("r{n}"), "v1"));
    }
    for round in 0..30 {
        let over = Arc::new(AtomicBool::new(false));
        let (is_over, late) = (over.clone(), Arc::new(AtomicBool::new(false)));
        let is_late = late.clone();
        let watcher = builder(place.path(), 1).on_event(move |_| {
            is_late.fetch_or(is_over.load(Ordering::SeqCst), Ordering::SeqCst);
            Ok(())
        });
        let handle = watcher.spawn();
        std::thread::yield_now();
        until("some events", || round % 3 == 0 || handle.stats().events.ready > round);
        handle.stop();
        over.store(true, Ordering::SeqCst);
        std::thread::yield_now();
        assert!(!late.load(Ordering::SeqCst));
    }
}

#[test]
fn trap_10_a_hanging_callback_holds_up_only_those_who_wait_for_it() {
    let place = Place::new();
    let (release, hang) = mpsc::channel::<()>();
    let hang = Mutex::new(hang);
    let (calls, called) = mpsc::channel();
    let watcher = builder(place.path(), INTERVAL_MS).on_event(move |_| {
        let _ = calls.send(());
        let _ = hang.lock().unwrap().recv();
        Ok(())
    });
    let handle = watcher.spawn();
    called.recv_timeout(DEADLINE).unwrap();
    let handle = handle.stop_timeout(Duration::from_millis(50)).expect_err("it hangs");
    assert!(handle.stop_handle().is_stopped());
    drop(release);
    handle.stop();
    assert!(called.recv_timeout(DEADLINE).is_err(), "no further call");
}

// ---- under load ----

fn seen_under_load(dir: &Path) -> Duration {
    let (send, seen) = mpsc::channel();
    let watcher = builder(dir, 1000).on_event(move |event| {
        let new = matches!(&event, HandoffEvent::Ready { payload, .. } if payload.replica_id == "new");
        if new || matches!(event, HandoffEvent::Synced) {
            let _ = send.send(Instant::now());
        }
        Ok(())
    });
    let handle = watcher.spawn();
    seen.recv_timeout(4 * DEADLINE).expect("synced");
    for round in 0..3 {
        let created = Instant::now();
        replace(dir.join("new.json"), doc("new", &format!("v{round}")));
        let at = seen.recv_timeout(DEADLINE).expect("seen");
        let took = at.saturating_duration_since(created);
        assert!(took < Duration::from_secs(2), "round {round}: seen after {took:?}; {:?}", handle.stats());
        fs::remove_file(dir.join("new.json")).expect("it is there");
        until("removed", || handle.stats().events.removed == round + 1);
    }
    assert_eq!(handle.stats().events.ready, 10_003);
    let stopping = Instant::now();
    handle.stop();
    stopping.elapsed()
}

#[test]
fn a_new_file_is_seen_within_2_s_beside_10_000_others_on_a_busy_machine() {
    let place = Place::new();
    for n in 0..10_000 {
        write(place.join(format!("{n:05}.json")), doc(&format!("r{n:05}"), "v1"));
    }
    let _busy = Spinners::new(std::thread::available_parallelism().map_or(2, usize::from));
    // Once more for a machine that gave no time just then.
    let stopped = seen_under_load(place.path());
    assert!(
        stopped < Duration::from_millis(100) || seen_under_load(place.path()) < Duration::from_millis(100),
        "stop took {stopped:?}"
    );
}
