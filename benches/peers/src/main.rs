//! What a user would pick instead of the watcher, in the roles in which that is measured: `peers ROLE WHO DIR INTERVAL_MS
//! COUNT` prints one line of JSON. Each does what a host has to do: it reads and parses what is new.

#[path = "../../watch/lab.rs"]
mod lab;

use std::alloc::System;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use handoff_watcher::HandoffPayload;
use notify::{Config, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use lab::{cpu_us, lone, pause, print_latencies, rename};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn is_handoff(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

fn parse(path: &Path) -> Option<HandoffPayload> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Somebody who learns of files; a poll by hand where there is one.
trait Peer {
    fn poll(&mut self);
}

/// The first handoff watcher: lists, skips the paths that it has seen, parses the rest.
#[derive(Default)]
struct Blind {
    dir: PathBuf,
    seen: HashSet<PathBuf>,
    told: Vec<HandoffPayload>,
}

impl Peer for Blind {
    fn poll(&mut self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if is_handoff(&path) && !self.seen.contains(&path) {
                self.told.extend(parse(&path));
                self.seen.insert(path);
            }
        }
    }
}

/// The same on tokio.
struct BlindTokio {
    runtime: tokio::runtime::Runtime,
    blind: Blind,
}

impl Peer for BlindTokio {
    fn poll(&mut self) {
        let blind = &mut self.blind;
        self.runtime.block_on(async {
            let Ok(mut entries) = tokio::fs::read_dir(&blind.dir).await else { return };
            while let Ok(Some(entry)) = entries.next_entry().await {
                let path = entry.path();
                if is_handoff(&path) && !blind.seen.contains(&path) {
                    let bytes = tokio::fs::read(&path).await.unwrap_or_default();
                    blind.told.extend(serde_json::from_slice::<HandoffPayload>(&bytes));
                    blind.seen.insert(path);
                }
            }
        });
    }
}

/// `read_dir` and `metadata`, as one would write it: everything that has another time is read again.
#[derive(Default)]
struct Plain {
    dir: PathBuf,
    seen: HashMap<PathBuf, std::time::SystemTime>,
    told: Vec<HandoffPayload>,
}

impl Peer for Plain {
    fn poll(&mut self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(time) = entry.metadata().ok().and_then(|metadata| metadata.modified().ok()) else { continue };
            if is_handoff(&path) && self.seen.get(&path) != Some(&time) {
                self.told.extend(parse(&path));
                self.seen.insert(path, time);
            }
        }
    }
}

/// notify's `PollWatcher`, polled by hand.
struct NotifyPoll {
    watcher: PollWatcher,
    events: Receiver<notify::Result<notify::Event>>,
    told: HashMap<PathBuf, HandoffPayload>,
}

impl NotifyPoll {
    fn new(dir: &Path, contents: bool) -> Self {
        let (sender, events) = mpsc::channel();
        let config = Config::default().with_manual_polling().with_compare_contents(contents);
        let mut watcher = PollWatcher::new(sender, config).expect("it starts");
        watcher.watch(dir, RecursiveMode::NonRecursive).expect("it watches");
        // Watching tells nothing of what is there: a host looks for itself.
        let told = list(dir);
        Self { watcher, events, told }
    }
}

impl Peer for NotifyPoll {
    fn poll(&mut self) {
        let _ = self.watcher.poll();
        thread::yield_now();
        while let Ok(event) = self.events.try_recv() {
            take(event, &mut self.told);
        }
    }
}

fn list(dir: &Path) -> HashMap<PathBuf, HandoffPayload> {
    let paths = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter(|path| is_handoff(path)).filter_map(|path| Some((path.clone(), parse(&path)?))).collect()
}

fn take(event: notify::Result<notify::Event>, told: &mut HashMap<PathBuf, HandoffPayload>) {
    for path in event.into_iter().flat_map(|event| event.paths) {
        if is_handoff(&path)
            && let Some(payload) = parse(&path)
        {
            told.insert(path, payload);
        }
    }
}

fn peer(who: &str, dir: &Path) -> Box<dyn Peer> {
    let dir_of = dir.to_owned();
    match who {
        "blind" => Box::new(Blind { dir: dir_of, ..Blind::default() }),
        "plain" => Box::new(Plain { dir: dir_of, ..Plain::default() }),
        "blind-tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            Box::new(BlindTokio { runtime, blind: Blind { dir: dir_of, ..Blind::default() } })
        }
        "notify-poll" => Box::new(NotifyPoll::new(dir, false)),
        "notify-contents" => Box::new(NotifyPoll::new(dir, true)),
        other => panic!("there is no peer {other}"),
    }
}

