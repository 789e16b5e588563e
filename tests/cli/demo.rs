//! `demo`: the same story for whoever watches it, and an end of its own.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{DEADLINE, Place, Running, assert_harmless, command, finish};

#[test]
fn tells_its_story_and_ends_by_itself() {
    let place = Place::new();
    let said = finish(command(["demo"]).env("TMPDIR", place.path()), b"");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}\n{}", said.out, said.err);
    assert_harmless(&said.out);
    let told: Vec<_> = said
        .out
        .lines()
        .filter(|line| line.trim_start().starts_with(['+', '<']))
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    let story = "ready ready ready updated updated invalid updated removed removed removed";
    assert_eq!(told.join(" "), story, "{}", said.out);
    assert!(said.out.contains("All as promised. 10 of 10 events seen, none late, none made up"), "{}", said.out);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "it leaves nothing behind");
}

#[test]
fn an_interrupt_ends_it_and_leaves_nothing_behind() {
    let place = Place::new();
    let mut demo = Running::start(command(["demo"]).env("TMPDIR", place.path()));
    while !demo.line().contains("llama.cpp answers") {}
    demo.signal(Signal::INT);
    let (status, took) = demo.end();
    assert_eq!(status.code(), Some(130));
    assert!(took < DEADLINE.min(Duration::from_secs(2)), "{took:?}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
