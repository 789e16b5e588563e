//! `watch`, piped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{DEADLINE, Place, Running, command, end, fixtures, handoff, unwatchable};
use crate::support;

fn file_is(event: &Value, path: &Path) {
    assert_eq!(event["file"], *path.to_string_lossy(), "{event}");
}

#[test]
fn each_event_is_a_line_of_json_as_soon_as_it_comes() {
    let place = Place::new();
    let a = place.handoff("a.json", "p", "r0", 8080);
    let watch = Running::watch(place.path());
    let event = watch.event("ready");
    file_is(&event, &a);
    assert_eq!(event["pool_id"], "p");
    assert_eq!(event["payload"]["url"], "http://127.0.0.1:8080");
    assert_eq!(event.get("latency_ms"), None, "it was there before");
    watch.event("synced");

    let b = place.handoff("b.json", "p", "r1", 8081);
    let event = watch.event("ready");
    file_is(&event, &b);
    assert!(event["latency_ms"].as_f64().unwrap() < 2000.0, "{event}");

    place.handoff("b.json", "p", "r1", 9081);
    let event = watch.event("updated");
    assert_eq!(event["payload"]["url"], "http://127.0.0.1:9081");
    assert_eq!(event["previous"]["url"], "http://127.0.0.1:8081");

    place.write("b.json", "{\"pool_id\": \"p\",\n \"replica_id\": 1}");
    let event = watch.event("invalid");
    file_is(&event, &b);
    assert_eq!((&event["line"], &event["field"]), (&2.into(), &"replica_id".into()), "{event}");

    fs::remove_file(&b).unwrap();
    let event = watch.event("removed");
    assert_eq!((&event["reason"], &event["replica_id"]), (&"file_removed".into(), &"r1".into()));

    // The two may be seen by one poll or by two.
    let c = place.handoff("c.json", "p", "r0", 1);
    let mut conflict = watch.line();
    if conflict.contains("\"updated\"") {
        conflict = watch.line();
    }
    let conflict: Value = serde_json::from_str(&conflict).unwrap();
    assert_eq!(conflict["event"], "conflict");
    assert_eq!((&conflict["winner"], &conflict["losers"][0]), (&c.to_str().into(), &a.to_str().into()), "{conflict}");
}

#[test]
fn with_consume_a_file_goes_when_it_was_printed() {
    let place = Place::new();
    let watch = Running::start(command(["watch", "--consume", "--poll-interval-ms", "20"]).arg(place.path()));
    watch.event("synced");
    for n in 0..3 {
        let path = place.handoff("handoff.json", "p", &format!("r{n}"), 1);
        assert_eq!(watch.event("ready")["replica_id"], format!("r{n}"));
        let began = Instant::now();
        while path.exists() {
            assert!(began.elapsed() < DEADLINE, "it is still there");
            thread::sleep(Duration::from_millis(1));
        }
    }
    // What could not be printed was not taken.
    let mut watch = command(["watch", "--consume", "--json"]);
    let mut child = watch.arg(place.path()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let path = place.handoff("handoff.json", "p", "r9", 1);
    child.wait().unwrap();
    assert!(path.exists());
}

/// The story of the handoffs of the field: under one name, one after the other.
#[test]
fn tells_the_story_of_the_handoffs_of_the_field() {
    let place = Place::new();
    let watch = Running::watch(place.path());
    watch.event("synced");
    let name = place.join("engine.json");
    let mut before: Option<Value> = None;
    for file in fixtures("accept") {
        let document: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        fs::copy(&file, &name).unwrap();
        if let Some(before) = before {
            let event = watch.event("removed");
            assert_eq!((&event["pool_id"], &event["reason"]), (&before["pool_id"], &"moved".into()), "{event}");
        }
        let event = watch.event("ready");
        file_is(&event, &name);
        assert_eq!(
            (&event["pool_id"], &event["replica_id"]),
            (&document["pool_id"], &document["replica_id"]),
            "{event}"
        );
        before = Some(document);
    }
    let last = before.unwrap();

    let moved = place.join("moved.json");
    fs::rename(&name, &moved).unwrap();
    let event = watch.event("updated");
    file_is(&event, &moved);
    assert_eq!(event["payload"], event["previous"], "{event}");

    // Truncated: it might be written again, so it takes its second to be called invalid, and is in force until removed.
    fs::write(&moved, "").unwrap();
    let event = watch.event("invalid");
    file_is(&event, &moved);

    fs::remove_file(&moved).unwrap();
    let event = watch.event("removed");
    assert_eq!((&event["pool_id"], &event["reason"]), (&last["pool_id"], &"file_removed".into()), "{event}");
}

#[test]
fn interrupt_and_terminate_end_it_with_0_within_100_ms() {
    for signal in [Signal::INT, Signal::TERM] {
        // The best of three: the machine may be busy with other tests.
        let fastest = (0..3).map(|_| {
            let place = Place::new();
            let mut watch = Running::start(command(["watch", "--poll-interval-ms", "86400000"]).arg(place.path()));
            watch.event("synced");
            watch.signal(signal);
            let (status, took) = watch.end();
            assert_eq!(status.code(), Some(0), "{signal:?}");
            assert!(watch.complaints().is_empty() && watch.rest().is_empty());
            took
        });
        let fastest = fastest.min().unwrap();
        assert!(fastest < Duration::from_millis(100), "{signal:?}: {fastest:?}");
    }
}

#[test]
fn a_reader_that_went_away_ends_it_quietly() {
    let place = Place::new();
    place.handoff("a.json", "p", "r", 1);
    let mut child = command(["watch"]).arg(place.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"ready\""), "{line}");
    // No further event, and yet it ends.
    let (status, _) = end(&mut child);
    let complaints: Vec<_> = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!((status.code(), complaints), (Some(0), vec![]));
}