fn idle(who: &str, dir: &Path, interval: Duration, polls: usize) {
    let mut peer = peer(who, dir);
    peer.poll();
    peer.poll();
    let before = cpu_us();
    for _ in 0..polls {
        thread::sleep(interval);
        peer.poll();
    }
    println!("{}", serde_json::json!({ "cpu_us": (cpu_us() - before) / polls as f64 }));
}

fn initial(who: &str, dir: &Path) {
    let before = cpu_us();
    if who == "notify-inotify" {
        let (sender, _events) = mpsc::channel();
        let mut watcher = RecommendedWatcher::new(sender, Config::default()).expect("it starts");
        watcher.watch(dir, RecursiveMode::NonRecursive).expect("it watches");
        std::hint::black_box(list(dir));
        println!("{}", serde_json::json!({ "cpu_us": cpu_us() - before }));
        return;
    }
    let mut peer = peer(who, dir);
    peer.poll();
    println!("{}", serde_json::json!({ "cpu_us": cpu_us() - before }));
}

fn memory(who: &str, dir: &Path, files: usize) {
    let before = held_bytes();
    let mut peer = peer(who, dir);
    peer.poll();
    peer.poll();
    println!("{}", serde_json::json!({ "bytes": (held_bytes() - before) as f64 / files as f64 }));
}

/// From the moment at which the producer's rename has returned to the host holding the payload.
fn detection(who: &str, dir: &Path, interval: Duration, count: usize) {
    let (sender, received) = mpsc::channel::<(Instant, String)>();
    let watched = dir.to_owned();
    let who = who.to_owned();
    let instant = who == "notify-inotify";
    thread::spawn(move || {
        if who == "notify-inotify" {
            let (events, notified) = mpsc::channel();
            let mut watcher = RecommendedWatcher::new(events, Config::default()).expect("it starts");
            watcher.watch(&watched, RecursiveMode::NonRecursive).expect("it watches");
            for event in notified {
                let mut told = HashMap::new();
                take(event, &mut told);
                for payload in told.into_values() {
                    let _ = sender.send((Instant::now(), payload.url));
                }
            }
            return;
        }
        if who == "blind" {
            let mut blind = Blind { dir: watched, ..Blind::default() };
            loop {
                blind.poll();
                for payload in blind.told.drain(..) {
                    let _ = sender.send((Instant::now(), payload.url));
                }
                thread::sleep(interval);
            }
        }
        let (events, notified) = mpsc::channel();
        let config = Config::default().with_poll_interval(interval).with_compare_contents(who == "notify-contents");
        let mut watcher = PollWatcher::new(events, config).expect("it starts");
        watcher.watch(&watched, RecursiveMode::NonRecursive).expect("it watches");
        for event in notified {
            let mut told = HashMap::new();
            take(event, &mut told);
            for payload in told.into_values() {
                let _ = sender.send((Instant::now(), payload.url));
            }
        }
    });
    thread::sleep(Duration::from_millis(500) + interval * 2);
    while received.try_recv().is_ok() {}
    let latencies = (0..count).map(|number| {
        thread::sleep(if instant { lone(number) } else { pause(number, interval) });
        let port = 10_000 + number;
        // A scan looks at every file: as few as in a directory of ten engines.
        let name = if instant { number % 10 } else { number };
        let renamed = rename(dir, &format!("r{name}"), port, false);
        let expected = format!("http://127.0.0.1:{port}");
        loop {
            let (at, url) = received.recv_timeout(Duration::from_secs(30)).expect("it is told");
            if url == expected {
                return at.saturating_duration_since(renamed);
            }
        }
    });
    print_latencies(&latencies.collect::<Vec<_>>());
    std::process::exit(0);
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, role, who, dir, interval, count] = &args[..] else { panic!("peers ROLE WHO DIR INTERVAL_MS COUNT") };
    let (dir, interval) = (Path::new(dir), Duration::from_millis(interval.parse().expect("milliseconds")));
    let count = count.parse().expect("a count");
    match &**role {
        "idle" => idle(who, dir, interval, count),
        "initial" => initial(who, dir),
        "memory" => memory(who, dir, count),
        "detection" => detection(who, dir, interval, count),
        other => panic!("there is no role {other}"),
    }
}
