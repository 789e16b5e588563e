//! The watcher in the roles in which it is measured, each in a process of its own.

use std::alloc::System;
use std::fs;
use std::path::Path;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use handoff_watcher::{
    HandoffEvent, HandoffIter, HandoffPayload, HandoffWatcher, HandoffWatcherBuilder, HandoffWatcherConfig,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[cfg(feature = "capi")]
use crate::c_host::Host;
use crate::lab::{cpu_us, lone, pause, print_latencies, rename};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What was written just now is read again for 2 s.
const SETTLES_MS: u64 = 2500;

/// As many events can wait.
const PREPARED: usize = 65_536;

fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn config(dir: &Path, interval_ms: u64) -> HandoffWatcherConfig {
    HandoffWatcherConfig { runtime_dir: dir.to_owned(), poll_interval_ms: interval_ms }
}

fn until_synced(events: &mut HandoffIter) {
    for event in events {
        if event == HandoffEvent::Synced {
            return;
        }
    }
    panic!("it ended before it was synced");
}

pub(crate) fn run(role: &str, dir: &Path, interval_ms: u64, count: usize) {
    match role {
        "idle" | "idle-instant" => idle(role, dir, interval_ms, count),
        "initial" => initial(dir),
        "floor" => floor(dir),
        "memory" => memory(dir),
        "stop" => stop(dir, count),
        "take-iterator" | "take-callback" | "take-c" => take(role, dir, count),
        "iterator" | "callback" | "c" | "instant" | "plain-rename" => {
            detection(role, dir, interval_ms, count);
        }
        other => panic!("there is no role {other}"),
    }
}

/// Whether this build has it.
pub(crate) fn has(role: &str) -> bool {
    let is_c = matches!(role, "c" | "take-c");
    (!is_c || cfg!(feature = "capi")) && (!role.ends_with("instant") || cfg!(feature = "inotify"))
}

#[cfg(feature = "inotify")]
fn builder(config: HandoffWatcherConfig, instant: bool) -> HandoffWatcherBuilder {
    HandoffWatcher::builder(config).instant(instant)
}

#[cfg(not(feature = "inotify"))]
fn builder(config: HandoffWatcherConfig, _: bool) -> HandoffWatcherBuilder {
    HandoffWatcher::builder(config)
}

/// The processor time of a poll in which nothing changed, after all stamps have settled.
fn idle(role: &str, dir: &Path, interval_ms: u64, polls: usize) {
    let mut events = builder(config(dir, interval_ms), role == "idle-instant").iter().unwrap();
    until_synced(&mut events);
    // And with the next polls.
    let settled = Instant::now() + Duration::from_millis(SETTLES_MS + 4 * interval_ms);
    while Instant::now() < settled {
        thread::sleep(Duration::from_millis(100));
    }
    let (scans, cpu) = (events.stats().scans, cpu_us());
    while events.stats().scans < scans + polls as u64 {
        thread::sleep(Duration::from_millis(interval_ms * polls as u64 / 4 + 1));
    }
    let (cpu, scans) = (cpu_us() - cpu, events.stats().scans - scans);
    println!("{}", serde_json::json!({ "cpu_us": cpu / scans as f64, "polls": scans }));
}

fn initial(dir: &Path) {
    let before = cpu_us();
    let mut events = HandoffWatcher::iter(config(dir, 60_000)).unwrap();
    until_synced(&mut events);
    println!("{}", serde_json::json!({ "cpu_us": cpu_us() - before, "files": events.registry().len() }));
}

/// What no watcher can do without: to read and parse every file once.
fn floor(dir: &Path) {
    let before = cpu_us();
    let (mut payloads, mut bytes): (Vec<HandoffPayload>, _) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            bytes.clear();
            std::io::Read::read_to_end(&mut fs::File::open(&path).unwrap(), &mut bytes).unwrap();
            payloads.push(serde_json::from_slice(&bytes).unwrap());
        }
    }
    println!("{}", serde_json::json!({ "cpu_us": cpu_us() - before, "files": payloads.len() }));
}

/// What is held for each file, the registry with all payloads included, when all is told and settled.
fn memory(dir: &Path) {
    let before = held_bytes();
    let mut events = HandoffWatcher::iter(config(dir, 500)).unwrap();
    until_synced(&mut events);
    thread::sleep(Duration::from_millis(4500));
    let files = events.registry().len();
    println!("{}", serde_json::json!({ "bytes": (held_bytes() - before) as f64 / files as f64, "files": files }));
}

