//! The machine turns against the watcher: its clock steps, it stops the process, it has no descriptors, no disk, no time.
//!
//! `HANDOFF_LONG=1` takes the times that are promised, rather than such as a test has.

#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

mod common;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Place, doc, replace, until, write};
use handoff_watcher::{ErrorKind, HandoffPayload, publish};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

fn seconds(short: u64, long: u64) -> Duration {
    Duration::from_secs(times(short, long))
}

fn times(short: u64, long: u64) -> u64 {
    if std::env::var_os("HANDOFF_LONG").is_some() { long } else { short }
}

/// Processes that do nothing but keep the processors busy, until dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn new(count: usize) -> Self {
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..count).map(|_| spin()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `watch --json`, killed when dropped.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn start(dir: &Path, environment: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_handoff-watcher"));
        command.args(["watch", "--json", "--poll-interval-ms", "50"]).arg(dir);
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (send, lines) = channel();
        thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        Self { child, lines }
    }

    /// The next event is this one: `ready r0 v1`.
    #[track_caller]
    fn hears(&self, expected: &str) -> serde_json::Value {
        let line = self.lines.recv_timeout(DEADLINE).expect("an event");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let url = text(&event["payload"]["url"]);
        let said =
            format!("{} {} {}", text(&event["event"]), text(&event["replica_id"]), url.rsplit('/').next().unwrap());
        assert_eq!(said.trim_end(), expected, "{line}");
        event
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The wall clock of the watcher alone steps: nobody else's is touched.
#[test]
fn the_clock_steps_back_and_forth_an_hour() {
    let library = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""]
        .map(|folder| PathBuf::from("/usr/lib").join(folder).join("faketime/libfaketimeMT.so.1"));
    let Some(library) = library.iter().find(|path| path.exists()) else {
        support::skip("no clock was stepped; to have it: apt-get install faketime");
        return;
    };
    let place = Place::new();
    let (dir, clock) = (place.dir("engines"), place.join("clock"));
    write(&clock, "+0");
    let one = Path::new("1");
    let environment = [
        ("LD_PRELOAD", library.as_path()),
        ("FAKETIME_TIMESTAMP_FILE", &clock),
        ("FAKETIME_NO_CACHE", one),
        ("DONT_FAKE_MONOTONIC", one),
        ("FAKETIME_DONT_FAKE_MONOTONIC", one),
        ("NO_FAKE_STAT", one),
    ];
    replace(dir.join("a.json"), doc("r0", "start"));
    let watch = Watch::start(&dir, &environment);
    watch.hears("ready r0 start");
    watch.hears("synced");
    for (index, step) in ["-3600", "+3600", "+0", "-3600", "+0"].iter().enumerate() {
        replace(&clock, step);
        // In place and renamed, with a file time of the hour before and after.
        write(dir.join("a.json"), doc("r0", &format!("in-place-{index}")));
        let told = watch.hears(&format!("updated r0 in-place-{index}"));
        // The file system knows the time: what the watcher has for it shows in the latency.
        let latency = told["latency_ms"].as_f64().unwrap();
        match *step {
            "+3600" => assert!((latency - 3_600_000.0).abs() < 600_000.0, "no clock was stepped: {told}"),
            "-3600" => assert_eq!(latency, 0.0, "no clock was stepped: {told}"),
            _ => assert!(latency < 600_000.0, "no clock was stepped back: {told}"),
        }
        replace(dir.join("a.json"), doc("r0", &format!("renamed-{index}")));
        let hour = Duration::from_secs(3600);
        let now = std::time::SystemTime::now();
        let time = if index % 2 == 0 { now - hour } else { now + hour };
        fs::File::options().write(true).open(dir.join("a.json")).unwrap().set_modified(time).unwrap();
        watch.hears(&format!("updated r0 renamed-{index}"));
    }
}

#[test]
fn a_process_that_was_stopped_goes_on_where_it_was() {
    let place = Place::new();
    replace(place.join("a.json"), doc("r0", "v1"));
    replace(place.join("b.json"), doc("r1", "v1"));
    let watch = Watch::start(place.path(), &[]);
    watch.hears("ready r0 v1");
    watch.hears("ready r1 v1");
    watch.hears("synced");
    kill_process(watch.pid(), Signal::STOP).unwrap();
    for version in 2..5 {
        replace(place.join("a.json"), doc("r0", &format!("v{version}")));
    }
    fs::remove_file(place.join("b.json")).unwrap();
    write(place.join("b.json"), doc("r1", "v2"));
    let stopped = Instant::now();
    until("a while", || stopped.elapsed() > seconds(2, 10));
    kill_process(watch.pid(), Signal::CONT).unwrap();
    watch.hears("updated r0 v4");
    watch.hears("updated r1 v2");
}

#[test]
fn a_host_without_descriptors_is_unavailable_and_nothing_is_removed() {
    let place = Place::new();
    replace(place.join("a.json"), doc("r0", "v1"));
    let watch = Watch::start(place.path(), &[]);
    watch.hears("ready r0 v1");
    watch.hears("synced");
    let none = Rlimit { current: Some(0), maximum: None };
    let before = prlimit(Some(watch.pid()), Resource::Nofile, Rlimit { maximum: Some(256), ..none }).unwrap();
    watch.hears("unavailable");
    replace(place.join("a.json"), doc("r0", "v2"));
    let since = Instant::now();
    until("a while", || since.elapsed() > seconds(1, 5));
    let after = Rlimit { current: before.current.map(|it| it.min(256)).or(Some(256)), maximum: Some(256) };
    prlimit(Some(watch.pid()), Resource::Nofile, after).unwrap();
    // Both are of one round; which is told first is not promised.
    let mut heard = Vec::new();
    while heard.len() < 2 {
        heard.push(watch.lines.recv_timeout(DEADLINE).unwrap());
    }
    let said = heard.concat();
    assert!(said.contains("\"available\"") && said.contains("/v2") && !said.contains("removed"), "{heard:#?}");
}

#[test]
fn a_full_disk_harms_no_handoff() {
    let place = Place::new();
    let dir = place.dir("small");
    let mut mount = Command::new("mount");
    let mount = mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&dir).stderr(Stdio::null());
    if !mount.status().is_ok_and(|status| status.success()) {
        support::skip_even_in_ci("no disk was filled: that needs the right to mount");
        return;
    }
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _mounted = Mounted(dir.clone());
    let payload = |text: &str| HandoffPayload::parse(doc("r0", text).as_bytes()).unwrap();
    publish(&dir, &payload("v1")).unwrap();
    let watch = Watch::start(&dir, &[]);
    watch.hears("ready r0 v1");
    watch.hears("synced");
    let _ = fs::write(dir.join("ballast"), vec![0; 1 << 20]);
    for _ in 0..20 {
        assert_eq!(publish(&dir, &payload("v2")).unwrap_err().kind(), ErrorKind::Io);
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "no temporary file is left");
    fs::remove_file(dir.join("ballast")).unwrap();
    publish(&dir, &payload("v3")).unwrap();
    watch.hears("updated r0 v3");
}

#[test]
fn eight_processes_that_spin_delay_nothing_beyond_the_promise() {
    let place = Place::new();
    let watch = Watch::start(place.path(), &[]);
    watch.hears("synced");
    let _busy = Busy::new(8);
    let mut slowest = Duration::ZERO;
    for version in 0..times(20, 300) {
        replace(place.join("a.json"), doc("r0", &format!("v{version}")));
        let since = Instant::now();
        watch.hears(&format!("{} r0 v{version}", if version == 0 { "ready" } else { "updated" }));
        slowest = slowest.max(since.elapsed());
    }
    println!("beside eight processes that spin: told after {slowest:?} at the latest");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
