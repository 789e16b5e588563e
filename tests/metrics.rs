//! The figures for Prometheus: the table names all that there is, the numbers are right, and Prometheus's own tool finds no
//! fault with the format, the names or the example alerts.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use common::{Place, builder, doc, until, write};
use handoff_watcher::{HandoffEvent, HandoffIter, LATENCY_BUCKETS_MS};

/// A pool whose name has everything that the format must escape, and that a handoff may have.
const HOSTILE: &str = r#"{"pool_id":"a\"b\\cü","replica_id":"r","url":"http://h","slots":4,"ready":false}"#;

/// A watcher that has something to tell in every family, and the text.
fn told() -> (HandoffIter, String) {
    let place = Place::new();
    write(place.join("bad.json"), "[]");
    write(place.join("first.json"), doc("first", ""));
    write(place.join("second.json"), HOSTILE);
    let events = builder(place.path(), 20).iter().unwrap();
    let heard = |name: &str| loop {
        let event = events.next_timeout(common::DEADLINE).unwrap_or_else(|_| panic!("no {name}"));
        if event.name() == name {
            return event;
        }
    };
    heard("synced");
    write(place.join("third.json"), doc("third", ""));
    assert!(matches!(heard("ready"), HandoffEvent::Ready { latency: Some(_), .. }));
    until("all is read", || events.stats().invalid_files == 1 && events.stats().backlog == 0);
    let text = events.metrics();
    (events, text)
}

/// Name to value: `name{label="value"}` as it stands in the text.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name, value.parse().unwrap())).collect()
}

#[test]
fn the_table_names_all_that_there_is_and_nothing_else() {
    let (_, text) = told();
    let mut listed = BTreeSet::new();
    for row in include_str!("../src/metrics.md").lines().skip(2).take_while(|line| !line.is_empty()) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, _] = cells[..] else { panic!("{row}") };
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        listed.insert((plain(name), kind.to_owned(), plain(labels), meaning.to_owned()));
    }
    let mut found = BTreeSet::new();
    for kind in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = kind.split_once(' ').unwrap();
        let sample = samples(&text).into_keys().find(|sample| sample.split(['{', ' ']).next() == Some(name));
        let label = sample.and_then(|sample| sample.split_once('{')?.1.split_once('=')).map_or("", |(label, _)| label);
        let help = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} "))).unwrap();
        found.insert((name.to_owned(), kind.to_owned(), label.to_owned(), help.to_owned()));
    }
    assert!(found.len() > 15, "{text}");
    assert_eq!(found, listed);
}

#[test]
fn the_numbers_are_those_of_the_figures() {
    let (events, text) = told();
    let (stats, samples) = (events.stats(), samples(&text));
    let value = |name: &str| {
        let name = format!("handoff_watcher_{name}");
        *samples.get(name.as_str()).unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    assert_eq!((value("up"), value("available"), value("stalled"), value("instant")), (1.0, 1.0, 0.0, 0.0));
    assert_eq!((value("files"), value("invalid_files"), value("backlog_events")), (4.0, 1.0, 0.0));
    assert_eq!(value("replicas_ready{pool_id=\"pool\"}"), 2.0);
    assert_eq!(value(r#"replicas_ready{pool_id="a\"b\\cü"}"#), 0.0);
    for (event, count) in [("ready", 2.0), ("synced", 1.0), ("invalid", 1.0), ("updated", 0.0), ("available", 0.0)] {
        assert_eq!(value(&format!("events_total{{event=\"{event}\"}}")), count, "{text}");
    }
    assert!(value("scans_total") >= 2.0 && value("reads_total") >= 4.0 && value("retries_total") == 0.0, "{text}");
    let (age, duration) = (value("scan_age_seconds"), value("scan_duration_seconds"));
    assert!((0.0..60.0).contains(&age) && duration > 0.0 && duration < 60.0, "{text}");

    assert_eq!((value("delivery_latency_seconds_count"), stats.latency.count), (1.0, 1));
    assert_eq!(value("delivery_latency_seconds_sum"), stats.latency.sum.as_secs_f64());
    let mut before = 0.0;
    for (bound, count) in LATENCY_BUCKETS_MS.iter().zip(stats.latency.buckets) {
        let name = format!("delivery_latency_seconds_bucket{{le=\"{}\"}}", *bound as f64 / 1000.0);
        assert_eq!(value(&name), before + count as f64, "cumulative: {text}");
        before = value(&name);
    }
    // The objective is an edge, by the name that an alert asks for.
    assert!(samples.contains_key("handoff_watcher_delivery_latency_seconds_bucket{le=\"2\"}"), "{text}");
    assert_eq!(value("delivery_latency_seconds_bucket{le=\"+Inf\"}"), 1.0);
}

#[test]
fn what_is_not_known_yet_is_absent_and_the_end_is_told() {
    let place = Place::new();
    let events = builder(&place.join("missing"), 20).iter().unwrap();
    until("it is told", || events.health().error.is_some());
    let text = events.metrics();
    assert_eq!(samples(&text)["handoff_watcher_available"], 0.0);
    assert!(!text.contains("scan_duration_seconds") && !text.contains("pool_id"), "{text}");
    assert!(samples(&text)["handoff_watcher_scan_errors_total"] >= 1.0, "{text}");
    events.stop_handle().stop();
    until("it ends", || samples(&events.metrics())["handoff_watcher_up"] == 0.0);
}

#[test]
fn promtool_finds_no_fault() {
    if support::is_missing("promtool", "prometheus") {
        return;
    }
    let (_, text) = told();
    let mut check = Command::new("promtool");
    let check = check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn the_example_alerts_wake_when_they_should() {
    let names = include_str!("../src/metrics.md");
    let rules = include_str!("../examples/prometheus/alerts.yml");
    let asked = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let asked: BTreeSet<_> = asked.filter(|word| word.starts_with("handoff_watcher_")).collect();
    assert!(asked.len() > 5, "{asked:?}");
    for name in asked {
        let family = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(names.contains(&format!("`{family}`")), "{name} is in no table");
    }
    if support::is_missing("promtool", "prometheus") {
        return;
    }
    let dir = support::root().join("examples/prometheus");
    support::run(Command::new("promtool").args(["check", "rules", "alerts.yml"]).current_dir(&dir));
    support::run(Command::new("promtool").args(["test", "rules", "alerts_test.yml"]).current_dir(&dir));
}