/// What it costs to take an event. All wait already, so that nothing else is measured; a callback takes them on a thread of
/// its own, from the first to the last.
fn take(role: &str, dir: &Path, count: usize) {
    let config = config(dir, 60_000);
    let took = match role {
        "take-iterator" => {
            let events = HandoffWatcher::builder(config).channel_capacity(PREPARED).iter().unwrap();
            events.rescan().unwrap();
            let began = Instant::now();
            for _ in 0..count {
                assert!(matches!(events.try_next().unwrap(), HandoffEvent::Ready { .. }));
            }
            began.elapsed()
        }
        #[cfg(feature = "capi")]
        "take-c" => {
            let host = Host::new(dir, 60_000, PREPARED as u64);
            host.rescan();
            let began = Instant::now();
            (0..count).for_each(|_| host.take_ready());
            began.elapsed()
        }
        _ => {
            let (first, (sender, last)) = (OnceLock::new(), mpsc::channel());
            let sender = std::sync::Mutex::new(sender);
            let watcher = HandoffWatcher::builder(config).channel_capacity(PREPARED).on_event(move |event| {
                let first = first.get_or_init(Instant::now);
                if event == HandoffEvent::Synced {
                    let _ = sender.lock().unwrap().send(first.elapsed());
                }
                Ok(())
            });
            let handle = watcher.try_spawn().unwrap();
            let took = last.recv().unwrap();
            handle.stop();
            took
        }
    };
    println!("{}", serde_json::json!({ "us": took.as_secs_f64() * 1e6 / count as f64 }));
}

fn stop(dir: &Path, count: usize) {
    let stops = (0..count).map(|number| {
        let mut events = HandoffWatcher::iter(config(dir, 20)).unwrap();
        until_synced(&mut events);
        thread::sleep(pause(number, Duration::from_millis(20)));
        let began = Instant::now();
        drop(events);
        began.elapsed()
    });
    print_latencies(&stops.collect::<Vec<_>>());
}

/// From the moment at which the producer's rename has returned to the host holding the payload.
fn detection(role: &str, dir: &Path, interval_ms: u64, count: usize) {
    let (sender, received) = mpsc::channel::<(Instant, Option<String>)>();
    let url = |event: &HandoffEvent| event.payload().map(|payload| payload.url.clone());
    let builder = builder(config(dir, interval_ms), role == "instant");
    let mut keep = None;
    match role {
        "callback" => {
            let sender = std::sync::Mutex::new(sender);
            let watcher = builder.on_event(move |event| {
                let _ = sender.lock().unwrap().send((Instant::now(), url(&event)));
                Ok(())
            });
            keep = Some(watcher.spawn().stop_on_drop());
        }
        #[cfg(feature = "capi")]
        "c" => {
            let dir = dir.to_owned();
            thread::spawn(move || {
                let host = Host::new(&dir, interval_ms, 64);
                loop {
                    let (_, url) = host.next(-1);
                    let _ = sender.send((Instant::now(), url));
                }
            });
        }
        _ => {
            let events = builder.iter().unwrap();
            thread::spawn(move || {
                for event in events {
                    let _ = sender.send((Instant::now(), url(&event)));
                }
            });
        }
    }
    // What was there at the start has been told when nothing has come for a while; by then its stamps have settled, too, and
    // it is no longer read again.
    let quiet = Duration::from_millis(interval_ms + SETTLES_MS);
    while received.recv_timeout(quiet).is_ok() {}
    let instant = role == "instant";
    let latencies = (0..count).map(|number| {
        thread::sleep(if instant { lone(number) } else { pause(number, Duration::from_millis(interval_ms)) });
        let port = 10_000 + number;
        // Each under a name of its own: a file that changed just now is looked at more often.
        let renamed = rename(
            dir,
            &format!("r{}", if instant { number % 10 } else { number }),
            port,
            !matches!(role, "instant" | "plain-rename"),
        );
        let expected = format!("http://127.0.0.1:{port}");
        loop {
            let (at, url) = received.recv_timeout(Duration::from_secs(30)).expect("it is told");
            if url.as_ref() == Some(&expected) {
                return at.saturating_duration_since(renamed);
            }
        }
    });
    print_latencies(&latencies.collect::<Vec<_>>());
    drop(keep);
    // The thread of the C host has no end.
    std::process::exit(0);
}