#[test]
fn a_reader_that_does_not_read_does_not_keep_it_from_ending() {
    let place = Place::new();
    // More than a pipe holds.
    for number in 0..400 {
        let filler = "x".repeat(600);
        let document =
            format!("{}, \"filler\": \"{filler}\"}}", handoff("p", &number.to_string(), 1).trim_end_matches('}'));
        place.write(&format!("{number}.json"), document);
    }
    let mut child = command(["watch"]).arg(place.path()).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    wait_until_full(&stdout);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(end(&mut child).0.code(), Some(0));
}

/// Until the pipe holds something, and no more of it than a while before.
fn wait_until_full(pipe: &impl AsFd) {
    let started = Instant::now();
    let mut held = 0;
    loop {
        let holds = rustix::io::ioctl_fionread(pipe).expect("what a pipe holds");
        if holds > 0 && holds == held {
            return;
        }
        held = holds;
        assert!(started.elapsed() < DEADLINE, "the pipe is never full");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_missing_directory_is_waited_for_and_said_once() {
    let place = Place::new();
    let dir = place.join("engines");
    let mut watch = Running::watch(&dir);
    assert!(watch.complaint().ends_with("engines does not exist yet: waiting for it"));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.json"), handoff("p", "r", 1)).unwrap();
    while !watch.line().contains("\"ready\"") {}
    watch.signal(Signal::TERM);
    assert_eq!(watch.end().0.code(), Some(0));
    assert_eq!(watch.complaints(), Vec::<String>::new());
}

#[test]
fn text_when_piped_and_asked_for() {
    let place = Place::new();
    place.handoff("a.json", "p", "r", 1);
    let watch = Running::start(command(["watch", "--text"]).arg(place.path()));
    let line = watch.line();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[1..], ["ready", "p/r", "http://127.0.0.1:1", "a.json"], "{line}");
    assert!(words[0].len() == "08:13:00.123Z".len() && words[0].ends_with('Z'), "{line}");
    assert!(watch.line().contains("1 ready, 0 invalid"));
}

/// Nothing in the library is known to panic. So the clock is made to fail, which the standard library takes for impossible.
#[test]
#[cfg(target_os = "linux")]
fn regression_watch_whose_scanning_thread_died_says_so_and_ends_with_2() {
    const SOURCE: &str = r#"
        #define _GNU_SOURCE
        #include <errno.h>
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>

        int clock_gettime(clockid_t clock, struct timespec *time) {
            static __thread int failed;
            if (clock == CLOCK_MONOTONIC && gettid() != getpid() && !failed && access(getenv("NO_CLOCK"), F_OK) == 0) {
                failed = 1;
                errno = EINVAL;
                return -1;
            }
            return (int)syscall(SYS_clock_gettime, clock, time);
        }
    "#;
    if support::is_missing("cc", "gcc") {
        return;
    }
    let place = Place::new();
    let (source, library) = (place.write("clock.c", SOURCE), place.join("clock.so"));
    support::run(std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]));
    let mut command = command(["watch", "--poll-interval-ms", "50"]);
    command.env("LD_PRELOAD", &library).env("NO_CLOCK", place.join("none")).env("RUST_BACKTRACE", "0");
    let mut watch = Running::start(command.arg(place.path()));
    watch.event("synced");
    place.write("none", "");
    assert_eq!(watch.end().0.code(), Some(2));
    let said = watch.complaints().concat();
    assert!(said.contains("the scanning thread ended by a defect, please report it"), "{said}");
}

/// A directory that is not there is told as an event, and not once more as what keeps it from being instant.
#[test]
#[cfg(target_os = "linux")]
fn what_is_told_as_an_event_is_no_warning_as_well() {
    let place = Place::new();
    let mut watch = Running::start(command(["watch", "--json", "--instant"]).arg(place.join("missing")));
    watch.event("unavailable");
    watch.signal(Signal::TERM);
    watch.end();
    let said = watch.complaints();
    assert!(said.len() == 1 && said[0].ends_with("does not exist yet: waiting for it"), "{said:?}");
}

/// What was asked for and is not had is said also by who was not asked to log; what is told as an event is said once.
#[test]
#[cfg(target_os = "linux")]
fn regression_watch_says_that_it_is_not_instant() {
    let place = Place::new();
    place.write("bad.json", "[]");
    let Some(mut watch) = unwatchable(["watch", "--text", "--instant"]) else { return };
    let mut watch = Running::start(watch.arg(place.path()));
    let said = watch.complaint();
    assert!(said.starts_with("handoff-watcher: warning: instant mode is not in force, polling goes on: "), "{said}");
    assert!(watch.line().contains("invalid"));
    watch.signal(Signal::TERM);
    watch.end();
    assert_eq!(watch.complaints(), [""; 0]);
}
