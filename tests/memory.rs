//! Memory is a function of the number of files: not of changes, nor of how slow the host is. Counted in bytes by the
//! allocator, not in pages by the system, over versions that were all told.
//!
//! `HANDOFF_LONG=1` makes it a million of them, and a host that is blocked for a minute.

#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::System;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use common::{Spinners, builder, doc, until};
use handoff_watcher::{HandoffEvent, WatcherHandle};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FILES: u64 = 50;
/// What may be kept of ten thousand versions, and of a million: here and there a buffer that once was needed.
const TOLERANCE: isize = 4096;

fn long() -> bool {
    std::env::var_os("HANDOFF_LONG").is_some()
}

/// One test at a time: they share what is counted.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn held() -> isize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated) as isize
}

/// What is held while nothing happens: the least of what is seen, as a thread may be in the middle of something each time.
fn held_at_rest(handle: &WatcherHandle) -> isize {
    let look = |_: u32| {
        handle.rescan().unwrap();
        std::thread::sleep(Duration::from_micros(200));
        held()
    };
    (0..20).map(look).min().unwrap()
}

/// From the first half to the second; the very first is for what is made once.
fn growth(kept: &[isize]) -> isize {
    let least = |part: &[isize]| *part.iter().min().unwrap();
    least(&kept[6..11]) - least(&kept[1..6])
}

/// On a file system that is fast enough for a million.
fn place() -> tempfile::TempDir {
    let fast = Path::new("/dev/shm");
    if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() }.unwrap()
}

fn start(dir: &Path, host: impl Fn(&HandoffEvent) + Send + Sync + 'static) -> WatcherHandle {
    let hears = move |event: HandoffEvent| {
        host(&event);
        Ok(())
    };
    builder(dir, 1000).settle_time(Duration::ZERO).on_event(hears).try_spawn().unwrap()
}

/// The files become another version each; all of it is read when this returns.
fn turn(dir: &Path, handle: &WatcherHandle, version: &dyn Fn(u64) -> String) {
    let temporary = dir.join("new.tmp");
    for name in 0..FILES {
        let mut file = fs::File::create(&temporary).unwrap();
        file.write_all(version(name).as_bytes()).unwrap();
        // Long finished, so that nobody waits to see whether more is to come.
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        fs::rename(&temporary, dir.join(format!("{name:02}.json"))).unwrap();
    }
    handle.rescan().unwrap();
}

fn is_flat_over(what: &str, version: impl Fn(u64, u64) -> String) -> String {
    let _alone = alone();
    let place = place();
    let told = Arc::new(AtomicU64::new(0));
    let counts = told.clone();
    let handle = start(place.path(), move |it| {
        counts.fetch_add(u64::from(it.file().is_some()), Ordering::Relaxed);
    });
    let mut turns = 0;
    let mut turn = || {
        turn(place.path(), &handle, &|file| version(file, turns));
        turns += 1;
        // Every single version.
        let due = turns * FILES;
        until("all versions are told", || told.load(Ordering::Relaxed) >= due);
    };
    let tenth = if long() { 2000 } else { 40 };
    let mut kept = Vec::new();
    for _ in 0..11 {
        (0..tenth).for_each(|_| turn());
        kept.push(held_at_rest(&handle));
    }
    let versions = turns * FILES;
    assert_eq!(told.load(Ordering::Relaxed), versions, "some were told twice");
    let growth = growth(&kept);
    let per_thousand = growth as f64 * 1000.0 / (5 * tenth * FILES) as f64;
    assert!(growth < TOLERANCE, "{growth} bytes more after {versions} {what}: {kept:?}");
    format!("memory: {per_thousand:.1} bytes for 1,000 {what}, of {versions} that were told: {kept:?}")
}

#[test]
fn memory_is_flat_over_a_million_changes() {
    println!("{}", is_flat_over("changes", |file, turn| doc(&format!("r{file}"), &format!("{turn:08}"))));
}

#[test]
fn memory_is_flat_over_a_million_bad_versions() {
    println!("{}", is_flat_over("bad versions", |file, turn| format!("[{file},{turn:08}]")));
}

/// Fifty files that change all the time, bad ones among them, eight threads that spin, and a host that takes nothing.
#[test]
fn memory_is_flat_and_scans_go_on_behind_a_host_that_is_blocked() {
    let _alone = alone();
    let (place, gate) = (place(), Arc::new(Mutex::new(())));
    let (waits, entered) = (gate.clone(), Arc::new(AtomicU64::new(0)));
    let (last, counts) = (Arc::new(AtomicU64::new(0)), entered.clone());
    let hears = last.clone();
    let blocked = gate.lock().unwrap();
    let handle = start(place.path(), move |event| {
        counts.fetch_add(1, Ordering::Relaxed);
        drop(waits.lock());
        let is_last = event.payload().is_some_and(|payload| payload.url.ends_with("/last"));
        hears.fetch_add(u64::from(is_last), Ordering::Relaxed);
    });
    let _busy = Spinners::new(8);
    // Good and bad in turn, and after each three turns the same of every file: what is remembered is comparable then.
    let mut turns = 0u64;
    let mut three = || {
        for kind in 0..3 {
            turn(place.path(), &handle, &|file| match kind {
                0 => format!("[{turns:08}]"),
                _ => doc(&format!("r{file}"), &format!("{turns:08}")),
            });
            turns += 1;
        }
    };
    three();
    until("the host is blocked", || entered.load(Ordering::Relaxed) == 1);
    let tenth = Duration::from_millis(if long() { 6000 } else { 400 });
    let mut kept = Vec::new();
    let scans = handle.stats().scans;
    for _ in 0..11 {
        let end = Instant::now() + tenth;
        while Instant::now() < end {
            three();
        }
        kept.push(held_at_rest(&handle));
    }
    assert!(handle.stats().scans >= scans + turns - 3, "no scans behind the host that is blocked");
    assert!(handle.stats().backlog <= 2 * FILES as usize + 1, "{:?}", handle.stats());
    assert_eq!(entered.load(Ordering::Relaxed), 1, "it is blocked");
    let growth = growth(&kept);
    println!("memory: {growth} bytes more after {} versions behind a host that is blocked: {kept:?}", turns * FILES);
    assert!(growth < TOLERANCE, "{growth} bytes: {kept:?}");
    turn(place.path(), &handle, &|file| doc(&format!("r{file}"), "last"));
    // The host comes back, and is told what is true now.
    drop(blocked);
    until("all is told", || last.load(Ordering::Relaxed) == FILES);
}
