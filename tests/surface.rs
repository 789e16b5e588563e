//! The Rust surface under many threads: watchers are made, asked, rescanned, waited for and stopped from everywhere, with
//! files that change meanwhile. A program, not a test in a harness, so that ThreadSanitizer and valgrind see nothing else;
//! without them it is a test all the same. `HANDOFF_STRESS_MS` says for how long. `.ci/capi-checks` compiles it with
//! nothing but the library.
#![allow(clippy::unwrap_used)] // A test, though it has no harness.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use handoff_watcher::{
    ErrorKind, HandoffIter, HandoffWatcher, HandoffWatcherBuilder, HandoffWatcherConfig, NextError, StopHandle,
};

const NEVER: Duration = Duration::MAX;

fn main() {
    let ms = env::var("HANDOFF_STRESS_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(1000);
    let end = Instant::now() + Duration::from_millis(ms);
    let dir: Arc<Path> = env::temp_dir().join(format!("handoff-surface-{}", std::process::id())).into();
    fs::create_dir_all(&dir).unwrap();
    let lives: [fn(&Path, bool) -> u64; 3] = [iterated, called, stopped_from_inside];
    let mut threads: Vec<JoinHandle<u64>> = lives
        .map(|life| {
            let dir = dir.clone();
            thread::spawn(move || {
                let (mut told, mut instant) = (0, false);
                // At least once in each mode, however slow the machine.
                while Instant::now() < end || !instant {
                    told += life(&dir, false);
                    instant = cfg!(feature = "inotify");
                    told += life(&dir, instant);
                    instant = true;
                }
                told
            })
        })
        .into();
    let done = Arc::new(AtomicU64::new(0));
    let (stop, written) = (done.clone(), dir.clone());
    let writer = thread::spawn(move || write(&written, &stop));
    let told: Vec<_> = threads.drain(..).map(|thread| thread.join().unwrap()).collect();
    done.store(1, Ordering::Relaxed);
    writer.join().unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert!(told.iter().all(|told| *told > 0), "something was never told: {told:?}");
}

fn write(dir: &Path, done: &AtomicU64) {
    for round in 0_u64.. {
        if done.load(Ordering::Relaxed) > 0 {
            return;
        }
        let (path, temporary) = (dir.join(format!("r{}.json", round % 5)), dir.join("new.tmp"));
        match round % 11 {
            7 => drop(fs::remove_file(path)),
            9 => fs::write(path, "half").unwrap(),
            _ => {
                let text = format!(
                    r#"{{"pool_id":"p","replica_id":"r{}","url":"http://localhost:{}"}}"#,
                    round % 3,
                    round % 60000
                );
                fs::write(&temporary, text).unwrap();
                fs::rename(temporary, path).unwrap();
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn builder(dir: &Path, instant: bool) -> HandoffWatcherBuilder {
    let builder = HandoffWatcher::builder(HandoffWatcherConfig { runtime_dir: dir.to_owned(), poll_interval_ms: 5 })
        .channel_capacity(2)
        .settle_time(Duration::ZERO)
        .retry_backoff(Duration::from_millis(1), Duration::from_millis(2));
    #[cfg(feature = "inotify")]
    let builder = builder.instant(instant);
    let _ = instant;
    builder
}

/// An iterator that several threads take from, ask and rescan, until another stops it.
fn iterated(dir: &Path, instant: bool) -> u64 {
    let iter = Arc::new(builder(dir, instant).iter().unwrap());
    let (told, registry) = (Arc::new(AtomicU64::new(0)), iter.registry());
    let take = |waits: fn(&HandoffIter) -> Result<(), NextError>| {
        let (iter, told) = (iter.clone(), told.clone());
        thread::spawn(move || {
            loop {
                match waits(&iter) {
                    Ok(()) => told.fetch_add(1, Ordering::Relaxed),
                    Err(NextError::Timeout) => continue,
                    Err(_) => return,
                };
            }
        })
    };
    let mut threads = vec![
        take(|iter| iter.next_timeout(NEVER).map(drop)),
        take(|iter| iter.next_timeout(Duration::from_micros(50)).map(drop)),
        take(|iter| {
            thread::yield_now();
            iter.try_next().map(drop)
        }),
    ];
    let asked = iter.clone();
    threads.push(thread::spawn(move || {
        let _ = asked.as_fd();
        while asked.rescan().is_ok() {
            let (stats, health) = (asked.stats(), asked.health());
            assert!(stats.scans > 0, "{stats:?} {health:?}");
            assert!(asked.registry().list().len() <= 3);
        }
    }));
    threads.push(thread::spawn(move || assert!(!registry.wait_ready("never", NEVER))));
    // Events and a replica that is waited for do come, without anything but the waiting.
    assert!(iter.registry().wait_ready("p", NEVER));
    while told.load(Ordering::Relaxed) < 10 {
        thread::yield_now();
    }
    let stop = iter.stop_handle();
    stop.stop();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(stop.is_stopped());
    assert_eq!(iter.try_next().unwrap_err(), NextError::Stopped);
    told.load(Ordering::Relaxed)
}

/// A callback that fails and panics now and then, a guard that stops it, and others who ask and stop at the same time.
fn called(dir: &Path, instant: bool) -> u64 {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let handle = builder(dir, instant).on_event(move |_| match counted.fetch_add(1, Ordering::Relaxed) % 7 {
        3 => Err("not now".into()),
        5 => std::panic::resume_unwind(Box::new("not at all")),
        _ => Ok(()),
    });
    let guard = handle.try_spawn().unwrap().stop_on_drop();
    let (registry, stop) = (guard.registry(), guard.stop_handle());
    let waits = thread::spawn(move || assert!(!registry.wait_replica_ready("p", "never", NEVER)));
    while calls.load(Ordering::Relaxed) < 10 {
        guard.rescan().unwrap();
        let _ = (guard.stats(), guard.health(), guard.registry().pools());
    }
    let stops = thread::spawn(move || stop.stop());
    drop(guard);
    let before = calls.load(Ordering::Relaxed);
    waits.join().unwrap();
    stops.join().unwrap();
    thread::sleep(Duration::from_millis(5));
    assert_eq!(calls.load(Ordering::Relaxed), before, "called after the stop");
    before
}

/// A callback that stops its own watcher.
fn stopped_from_inside(dir: &Path, instant: bool) -> u64 {
    let calls = Arc::new(AtomicU64::new(0));
    let stop: Arc<OnceLock<StopHandle>> = Arc::default();
    let (counted, stops) = (calls.clone(), stop.clone());
    let handle = builder(dir, instant)
        .on_event(move |_| {
            if let Some(stop) = stops.get() {
                counted.fetch_add(1, Ordering::Relaxed);
                stop.stop();
            }
            Ok(())
        })
        .try_spawn()
        .unwrap();
    assert!(stop.set(handle.stop_handle()).is_ok());
    let registry = handle.registry();
    assert!(!registry.wait_ready("never", NEVER));
    assert_eq!(handle.rescan().unwrap_err().kind(), ErrorKind::Stopped);
    handle.stop();
    assert_eq!(calls.load(Ordering::Relaxed), 1, "called after the stop");
    1
}
